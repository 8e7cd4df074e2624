"""Takes a child's jobs back at once when it dies during a task. Runs in the Celery worker process.

Without this, the jobs would be taken back when their lease ends, which is later.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from billiard.process import active_children
from celery import Celery
from celery.worker.request import Request

from wavemill.errors import WavemillError
from wavemill.jobs.database import Database
from wavemill.settings import Settings
from wavemill.transport import sender
from wavemill_worker.reaper import bury

logger = logging.getLogger(__name__)

_TOKEN_VARIABLE = "WAVEMILL_PROCESS_TOKEN"  # noqa: S105  an identifier, not a password


def name_process(token: str) -> None:
    """Give this process and its children a unique token, which becomes part of the worker ID."""
    os.environ[_TOKEN_VARIABLE] = token


def suffix_of(pid: int) -> str:
    """Return the end of the worker ID of this process or of a child of it."""
    return f"/{pid}-{os.environ[_TOKEN_VARIABLE]}"


def install(settings: Settings, app: Celery) -> None:
    """From now on, take jobs back from children of this process that die."""

    class Mourned(Request):  # type: ignore[misc]  # Celery has no types
        """A task whose failure may mean that its process died."""

        def on_failure(self, *arguments: Any, **keywords: Any) -> None:
            """If the process that took the task is gone, take its jobs back."""
            super().on_failure(*arguments, **keywords)
            if self.worker_pid not in [process.pid for process in active_children()]:
                # In a thread, since Celery's main thread must not wait for a database.
                burial = threading.Thread(target=_bury, args=(settings, app, self.worker_pid), daemon=True)
                try:
                    burial.start()
                except RuntimeError as exc:
                    logger.warning("%s; jobs of a dead process are taken back when their lease ends", exc)

    app.Task.Request = Mourned


def _bury(settings: Settings, app: Celery, pid: int) -> None:
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    try:
        bury(database, suffix_of(pid), sender(app), settings=settings, app=app)
    except WavemillError as exc:
        logger.warning("%s; jobs of a dead process are taken back when their lease ends", exc)
    except Exception:
        logger.exception("jobs of a dead process could not be taken back at once; they are when their lease ends")
    finally:
        database.close()

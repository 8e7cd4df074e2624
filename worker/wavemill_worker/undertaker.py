"""What a Celery process does when its child dies at work: take the child's jobs back at once.

The lease would end too, but later: this is quicker where the parent is there to see the death.
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

_TOKEN_VARIABLE = "WAVEMILL_PROCESS_TOKEN"  # noqa: S105  it tells processes apart and opens nothing


def name_process(token: str) -> None:
    """Give this process and its children a name that no other process has."""
    os.environ[_TOKEN_VARIABLE] = token


def suffix_of(pid: int) -> str:
    """Return how the worker ID ends of this process, or of a child of it."""
    return f"/{pid}-{os.environ[_TOKEN_VARIABLE]}"


def install(settings: Settings, app: Celery) -> None:
    """Bury children of this process from now on."""

    class Mourned(Request):  # type: ignore[misc]  # Celery has no types
        """A task that its process may take with it into death."""

        def on_failure(self, *arguments: Any, **keywords: Any) -> None:
            """Look whether the process that took the task is still there."""
            super().on_failure(*arguments, **keywords)
            if self.worker_pid not in [process.pid for process in active_children()]:
                # A thread, since Celery's own must not wait for a database.
                burial = threading.Thread(target=_bury, args=(settings, app, self.worker_pid), daemon=True)
                try:
                    burial.start()
                except RuntimeError as exc:
                    logger.warning("%s; a dead process's jobs go out when their lease ends", exc)

    app.Task.Request = Mourned


def _bury(settings: Settings, app: Celery, pid: int) -> None:
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    try:
        bury(database, suffix_of(pid), sender(app), settings=settings, app=app)
    except WavemillError as exc:
        logger.warning("%s; a dead process's jobs go out when their lease ends", exc)
    except Exception:
        logger.exception("a dead process's jobs could not be taken back; they go out when their lease ends")
    finally:
        database.close()

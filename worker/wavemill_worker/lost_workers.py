"""Takes a child's jobs back at once when it dies during a task. Runs in the Celery worker process.

Without this, the jobs would be taken back when their lease ends, which is later.
"""

from __future__ import annotations

import logging
import os
import threading

from celery import Celery

from wavemill.errors import WavemillError
from wavemill.jobs.database import Database
from wavemill.settings import Settings
from wavemill.transport import sender
from wavemill_worker.reaper import take_back_jobs

logger = logging.getLogger(__name__)

_TOKEN_VARIABLE = "WAVEMILL_PROCESS_TOKEN"  # noqa: S105  an identifier, not a password


def name_process(token: str) -> None:
    """Give this process and its children a unique token, which becomes part of the worker ID."""
    os.environ[_TOKEN_VARIABLE] = token


def suffix_of(pid: int) -> str:
    """Return the end of the worker ID of this process or of a child of it."""
    return f"/{pid}-{os.environ[_TOKEN_VARIABLE]}"


class LostWorkers:
    """Takes back the jobs of child processes that died."""

    def __init__(self, settings: Settings, app: Celery) -> None:
        self._settings = settings
        self._app = app

    def report_death(self, pid: int) -> None:
        """Take back a child's jobs, in a thread: Celery's main thread must not wait for a database."""
        thread = threading.Thread(target=self._take_back, args=(pid,), daemon=True)
        try:
            thread.start()
        except RuntimeError as exc:
            logger.warning("%s; jobs of a dead process are taken back when their lease ends", exc)

    def _take_back(self, pid: int) -> None:
        database = Database(self._settings.sqlalchemy_url, silence_s=self._settings.silence_s)
        try:
            take_back_jobs(database, suffix_of(pid), sender(self._app), settings=self._settings, app=self._app)
        except WavemillError as exc:
            logger.warning("%s; jobs of a dead process are taken back when their lease ends", exc)
        except Exception:
            logger.exception("jobs of a dead process could not be taken back at once; they are when their lease ends")
        finally:
            database.close()

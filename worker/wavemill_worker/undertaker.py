"""What a Celery process does when its child dies at work: take the child's jobs back at once.

The lease would end too, but later: this is quicker where the parent is there to see the death.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

from billiard.process import active_children
from celery import Celery, signals
from celery.exceptions import WorkerLostError

from wavemill.errors import WavemillError
from wavemill.jobs.database import Database
from wavemill.jobs.outbox import publish_due
from wavemill.settings import Settings
from wavemill.transport import sender
from wavemill_worker.reaper import bury

logger = logging.getLogger(__name__)

_TOKEN_VARIABLE = "WAVEMILL_PROCESS_TOKEN"  # noqa: S105  it tells processes apart and opens nothing


def name_process(token: str) -> None:
    """Give this process and its children a name that no other process has."""
    os.environ[_TOKEN_VARIABLE] = token


def token_of_process() -> str:
    """Return the name that `name_process` gave."""
    return os.environ[_TOKEN_VARIABLE]


def install(settings: Settings, app: Celery) -> None:
    """Bury children of this process from now on."""

    def on_failure(exception: BaseException | None = None, **_: Any) -> None:
        if isinstance(exception, WorkerLostError):
            alive = [process.pid for process in active_children()]
            # A thread, since Celery's own must not wait for a database.
            threading.Thread(target=_bury, args=(settings, app, alive), daemon=True).start()

    signals.task_failure.connect(on_failure, weak=False)


def _bury(settings: Settings, app: Celery, alive: list[int]) -> None:
    database = Database(settings.sqlalchemy_url)
    try:
        bury(database, token_of_process(), alive=alive)
        publish_due(database, sender(app), at_most=settings.max_messages)
    except WavemillError as exc:
        logger.warning("%s; a dead process's jobs go out when their lease ends", exc)
    finally:
        database.close()

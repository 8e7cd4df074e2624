"""A worker's log: one line per record, tracebacks indented below; or JSON."""

from __future__ import annotations

import logging
import os
from typing import Any

from billiard.util import get_logger as billiards_logger
from celery import signals
from celery.apps import worker as celery_worker

from wavemill.settings import Settings
from wavemill.text.log_lines import JSON, log_to_stderr

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
# These log a line for every message or statement.
_TALKATIVE = ("celery.worker.strategy", "celery.app.trace", "numba", "alembic", "kombu", "matplotlib", "h5py")


def set_up(settings: Settings, worker: str) -> None:
    """Log records of the settings' level and above, and those of talkative libraries from WARNING.

    `worker` is this process's name on JSON lines.
    """
    log_to_stderr(settings.log_format, _FORMAT, level=settings.log_level, worker=worker)
    billiard = billiards_logger()
    billiard.propagate = True  # it would have a handler of its own
    for logger in (billiard, *map(logging.getLogger, _TALKATIVE)):
        logger.setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))


def keep_celery_quiet(settings: Settings) -> None:
    """Keep Celery from setting up logging itself; in JSON also from printing text when it is told to stop."""
    signals.setup_logging.connect(_is_set_up)
    if settings.log_format == JSON:
        celery_worker.safe_say = _say_nothing


def keep_children_quiet() -> None:
    """Keep billiard from logging in a form of its own in children. Celery asks for it when it makes a worker."""
    os.environ.pop("_MP_FORK_LOGLEVEL_", None)


def _is_set_up(**_: Any) -> None:
    """Receive Celery's signal: without a receiver Celery adds handlers."""


def _say_nothing(*_: Any) -> None:
    """Do nothing."""

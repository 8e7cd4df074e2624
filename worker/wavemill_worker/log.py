"""Logging of the worker's processes: one line a record on standard error, and tracebacks indented below it."""

from __future__ import annotations

import logging
import sys

from wavemill.text.log_lines import LineFormatter

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
# Each says a line for every message or statement.
_TALKATIVE = ("celery.worker.strategy", "celery.app.trace", "numba", "alembic", "kombu", "matplotlib", "h5py")


def set_up(level: str) -> None:
    """Send records of `level` and above to standard error; others' chatter only from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))

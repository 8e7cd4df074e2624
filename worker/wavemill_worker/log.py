"""Logging to standard error: one line per record, tracebacks indented below."""

from __future__ import annotations

import logging
import sys

from wavemill.text.log_lines import LineFormatter

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
# These log a line for every message or statement.
_TALKATIVE = ("celery.worker.strategy", "celery.app.trace", "numba", "alembic", "kombu", "matplotlib", "h5py")


def set_up(level: str) -> None:
    """Log records of `level` and above, and those of talkative libraries from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(level)))

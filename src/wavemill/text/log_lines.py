"""Logging to standard error: lines for people, which logged text cannot forge, or JSON for programs."""

from __future__ import annotations

import logging
from typing import Any

from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import shown

JSON = "json"  # the other value of WAVEMILL_LOG_FORMAT is "text"
_CONTINUED = "    "


def log_to_stderr(log_format: str, line: str, *, level: str | int, worker: str | None = None) -> None:
    """Write records of `level` and above to standard error. Does nothing if the process logs already.

    Parameters
    ----------
    line : str
        The form of a line for people, as logging's.
    worker : str, optional
        The process's own name, on each JSON line.
    """
    handler = logging.StreamHandler()
    if log_format == JSON:
        from wavemill.text.json_logs import JsonFormatter

        handler.setFormatter(JsonFormatter(worker))
        logging.captureWarnings(True)
    else:
        handler.setFormatter(LineFormatter(line))
    logging.basicConfig(level=level, handlers=[handler])


class LineFormatter(logging.Formatter):
    """Formats a record as one line; a traceback follows, indented, so that none of its lines looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's own name
        """Return the record's line."""
        return shown(without_secrets(super().formatMessage(record)))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return a traceback as indented lines."""
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802
        """Return a stack as indented lines."""
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    return "\n".join(_CONTINUED + shown(line) for line in without_secrets(text).split("\n"))

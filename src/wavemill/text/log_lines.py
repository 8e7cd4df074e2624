"""A log formatter whose lines cannot be forged by logged text."""

from __future__ import annotations

import logging
from typing import Any

from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import shown

_CONTINUED = "    "


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

"""Log records as JSON, one object a line, for programs that collect logs."""

from __future__ import annotations

from structlog.contextvars import merge_contextvars
from structlog.processors import EventRenamer, ExceptionRenderer, JSONRenderer, StackInfoRenderer, TimeStamper
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, WrappedLogger

from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import json_text

# A line has those that are known where it is logged. Code that knows one for a while binds it with
# `structlog.contextvars`; code that knows it for one line passes it as logging's `extra`.
FIELDS = ("batch", "chunk", "attempt", "worker", "job")
_FIRST = ("time", "level", "logger", "process", "message")


class JsonFormatter(ProcessorFormatter):
    """Formats a record of any library as a JSON object, without passwords in URLs.

    Parameters
    ----------
    worker : str, optional
        The process's own name, on each of its lines.
    """

    def __init__(self, worker: str | None = None) -> None:
        def add_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
            event["process"] = event["_record"].process
            if worker is not None:
                event["worker"] = worker
            return event

        super().__init__(
            foreign_pre_chain=[
                merge_contextvars,
                ExtraAdder(FIELDS),
                add_log_level,
                add_logger_name,
                add_process,
                TimeStamper("iso", utc=True, key="time"),
                StackInfoRenderer(),
                ExceptionRenderer(),
                EventRenamer("message"),
            ],
            processors=[ProcessorFormatter.remove_processors_meta, _in_order, JSONRenderer(json_text)],
        )


def _in_order(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put what every line has first, then the fields, then tracebacks; leave passwords out."""
    ordered = {name: event[name] for name in (*_FIRST, *FIELDS, *event) if name in event}
    return {name: without_secrets(value) if isinstance(value, str) else value for name, value in ordered.items()}

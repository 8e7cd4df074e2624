"""JSON log lines: what they hold, and what they must not."""

from __future__ import annotations

import json
import logging

from structlog.contextvars import bound_contextvars

from wavemill.rendering.threads import Threads
from wavemill.text.json_logs import JsonFormatter


def _record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("kombu", logging.ERROR, "file", 1, message, arguments, None)
    record.__dict__.update(extra)
    return record


def test_any_librarys_record_is_one_json_object_with_the_fields_that_are_known() -> None:
    formatter = JsonFormatter("host/cpu/1")
    with bound_contextvars(batch="b1", chunk="0-63", attempt=2):
        line = formatter.format(_record("a\n%s\x1b[2J", "b", job=7, attempt=3, other="x"))
    assert "\n" not in line
    assert "\x1b" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found.pop("process") > 0
    assert found == {
        "level": "error",
        "logger": "kombu",
        "message": "a\nb\x1b[2J",
        "batch": "b1",
        "chunk": "0-63",
        "attempt": 3,
        "worker": "host/cpu/1",
        "job": 7,
    }


def test_passwords_are_left_out_of_messages_and_tracebacks() -> None:
    exc = ValueError("redis://:sesame@host/0")
    record = _record("no answer from %s", "redis://:sesame@host/0", exc_info=(ValueError, exc, None))
    line = JsonFormatter().format(record)
    assert "sesame" not in line
    assert "ValueError" in json.loads(line)["exception"]


def test_threads_log_with_the_fields_of_the_work_that_they_were_given() -> None:
    formatter = JsonFormatter()
    with Threads(1) as threads:
        for batch in ("b1", "b2"):
            with bound_contextvars(batch=batch):
                lines = list(threads.map(lambda n: formatter.format(_record("%d", n)), [1]))
            assert json.loads(lines[0])["batch"] == batch

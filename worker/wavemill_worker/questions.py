"""`celery inspect` and Flower: with WAVEMILL_CELERY_EVENTS a worker answers their questions, but takes no orders."""

from __future__ import annotations

from typing import Any

from celery.worker.control import Panel

# Flower asks for events when it starts.
_ANSWERED = frozenset(
    {
        *("active", "active_queues", "clock", "conf", "enable_events", "heartbeat", "ping", "query_task"),
        *("registered", "report", "reserved", "revoked", "scheduled", "stats"),
        *("dump_active", "dump_reserved", "dump_revoked", "dump_schedule"),  # other names of the same
    }
)


def take_no_orders() -> None:
    """Refuse all but questions: orders such as `shutdown` would end workers behind their supervisor's back."""
    for name in set(Panel.data) - _ANSWERED:
        Panel.data[name] = _refused


def _refused(_state: Any, **_arguments: Any) -> dict[str, str]:
    return {"error": "wavemill's workers take no orders through Celery; use `wavemill cancel`, or end the worker"}

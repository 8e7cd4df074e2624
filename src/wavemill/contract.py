"""Names and Celery settings that both sides share; neither derives a wire name from a module's path."""

from __future__ import annotations

from typing import Any

RENDER_CHUNK = "wavemill.render_chunk"
QUEUE = "wavemill"

PRIORITIES = range(10)  # 9 goes first
DEFAULT_PRIORITY = 4


def wire_priority(priority: int) -> int:
    """Return the priority as the Redis transport counts it: there, 0 goes first."""
    return PRIORITIES.stop - 1 - priority


def celery_settings(broker_url: str) -> dict[str, Any]:
    """Return the settings of the Celery app on either side.

    The table owns recovery, so the broker keeps no results; a message that a dead worker held is restored after
    `visibility_timeout`, and does no harm when the reaper has long since sent another.
    """
    return {
        "broker_url": broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": 600,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "queue_order_strategy": "priority",
            "priority_steps": list(PRIORITIES),  # a list in Redis for each; four of them hold all ten by default
        },
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
    }

"""Names and Celery settings shared by producer and worker; no wire name depends on a module's path."""

from __future__ import annotations

import socket
from typing import Any

RENDER_CHUNK = "wavemill.render_chunk"
QUEUE = "wavemill"

PRIORITIES = range(10)  # 9 goes first
DEFAULT_PRIORITY = 4

MAX_JOBS_IN_CHUNK = 4096
MAX_SEQ = 2**31 - 1  # limit of the integer columns

_SEPARATOR = "\x06\x16"  # between a queue's name and a priority, in the names of the lists in Redis
# A reply that takes longer means a dead connection: every command but BRPOP is answered in
# milliseconds, or within a second or two by a server with a large list or a slow disk.
SOCKET_TIMEOUT_S = 5.0
# BRPOP is answered within a second, if only with "nothing came". kombu checks at this interval for an
# answer overdue by the same time, so a dead connection is dropped after 6 to 11 seconds.
HEALTH_CHECK_S = 5


def queue_keys() -> list[str]:
    """Return the names of the lists in Redis that hold the queue's messages, in the order in which they are served."""
    return [f"{QUEUE}{_SEPARATOR}{priority}" if priority else QUEUE for priority in PRIORITIES]


def wire_priority(priority: int) -> int:
    """Return the priority as the Redis transport counts it: there, 0 goes first."""
    return PRIORITIES.stop - 1 - priority


def app_arguments(broker_url: str, **more: Any) -> dict[str, Any]:
    """Return the arguments of both sides' Celery apps, which keep out other programs' settings.

    `loader` overrides CELERY_LOADER, `config_source` CELERY_CONFIG_MODULE, and empty `fixups` turn off
    Django's. CELERY_BROKER_URL would still win, so pass the URL explicitly when connecting.
    """
    return {
        "loader": "celery.loaders.app:AppLoader",
        "fixups": (),
        "set_as_current": False,
        "config_source": celery_settings(broker_url),
        **more,
    }


def celery_settings(broker_url: str) -> dict[str, Any]:
    """Return the settings of the Celery app on either side.

    The database handles recovery: the reaper sends a dead worker's chunks again. So the broker keeps
    neither results nor a list of unacknowledged messages.
    """
    return {
        "broker_url": broker_url,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,  # wait for a server that is read-only or out of memory
        "broker_transport_options": {
            "ack_emulation": False,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "socket_keepalive": True,
            "socket_keepalive_options": _keepalive_options(),
            "health_check_interval": HEALTH_CHECK_S,
            "queue_order_strategy": "priority",
            "sep": _SEPARATOR,
            "priority_steps": list(PRIORITIES),  # one Redis list each; by default four lists hold all ten
        },
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": False,  # the reaper requeues the jobs, not the broker
        # One message at a time. The multiplier alone does not hold: Celery raises the prefetch count for tasks
        # with an ETA and after reconnections.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_eta_task_limit": 1,
        "worker_enable_prefetch_count_reduction": False,
        # Celery 6 will cancel by default, but results go to the database, which needs no broker.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_detect_quorum_queues": False,  # RabbitMQ's
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
    }


def _keepalive_options() -> dict[int, int]:
    """Return the socket options, where this system has them, that detect a dead peer within 20 s."""
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}

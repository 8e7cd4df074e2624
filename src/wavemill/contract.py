"""Names and Celery settings that both sides share; neither derives a wire name from a module's path."""

from __future__ import annotations

import socket
from typing import Any

RENDER_CHUNK = "wavemill.render_chunk"
QUEUE = "wavemill"

PRIORITIES = range(10)  # 9 goes first
DEFAULT_PRIORITY = 4

MAX_JOBS_IN_CHUNK = 4096
MAX_SEQ = 2**31 - 1  # of the table's integer columns

_SEPARATOR = "\x06\x16"  # between a queue's name and a priority, in the names of the lists in Redis
# No reply for so long means that the connection fell silent: every command but BRPOP is answered in milliseconds, and
# a server that is busy with a large list, or whose disk is slow, in a second or two.
SOCKET_TIMEOUT_S = 5.0
# A BRPOP is answered within a second, also by "nothing came". kombu looks every so often whether an answer is overdue
# by as much: a silent connection is dropped after 6 to 11 seconds.
HEALTH_CHECK_S = 5


def queue_keys() -> list[str]:
    """Return the names of the lists in Redis that hold the queue's messages, the first to be served first."""
    return [f"{QUEUE}{_SEPARATOR}{priority}" if priority else QUEUE for priority in PRIORITIES]


def wire_priority(priority: int) -> int:
    """Return the priority as the Redis transport counts it: there, 0 goes first."""
    return PRIORITIES.stop - 1 - priority


def app_arguments(broker_url: str, **more: Any) -> dict[str, Any]:
    """Return what either side makes its Celery app with, so that no settings of another program's are read.

    A loader that is named keeps CELERY_LOADER out, settings as a source CELERY_CONFIG_MODULE, and no fixups Django's.
    CELERY_BROKER_URL would win even so: name the URL where a connection is made.
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

    The table owns recovery, so the broker keeps no results, and no list of messages in workers' hands: what a dead
    worker held, the reaper sends again.
    """
    return {
        "broker_url": broker_url,
        "broker_connection_retry": True,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_channel_error_retry": True,  # a server that is read-only or out of memory is one to wait for
        "broker_transport_options": {
            "ack_emulation": False,
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": SOCKET_TIMEOUT_S,
            "socket_keepalive": True,
            "socket_keepalive_options": _keepalive_options(),
            "health_check_interval": HEALTH_CHECK_S,
            "queue_order_strategy": "priority",
            "sep": _SEPARATOR,
            "priority_steps": list(PRIORITIES),  # a list in Redis for each; four of them hold all ten by default
        },
        "task_default_queue": QUEUE,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        "task_acks_late": True,
        "task_acks_on_failure_or_timeout": True,
        "task_reject_on_worker_lost": False,  # the table gives the jobs out again, not the broker
        # One message at a time. The first alone drifts: Celery raises it for tasks with an ETA and after reconnections.
        "worker_prefetch_multiplier": 1,
        "worker_disable_prefetch": True,
        "worker_eta_task_limit": 1,
        "worker_enable_prefetch_count_reduction": False,
        # Celery 6 will cancel: but the work is recorded in the table, which needs no broker.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_detect_quorum_queues": False,  # RabbitMQ's
        "worker_hijack_root_logger": False,
        "worker_send_task_events": False,
        "worker_enable_remote_control": False,
    }


def _keepalive_options() -> dict[int, int]:
    """Return socket options, as far as this system has them, by which the kernel finds a dead peer within 20 s."""
    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 3, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 20_000}
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}

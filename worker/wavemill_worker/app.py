"""The Celery app of a worker process."""

from __future__ import annotations

from celery import Celery

from wavemill import contract
from wavemill.settings import Settings

_TASK_MODULES = ("wavemill_worker.tasks", "wavemill_worker.child")


def create_app(settings: Settings) -> Celery:
    """Return a new app; its children are spawned, never forked: TensorFlow and CUDA do not survive a fork."""
    app = Celery("wavemill", include=_TASK_MODULES)
    app.conf.update(
        contract.celery_settings(settings.celery_broker_url),
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=300,  # a child imports TensorFlow before it says that it is up
        worker_max_tasks_per_child=None,
    )
    return app

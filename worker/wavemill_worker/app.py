"""The Celery app of a worker process."""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader

from wavemill import contract
from wavemill.settings import Settings

_TASK_MODULES = ("wavemill_worker.tasks", "wavemill_worker.child")


class Loader(AppLoader):  # type: ignore[misc]  # Celery has no types
    """Imports tasks from Python's path only. Celery's loader tries the working folder first."""

    def import_from_cwd(self, module: str, imp: Any = None, package: str | None = None) -> Any:  # noqa: ARG002  Celery's
        """Import a module."""
        return self.import_module(module, package=package)


def create_app(settings: Settings) -> Celery:
    """Return a new app. Its children are spawned: TensorFlow and CUDA do not survive a fork."""
    app = Celery(
        "wavemill",
        **contract.app_arguments(settings.celery_broker_url, loader=Loader, include=_TASK_MODULES, set_as_current=True),
    )
    app.conf.update(
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=300,  # a child imports TensorFlow before it reports that it is up
        worker_max_tasks_per_child=None,
        worker_enable_remote_control=settings.celery_events,
        worker_send_task_events=settings.celery_events,
    )
    return app

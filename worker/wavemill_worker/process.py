"""One Celery worker on one device: `python -m wavemill_worker.process NAME TOKEN PID`, started by the supervisor."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any

from billiard.process import active_children
from celery import signals
from celery.exceptions import SecurityWarning

from wavemill.settings import Settings
from wavemill.surroundings import settle
from wavemill.text.terminal import guard
from wavemill_worker import beats, log, lost_workers, questions, seam
from wavemill_worker.app import create_app
from wavemill_worker.parent import end_with_parent


def main() -> None:
    """Run until SIGTERM. The kernel kills this process if the supervisor dies."""
    settle()
    guard()
    name, token, supervisor_pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
    # Celery warns when it runs as root, because of pickled messages; ours are JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    if not end_with_parent(supervisor_pid):
        sys.exit("the supervisor is gone")
    settings = Settings.from_env()
    log.set_up(settings, name)
    log.keep_celery_quiet(settings)
    lost_workers.name_process(token)
    if settings.celery_events:
        questions.take_no_orders()
    signals.worker_shutting_down.connect(_tell_children)
    app = create_app(settings)
    lost = lost_workers.LostWorkers(settings, app)
    seam.install(app, beat_name=beats.loop_file(token), on_death=lost.report_death)
    # Not `worker_main`: Celery's command line reads options from variables such as APP and BROKER_URL.
    worker = app.Worker(
        hostname=name,
        pool_cls="prefork",
        concurrency=1,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not settings.celery_events,
        loglevel=settings.log_level,
        quiet=True,
    )
    log.keep_children_quiet()
    worker.start()
    sys.exit(worker.exitcode)


def _tell_children(**_: Any) -> None:
    """Pass SIGTERM on to the child, so that it returns its chunk to the queue instead of finishing it."""
    for process in active_children():
        os.kill(process.pid, signal.SIGTERM)


if __name__ == "__main__":
    main()

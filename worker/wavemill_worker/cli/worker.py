"""`wavemill worker`."""

from __future__ import annotations

import click

from wavemill_cli.printing import tell


@click.command()
@click.option(
    "--devices", "device_text", default="auto", show_default=True, help="auto, cpu, all, or GPUs such as 0,1."
)
@click.option(
    "--per-device", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on each device."
)
@click.option(
    "--gpu-memory-mb",
    type=click.IntRange(min=1),
    help="Limit of each process's GPU memory, in MB. Default: WAVEMILL_GPU_MEMORY_MB, or as much as it needs.",
)
@click.option("--drain", is_flag=True, help="Exit with code 0 when no jobs are left.")
@click.option(
    "--metrics",
    "metrics_port",
    type=click.IntRange(0, 65_535),
    metavar="PORT",
    help="Serve metrics for Prometheus on this port; 0: a free one.",
)
@click.option(
    "--metrics-host", default="127.0.0.1", show_default=True,
    help="Address of the metrics. They need no token: give other machines a private address only.",
)  # fmt: skip
@click.option("--parent", type=int, hidden=True, help="End when this parent process ends.")
def worker(
    device_text: str,
    per_device: int,
    gpu_memory_mb: int | None,
    drain: bool,
    metrics_port: int | None,
    metrics_host: str,
    parent: int | None,
) -> None:
    """Render queued jobs until Ctrl-C, with one process per device.

    Start as many workers as you like, on any machines that share the broker, the table and the
    files. On Ctrl-C or SIGTERM, a worker returns unfinished jobs to the queue. `wavemill doctor` lists
    the settings.

    With --drain, the worker exits as soon as no job in the table is running, queued or waiting for
    its next attempt. That includes the jobs of other workers, but not those of paused batches.
    Failed jobs do not change the exit code; `wavemill wait` reports them.

    Example: wavemill worker --devices 0,1
    """
    import signal
    from importlib.util import find_spec

    from wavemill.errors import UsageError
    from wavemill.jobs.database import Database
    from wavemill.jobs.migrate import ensure
    from wavemill.settings import Settings
    from wavemill_worker import devices, log
    from wavemill_worker.parent import end_with_parent
    from wavemill_worker.pulse import supervisor_id
    from wavemill_worker.supervisor import Supervisor

    if parent is not None and not end_with_parent(parent):
        return
    if not devices.is_of_another_kind(device_text) and find_spec("tensorflow") is None:
        raise UsageError("a worker needs TensorFlow: pip install 'wavemill[worker]' (CPU) or 'wavemill[gpu]'")
    settings = Settings.from_env()
    if gpu_memory_mb is not None:
        settings = settings.model_copy(update={"gpu_memory_mb": gpu_memory_mb})
    log.set_up(settings, supervisor_id(settings))
    chosen = devices.parse_devices(device_text, devices.discover_gpus())
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    ensure(database, to_write=True)
    database.close()
    metrics = None
    if metrics_port is not None:
        from wavemill_worker.metrics import Metrics

        metrics = Metrics(metrics_host, metrics_port)
        tell(f"metrics: {metrics.url}", settings.log_format)
    supervisor = Supervisor(settings, device_list=chosen, per_device=per_device, drain=drain, metrics=metrics)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, supervisor.stop)
    tell(
        f"working on {', '.join(chosen)} x {per_device}; Ctrl-C requeues unfinished jobs and stops", settings.log_format
    )
    supervisor.run()

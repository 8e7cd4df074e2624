"""`wavemill up`."""

from __future__ import annotations

from contextlib import nullcontext

import click

from wavemill_cli.printing import tell
from wavemill_producer.cli.logs import warn_on_stderr
from wavemill_producer.web.options import DEFAULT_PORT

_POLL_S = 0.5


@click.command()
@click.option(
    "--workers", type=click.IntRange(0, 64), default=1, show_default=True, help="Worker processes per device."
)
@click.option("--devices", default="auto", show_default=True, help="Devices to use, as for `wavemill worker`.")
@click.option("--no-web", is_flag=True, help="Serve no page.")
@click.option(
    "--web-port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True,
    help="Port of the page; if it is taken, a free one is used.",
)  # fmt: skip
@click.option(
    "--metrics", "metrics_port", type=click.IntRange(0, 65_535), metavar="PORT",
    help="Serve the workers' metrics for Prometheus on this port too; the page has the table's.",
)  # fmt: skip
def up(workers: int, devices: str, no_web: bool, web_port: int, metrics_port: int | None) -> None:
    """Start the embedded broker, the table, workers and the page on this machine, until Ctrl-C.

    With WAVEMILL_BROKER_URL or WAVEMILL_DATABASE_URL set, those servers are used instead of embedded ones.

    Example: wavemill up --workers 2
    """
    import threading

    from wavemill.jobs.database import Database
    from wavemill.jobs.migrate import ensure
    from wavemill.settings import Settings
    from wavemill_producer.cli.end_signals import on_end_signals
    from wavemill_producer.embedded import embedded_broker
    from wavemill_producer.web.background import page_in_background
    from wavemill_producer.workers import worker_processes

    warn_on_stderr()
    settings = Settings.from_env()
    stop = threading.Event()
    on_end_signals(stop.set)
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    ensure(database, to_write=True)
    database.close()
    with (
        embedded_broker(settings) as broker,
        worker_processes(settings, per_device=workers, devices=devices, metrics_port=metrics_port) as process,
        nullcontext("no page") if no_web else page_in_background(settings, port=web_port) as page,
    ):
        for line in (broker.where, f"table: {database.name}", page, "queue jobs from another terminal; Ctrl-C stops"):
            tell(line, settings.log_format)
        while not stop.wait(_POLL_S):
            if broker.keep():
                tell(f"the broker had ended and was started again; {broker.where}", settings.log_format)
            if process is not None and process.poll() is not None:
                raise click.ClickException(f"the workers ended with exit code {process.returncode}; see above")
    tell("stopped", settings.log_format)

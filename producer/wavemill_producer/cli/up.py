"""`wavemill up`."""

from __future__ import annotations

import click


@click.command()
@click.option(
    "--workers", type=click.IntRange(0, 64), default=1, show_default=True, help="Worker processes per device."
)
@click.option("--devices", default="auto", show_default=True, help="As for `wavemill worker`.")
@click.option("--no-web", is_flag=True, help="Start no web page. There is none yet, so this changes nothing.")
def up(workers: int, devices: str, no_web: bool) -> None:  # noqa: ARG001  scripts may pass --no-web already
    """Start the embedded broker, the table and workers on this machine, until Ctrl-C.

    With WAVEMILL_BROKER_URL or WAVEMILL_DATABASE_URL set, those servers are used instead of embedded ones.

    Example: wavemill up --workers 2
    """
    import signal
    import threading

    from wavemill.jobs.database import Database
    from wavemill.jobs.migrate import ensure
    from wavemill.settings import Settings
    from wavemill_producer.embedded import embedded_broker
    from wavemill_producer.workers import worker_processes

    settings = Settings.from_env()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    database = Database(settings.sqlalchemy_url)
    ensure(database)
    database.close()
    with (
        embedded_broker(settings) as broker,
        worker_processes(settings, per_device=workers, devices=devices) as process,
    ):
        click.echo(f"{broker}\ntable: {database.name}\nqueue jobs from another terminal; Ctrl-C stops", err=True)
        while not stop.wait(0.2):
            if process is not None and process.poll() is not None:
                raise click.ClickException(f"the workers ended with exit code {process.returncode}; see above")
    click.echo("stopped", err=True)

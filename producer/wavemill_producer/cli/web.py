"""`wavemill web`."""

from __future__ import annotations

import click

from wavemill_cli.printing import tell
from wavemill_producer.cli.logs import warn_on_stderr
from wavemill_producer.web.options import DEFAULT_HOST, DEFAULT_PORT, WebOptions


@click.command()
@click.option("--host", default=DEFAULT_HOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=DEFAULT_PORT, show_default=True, help="0: a free one.")
@click.option("--root-path", default="", metavar="PATH", help="Path below which a proxy offers the page: /wavemill.")
@click.option(
    "--host-name", "host_names", multiple=True, metavar="NAME",
    help="Answer under this name too while no token is needed; repeatable.",
)  # fmt: skip
def web(host: str, port: int, root_path: str, host_names: tuple[str, ...]) -> None:
    """Serve the page and the HTTP API, until Ctrl-C.

    On this machine alone, no token is needed until one is made with `wavemill token create`. On any
    other address one is needed from the start.

    Example: wavemill web --port 8642
    """
    from wavemill.jobs.database import Database
    from wavemill.jobs.migrate import ensure
    from wavemill.settings import Settings
    from wavemill_producer.cli.end_signals import on_end_signals
    from wavemill_producer.web.server import address_of, bind, require_safe, serve

    warn_on_stderr()
    root = f"/{root_path.strip('/')}" if root_path.strip("/") else ""
    options = WebOptions(host=host, port=port, root_path=root, host_names=tuple(name.lower() for name in host_names))
    settings = Settings.from_env()
    database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
    try:
        ensure(database, to_write=True)
        require_safe(database, options)
    finally:
        database.close()
    with bind(options) as listening:
        tell(f"the page is at {address_of(listening, options)}; Ctrl-C stops", settings.log_format)
        serve(settings, options, listening, on_end_signals)
    tell("stopped", settings.log_format)

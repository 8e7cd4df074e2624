"""`wavemill play`."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from wavemill_cli.printing import say

if TYPE_CHECKING:
    from wavemill_producer.job import Job, Which

# The first that is installed is used. The last two play WAV files only.
PLAYERS: Sequence[Sequence[str]] = (
    ("mpv", "--no-video", "--really-quiet"),
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("play", "-q"),  # SoX
    ("cvlc", "--play-and-exit", "--quiet"),
    ("afplay",),  # macOS
    ("pw-play",),
    ("paplay",),
    ("aplay", "-q"),
)


@click.command()
@click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--batch", "batch_id", help="The batch of the spectrograms' jobs, by its ID or name.")
@click.option("--original", "which", flag_value="original", help="Play the original instead of the generated sound.")
@click.option("--both", "which", flag_value="both", help="Play the original, then the generated sound.")
@click.option("--player", help="Command that plays a file, such as 'mpv --no-video'. Default: the first installed one.")
def play(job_ids: Sequence[str], batch_id: str | None, which: str | None, player: str | None) -> None:
    """Play the sounds of jobs, one after the other, with a player that is installed here.

    ID is a job's number or a spectrogram's ID. With --batch, it is always a spectrogram's ID.

    Example: wavemill play 7_george_12 --both
    """
    from wavemill_producer.cli.job_ids import found_job
    from wavemill_producer.job import Job
    from wavemill_producer.producer import Producer

    command = _player() if player is None else _split(player)
    sounds: list[Which] = ["original", "generated"] if which == "both" else ["original" if which else "generated"]
    with Producer.from_env() as producer:
        jobs = [Job(found_job(producer, job_id, batch_id=batch_id)) for job_id in job_ids]
    for job in jobs:
        for sound in sounds:
            say(f"{job.spectrogram_id}: {sound}", err=True)
            _play(command, job, sound)


def _split(player: str) -> list[str]:
    try:
        command = shlex.split(player)
    except ValueError as exc:
        raise click.BadParameter(f"{exc}", param_hint="--player") from exc
    if not command:
        raise click.BadParameter("expected a command", param_hint="--player")
    return command


def _player() -> list[str]:
    for name, *options in PLAYERS:
        if (found := shutil.which(name)) is not None:
            return [found, *options]
    names = ", ".join(name for name, *_ in PLAYERS)
    raise click.ClickException(
        f"no player is installed (looked for {names}); install one, name yours with --player, or copy the file that "
        "`wavemill job ID` names"
    )


def _play(command: Sequence[str], job: Job, sound: Which) -> None:
    """Play one sound. It is copied first: it may be in an object store, and its name may look like an option."""
    from wavemill_producer.sounds import copied

    path = job.path(sound)
    with tempfile.NamedTemporaryFile(prefix="wavemill-", suffix=f".{path.rpartition('.')[2]}") as file:
        copied(path, file)
        file.flush()
        try:
            code = subprocess.run([*command, file.name], stdin=subprocess.DEVNULL).returncode
        except OSError as exc:
            raise click.ClickException(f"--player {command[0]} cannot be run: {exc.strerror}") from exc
    if code:
        raise click.ClickException(f"{command[0]} ended with exit code {code}; name another player with --player")

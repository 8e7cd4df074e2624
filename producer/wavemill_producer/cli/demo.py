"""`wavemill demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wavemill_cli.paths import FilePath, Location
from wavemill_cli.printing import say

if TYPE_CHECKING:
    from wavemill.settings import Settings
    from wavemill_producer.batch import Batch

_TIMEOUT_S = 600.0


@click.command()
@click.option("--folder", type=FilePath(), default=Path("demo"), show_default=True, help="Folder for all files.")
@click.option(
    "--model",
    type=Location(),
    default="fsdd-vae",
    show_default=True,
    help="Model folder, or the name of a model below WAVEMILL_MODELS or of a shipped one.",
)
@click.pass_context
def demo(ctx: click.Context, folder: Path, model: str) -> None:
    """Build a small dataset, start a broker and a worker, render WAVs, and stop everything.

    The speech clips and the model ship with wavemill. The servers are embedded and keep their files
    in FOLDER, whatever the settings say. Each run adds a batch.

    Example: wavemill demo
    """
    from wavemill.settings import Settings

    home = folder / ".wavemill"
    settings = Settings.from_env().model_copy(update={"home": home, "database_url": "", "broker_url": ""})
    ctx.exit(_run(settings, folder, model))


def _run(settings: Settings, folder: Path, model: str) -> int:
    from wavemill.vae.folder.finding import find_model
    from wavemill_producer.cli.status import EXIT_SOME_FAILED, wait_for
    from wavemill_producer.embedded import embedded_broker
    from wavemill_producer.producer import Producer
    from wavemill_producer.workers import worker_processes

    find_model(model, settings.models)  # first of all, since the name may be misspelt
    dataset_dir = folder / "dataset"
    say(f"1/4  dataset: {_build_dataset(dataset_dir)} spectrograms in {dataset_dir}")
    with Producer(settings) as producer, embedded_broker(settings) as broker:
        log_path = settings.home / "worker.log"
        with log_path.open("wb") as log, worker_processes(settings, per_device=1, log=log) as worker:
            say(f"2/4  {broker.where}; worker: process {worker.pid if worker else '-'}, log in {log_path}")
            from wavemill.dataset.index import Dataset

            with Dataset.open(dataset_dir) as dataset:
                batch = producer.reconstruct(dataset.ids(), dataset=dataset_dir, model=model, output=folder / "out")
            say(f"3/4  queued batch {batch.id}; the worker imports TensorFlow first, which takes a while")

            def check() -> None:
                if worker is not None and worker.poll() is not None:
                    raise click.ClickException(f"the worker ended with exit code {worker.returncode}; see {log_path}")

            code = wait_for(batch, quiet=False, timeout_s=_TIMEOUT_S, check=check)
        say("4/4  worker and broker stopped; the table:")
        _show(batch)
        say(f"in a browser:  WAVEMILL_HOME={settings.home} wavemill web")
    if code == EXIT_SOME_FAILED:
        say(f"some jobs failed; the reasons are in the table above and in {log_path}", err=True)
    return code


def _build_dataset(dataset_dir: Path) -> int:
    from importlib.resources import as_file, files

    from wavemill.dataset.build import build
    from wavemill.presets import DEFAULT_PRESET, preset

    with as_file(files("wavemill") / "demo") as clips:
        report = build(clips, dataset_dir, preset(DEFAULT_PRESET), jobs=1, prune=True)
    return report.built + report.reused


def _show(batch: Batch) -> None:
    from wavemill_cli.printing import print_table

    columns = ["job", "spectrogram", "state", "attempt", "peak", "sha256", "WAV or error"]
    rows = [
        [
            job.id,
            job.spectrogram_id,
            job.state,
            job.attempt,
            job.quality and job.quality["peak"],
            job.sha256 and job.sha256[:12],
            job.error or _relative(job.generated_path),
        ]
        for job in batch.jobs()
    ]
    print_table(columns, rows)
    status = batch.status()
    output = _relative(f"{status['output']}/{batch.id}")
    say(f"listen:  {output}/generated/*.wav, and beside them {output}/original/*.wav")


def _relative(path: str) -> str:
    """Shorten a path below the working directory."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path

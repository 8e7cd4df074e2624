"""What the subcommands of `wavemill submit` share: options, submission and report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

from wavemill.contract import DEFAULT_PRIORITY, PRIORITIES
from wavemill.operations.formats import FORMATS, OUTPUT_RATES_HZ
from wavemill.operations.named_ids import parsed_line
from wavemill.operations.requests import LOUDNESS_LUFS, METHODS, MOST_REFINE
from wavemill.text.terminal import progress_bar
from wavemill_cli.paths import Location
from wavemill_cli.printing import duration, json_option, number_of, print_json, say

if TYPE_CHECKING:
    from wavemill.dataset.index import Dataset
    from wavemill_producer.batch import Batch
    from wavemill_producer.job_sources import GivenId, GivenPair
    from wavemill_producer.producer import Producer
    from wavemill_producer.submitter import Submitter

F = TypeVar("F", bound=Callable[..., Any])


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Apply click options so that --help lists them in this order."""

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


TEXT_FILE = click.File(encoding="utf-8-sig")  # some editors begin a file with a byte order mark
OBJECTS = "A line may be JSON with id, custom_id and metadata."

dataset_option = click.option(
    "--dataset",
    type=Location(),
    help="Dataset folder, as the workers see it.  [required, except with --from-batch: default is that of BATCH]",
)
model_option = click.option(
    "--model",
    type=Location(),
    required=True,
    help="Model folder, or the name of a model below WAVEMILL_MODELS or of a shipped one.",
)

from_batch_options = options(
    click.option("--from-batch", metavar="BATCH", help="What the jobs of this batch were made from, in place of IDs."),
    click.option(
        "--where", multiple=True, metavar="CONDITION",
        help="With --from-batch, only jobs that meet it, such as rating>=4; repeatable.",
    ),
)  # fmt: skip
choice_options = options(
    click.option(
        "--ids", "ids_file", type=TEXT_FILE, help=f"File of IDs, one per line; - is standard input. {OBJECTS}"
    ),
    click.option("--all", "take_all", is_flag=True, help="Every spectrogram of the dataset."),
    click.option(
        "--random", "n_random", type=click.IntRange(min=1), help="This many spectrograms, drawn without replacement."
    ),
    from_batch_options,
    click.option(
        "--check-ids/--no-check-ids", default=True, show_default=True, help="Refuse the batch if an ID is unknown."
    ),
)

seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed for all random numbers."
)
posterior_option = click.option(
    "--sample", "from_posterior", is_flag=True, help="Draw each latent from its posterior instead of taking the mean."
)
refine_option = click.option(
    "--refine",
    type=click.IntRange(0, MOST_REFINE),
    metavar="STEPS",
    help="Steps that move each latent until it draws its clip more closely; each takes about three forward passes.  "
    "[default: the model's own number, or 0 with --sample]",
)
latents_option = click.option("--keep-latents", is_flag=True, help="Also write each latent as latents/ID.npy.")

sound_options = options(
    click.option(
        "--method",
        type=click.Choice(METHODS),
        default=METHODS[0],
        show_default=True,
        help="Method of phase reconstruction.",
    ),
    click.option(
        "--format", type=click.Choice(list(FORMATS)), default="wav", show_default=True, help="Format of the sounds."
    ),
    click.option(
        "--output-rate",
        "output_rate_hz",
        type=click.IntRange(*OUTPUT_RATES_HZ),
        metavar="HZ",
        help="Sample rate of the sounds.  [default: that of the dataset, or the next that the format has]",
    ),
    click.option(
        "--loudness",
        "loudness_lufs",
        type=click.FloatRange(*LOUDNESS_LUFS),
        metavar="LUFS",
        help="Loudness of the sounds, such as -23; true peaks stay under -1 dBTP.  [default: the level as it is]",
    ),
)
SOUND_PARAMS = ("method", "format", "output_rate_hz", "loudness_lufs")  # what `sound_options` gives

queue_options = options(
    click.option("--output", type=Location(), required=True, help="Folder or fsspec URL; outputs go to OUTPUT/BATCH/."),
    click.option("--name", help="Name of the batch; other commands take it in place of the ID."),
    click.option(
        "--priority",
        type=click.IntRange(PRIORITIES.start, PRIORITIES.stop - 1),
        default=DEFAULT_PRIORITY,
        show_default=True,
        help="Higher priorities go first.",
    ),
    click.option("--key", help="Idempotency key: the same request returns the same batch; another request is refused."),
    click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="Tag to find the batch by; repeatable."),
    click.option(
        "--webhook", "webhook_url", metavar="URL", help="Called when the batch ends; needs WAVEMILL_WEBHOOK_SECRET."
    ),
    click.option("--reuse", is_flag=True, help="Copy outputs that an earlier batch made from the same inputs."),
    click.option("--dry-run", is_flag=True, help="Check everything and say what would be queued; queue nothing."),
    click.option("--wait", "wait_for_it", is_flag=True, help="Wait until the batch is finished."),
    json_option,
)


def require_batch(from_batch: str | None, where: tuple[str, ...]) -> None:
    """Refuse --where without --from-batch."""
    if where and from_batch is None:
        raise click.UsageError("--where chooses jobs of a batch: name it with --from-batch")


def require_dataset(dataset: str | None, from_batch: str | None) -> None:
    """Refuse a submission without a dataset or a batch that has one."""
    if dataset is None and from_batch is None:
        raise click.UsageError("Missing option '--dataset'.")


def chosen_ids(dataset: Dataset, *, ids_file: TextIO | None, n_random: int | None, seed: int) -> Iterable[GivenId]:
    """Return the IDs chosen with --ids or --random, or else all."""
    if ids_file is not None:
        return entries(ids_file)
    return dataset.ids() if n_random is None else dataset.random_ids(n_random, seed)


def lines(file: TextIO) -> Iterator[str]:
    """Yield the lines that are not empty. Spaces are kept: an ID may begin or end with one."""
    try:
        yield from (text for line in file if (text := line.rstrip("\r\n")))
    except UnicodeDecodeError as exc:
        raise click.UsageError(f"{file.name}: expected text in UTF-8, one entry per line: {exc}") from exc


def entries(file: TextIO) -> Iterator[GivenId]:
    """Yield the IDs of a file; a line may be a JSON object with `custom_id` and `metadata`."""
    return (parsed_line(line) if line[0] == "{" else line for line in lines(file))


def pairs(file: TextIO) -> Iterator[GivenPair]:
    """Yield the pairs of a file: two IDs with a tab between them, or a JSON object with `from` and `to`."""
    for entry in entries(file):
        if not isinstance(entry, str):
            yield entry
            continue
        start, separator, end = entry.partition("\t")
        if not separator:
            raise click.UsageError(f"--pairs: expected two IDs with a tab between, received {entry[:80]!r}")
        yield start, end


def submit(
    call_operation: Callable[[Producer, Submitter[Any], dict[str, Any]], Any],
    *,
    dry_run: bool,
    wait_for_it: bool,
    as_json: bool,
    **queue: Any,
) -> None:
    """Submit, or only check, and report. `call_operation` gets the producer, a `Submitter` and queue options."""
    from wavemill.jobs.tags import tags_from
    from wavemill_producer.producer import Producer

    queue["tags"] = tags_from(queue["tags"])
    with Producer.from_env() as producer:
        if dry_run:
            _report_dry_run(call_operation(producer, producer.dry_run, queue), as_json=as_json)
            return
        with _progress(quiet=as_json) as progress:
            batch = call_operation(producer, producer, {**queue, "progress": progress})
        status = _status(batch)
        if as_json:  # before the wait, so that the ID is known if the wait is interrupted
            print_json({"batch_id": batch.id, "total": status["total"]})
        else:
            _report_batch(status, reuse=queue["reuse"])
        if wait_for_it:
            from wavemill_producer.cli.status import say_if_nobody_works, wait_for

            say_if_nobody_works(producer)
            click.get_current_context().exit(wait_for(batch, quiet=as_json))


def _status(batch: Batch) -> dict[str, Any]:
    """Return the status. If the table is down now, the error says that the batch is queued."""
    from wavemill.errors import DatabaseUnavailableError

    try:
        return batch.status()
    except DatabaseUnavailableError as exc:
        raise DatabaseUnavailableError(f"batch {batch.id} is queued, but its status cannot be read: {exc}") from exc


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal that IDs are read and checked, then how many jobs are written."""
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with progress_bar(*columns, quiet=quiet) as bar:
        task = bar.add_task("reading and checking IDs", total=None)
        yield lambda written: bar.update(task, description=f"{written:,} jobs written")


def _report_batch(status: dict[str, Any], *, reuse: bool) -> None:
    reused = f", {status['counts']['done']} of them done already" if reuse else ""
    say(
        f"queued {number_of(status['total'], 'job')} as batch {status['id']}{reused}; "
        f"follow it with: wavemill status {status['id']} --watch"
    )


def _report_dry_run(report: dict[str, Any], *, as_json: bool) -> None:
    from rich.filesize import decimal

    if as_json:
        print_json(report)
        return
    jobs, messages = number_of(report["total"], "job"), number_of(report["chunks"], "message")
    say(f"would queue {jobs} in {messages}; nothing was queued")
    say(f"duplicates  {report['duplicates']}, left out")
    if report["unknown"]:
        examples = ", ".join(report["unknown_examples"])
        say(f"unknown     {report['unknown']}: {examples}; without --no-check-ids, submit refuses the batch")
    free = "" if report["free_bytes"] is None else f"; {decimal(report['free_bytes'])} are free there"
    say(f"disk        about {decimal(report['output_bytes'])} of sound{free}")
    time = f"{duration(report['estimated_s'])}, by {report['estimated_from']}"
    if report["estimated_s"] is None:
        time = f"unknown: {report['estimated_from']}"
    elif report["queued_before"]:
        time += f"; after {report['queued_before']} jobs that are queued already: {duration(report['queued_before_s'])}"
    say(f"time        {time}")

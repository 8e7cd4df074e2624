"""Build a dataset from a folder of recordings: parallel, and continued where an earlier run ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wavemill.audio.load import audio_suffixes
from wavemill.dataset.making import Failure, make_spectrograms
from wavemill.dataset.pool import available_cores, map_in_processes
from wavemill.dataset.sources import Problem, SourceList
from wavemill.dataset.writing import DatasetWriter, Row
from wavemill.errors import DatasetError
from wavemill.presets import Features

Progress = Callable[[int, int], None]  # called with: done, total

_BATCH_SIZE = 64  # recordings a process gets at a time; their rows are committed together, and they are a pack
# Starting a process costs it seconds of imports, as long as it takes to build about this many spectrograms.
_WORTH_PROCESSES = 4_000


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did. `cut` and `silent` count the whole dataset, reused spectrograms included."""

    built: int
    reused: int
    removed: int  # their recordings are gone
    cut: int
    silent: int
    unreadable: list[Problem]
    skipped: list[Problem]
    ignored: int  # files that are no recordings


def build(
    audio_dir: str | Path,
    dataset_dir: str | Path,
    features: Features,
    *,
    packed: bool | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Build a dataset from every recording below `audio_dir`, or bring an existing one up to date.

    A recording's ID is its path relative to `audio_dir` without the suffix. What was built before from an unchanged
    file (path, size and time of change) is kept; after Ctrl-C or kill -9 the same call goes on where it was. With many
    recordings it spawns processes, so a script that calls it needs `if __name__ == "__main__":`, or `jobs=1`.

    Parameters
    ----------
    audio_dir, dataset_dir : str or Path
    features : Features
        Such as `wavemill.presets.preset("digits")`.
    packed : bool, optional
        Keep 64 spectrograms in a file instead of one; by default as the dataset is, and one in a new dataset.
    jobs : int > 0, optional
        How many processes; by default one per core if there is enough to do, else the work is done in this process.
    progress : callable, optional
        Called with the number of recordings handled and the number of all that are to be built.

    Raises
    ------
    DatasetError
        No usable recording, or `dataset_dir` holds something else: other files, or a dataset of another preset or form.
    StorageUnavailableError
        The disk is full.
    """
    audio_dir, dataset_dir = Path(audio_dir), Path(dataset_dir)
    if not audio_dir.is_dir():
        raise DatasetError(f"{audio_dir} is not an existing folder of recordings")
    with DatasetWriter.open(dataset_dir, features, origin="build", packed=packed) as writer:
        return _build(audio_dir, writer, features, jobs, progress or _no_progress)


def _build(
    audio_dir: Path, writer: DatasetWriter, features: Features, jobs: int | None, progress: Progress
) -> BuildReport:
    sources = SourceList(writer)
    sources.scan(audio_dir, audio_suffixes())
    removed = sources.remove_vanished()
    make = partial(
        make_spectrograms, audio_dir=audio_dir, dataset_dir=writer.folder, features=features, packed=writer.packed
    )
    processes = jobs or (available_cores() if sources.pending >= _WORTH_PROCESSES else 1)
    batches = sources.pending_batches(_BATCH_SIZE)
    results = map_in_processes(make, batches, processes=processes) if processes > 1 else map(make, batches)
    unreadable = _record(results, writer, sources.pending, progress)
    built = sources.pending - len(unreadable)
    if built + sources.reused == 0:
        raise DatasetError(
            f"none of the {len(unreadable)} recordings in {audio_dir} can be read; the first: {unreadable[0][1]}"
        )
    manifest = writer.finish({"unreadable": len(unreadable), "skipped": len(sources.findings.skipped)})
    return BuildReport(
        built=built,
        reused=sources.reused,
        removed=removed,
        cut=manifest.counts["cut"],
        silent=manifest.counts["silent"],
        unreadable=sorted(unreadable),
        skipped=sorted(sources.findings.skipped),
        ignored=sources.findings.ignored,
    )


def _record(
    results: Iterable[list[Row | Failure]], writer: DatasetWriter, total: int, progress: Progress
) -> list[Problem]:
    """Put finished batches into the index as they come; returns the recordings that failed, with the reasons."""
    unreadable: list[Problem] = []
    done = 0
    progress(done, total)
    for batch in results:
        failures = [made for made in batch if isinstance(made, Failure)]
        writer.put(made for made in batch if isinstance(made, Row))
        if failures:  # an older state of the file may have been readable
            writer.remove(failure.source.spectrogram_id for failure in failures)
        unreadable.extend((failure.source.path, failure.reason) for failure in failures)
        done += len(batch)
        progress(done, total)
    return unreadable


def _no_progress(_done: int, _total: int) -> None:
    """Show nothing."""

"""Builds a dataset from a folder of recordings, in parallel, and continues an interrupted build."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from wavemill.audio.load import audio_suffixes
from wavemill.audio.mel import mel_bank
from wavemill.cores import available_cores
from wavemill.dataset.described import Described
from wavemill.dataset.extents import Long
from wavemill.dataset.label_sources import LabelChoice, name_labels
from wavemill.dataset.labelling import LabelReport, label_dataset
from wavemill.dataset.making import Failure, make_spectrograms
from wavemill.dataset.metadata import find_table
from wavemill.dataset.new_entries import NewEntry
from wavemill.dataset.pool import map_in_processes
from wavemill.dataset.source_list import RecordingList
from wavemill.dataset.sources import Problem, RecordingFile, require_folder
from wavemill.dataset.writing import DatasetWriter
from wavemill.errors import DatasetError
from wavemill.presets import Features

ProgressCallback = Callable[[int, int], None]  # called with: done, total

_BATCH_SIZE = 64  # recordings per call of a process, per commit of rows, and per pack
# A process spends seconds on imports. In that time, about this many spectrograms can be built.
_WORTH_PROCESSES = 4_000


@dataclass(frozen=True, kw_only=True)
class BuildReport:
    """What a build did. `cut` and `silent` count the whole dataset, reused spectrograms included."""

    spectrograms: int  # in the dataset
    built: int
    reused: int
    removed: int  # their recordings are gone
    kept: int  # from an earlier build: their recordings could not be examined or read now
    cut: int
    silent: int
    unreadable: list[Problem]
    skipped: list[Problem]
    ignored: int  # files that are not recordings
    resampled: dict[int, int]  # rate of recordings built now, in Hz -> how many were brought to another rate
    mixed: int  # recordings built now that had more than one channel
    labels: LabelReport | None = None  # None: nothing says how to label


def build(
    audio_dir: str | Path,
    dataset_dir: str | Path,
    features: Features,
    *,
    packed: bool | None = None,
    long: Long | None = None,
    jobs: int | None = None,
    prune: bool = False,
    labels: LabelChoice | None = None,
    progress: ProgressCallback | None = None,
) -> BuildReport:
    """Build a dataset from every recording below `audio_dir`, or bring an existing one up to date.

    A recording's ID is its path relative to `audio_dir` without the suffix. If rows of the table of
    labels name parts of it, each part is a spectrogram, such as `song@12.5-14`. Spectrograms of
    unchanged files (same path, size and time of change) are kept, and so are those of files that
    cannot be examined or read now. A spectrogram is removed only if its recording was seen to be
    gone. After Ctrl-C or kill -9, the same call continues the build. With many recordings it spawns
    processes, so a script that calls it needs `if __name__ == "__main__":`, or `jobs=1`.

    Parameters
    ----------
    audio_dir, dataset_dir : str or Path
    features : Features
        Such as `wavemill.presets.preset("digits")`.
    packed : bool, optional
        Store 64 spectrograms per file instead of one. By default, an existing dataset keeps its
        form, and a new one gets one file per spectrogram.
    long : "cut", "split" or "keep", optional
        What becomes of recordings that are longer than a frame, `features.duration_s`: the first
        frame, a spectrogram for each frame, or one spectrogram for all of it. By default, an
        existing dataset keeps its form; a new one cuts with the presets `digits`, `digits-mel` and
        `course`, and keeps with other features.
    jobs : int > 0, optional
        Number of processes. Default: one per core if there is enough to do, else only this process.
    prune : bool
        Remove spectrograms whose recordings are gone, even if they are a fifth of the dataset or
        more.
    labels : LabelChoice, optional
        Where labels come from, besides names such as `7_george_3`. By default from a table named
        `metadata.csv`, `metadata.jsonl`, `metadata.parquet` or `examples.json` in `audio_dir`.
    progress : callable, optional
        Called with the number of recordings handled and the number to build.

    Raises
    ------
    UsageError
        The numbers of `features` contradict each other, or `labels` is wrong.
    DatasetError
        There is no usable recording; a table of labels cannot be read; many spectrograms would be
        removed and `prune` is False; or `dataset_dir` holds other files, or a dataset with other
        features or with another `packed`.
    StorageUnavailableError
        The disk is full.
    """
    audio_dir, dataset_dir = Path(audio_dir), Path(dataset_dir)
    features.require_consistent()
    if features.kind == "log-mel":
        mel_bank(features)  # refuses more bands than there are frequencies, before anything is written
    require_folder(audio_dir)
    choice = labels or LabelChoice()
    name_labels(choice)  # refuses a bad pattern
    with (
        Described.open(audio_dir, choice) as described,
        DatasetWriter.open(dataset_dir, features, origin="build", packed=packed, long=long) as writer,
    ):
        recordings = RecordingList(writer, audio_dir, described)
        recordings.scan(audio_suffixes(), prune=prune)
        removed = recordings.remove_gone()
        builder = _Builder(audio_dir, writer, recordings, progress or _no_progress)
        builder.build_all(jobs)
        return builder.finish(removed, described, choice)


class _Builder:
    """Builds the pending spectrograms and counts the results."""

    def __init__(
        self, audio_dir: Path, writer: DatasetWriter, recordings: RecordingList, progress: ProgressCallback
    ) -> None:
        self._audio_dir = audio_dir
        self._writer = writer
        self._recordings = recordings
        self._progress = progress
        self._done = 0
        self._total = recordings.pending
        self._unreadable: list[Problem] = []
        self._resampled: Counter[int] = Counter()
        self._mixed = 0

    def build_all(self, jobs: int | None) -> None:
        """Build everything. If a recording cannot be read, try the next one with the same ID."""
        self._progress(self._done, self._total)
        while self._recordings.pending:
            failed = list(self._build_pending(jobs))
            self._recordings.fall_back(failed)
            self._total += self._recordings.pending

    def finish(self, removed: int, described: Described, choice: LabelChoice) -> BuildReport:
        """Label the dataset, mark it complete and return the report; DatasetError if the dataset is empty."""
        recordings, findings = self._recordings, self._recordings.findings
        built = self._done - len(self._unreadable)
        if built + recordings.reused + recordings.kept == 0:
            raise DatasetError(
                f"none of the {len(self._unreadable)} recordings in {self._audio_dir} can be read; "
                f"the first: {self._unreadable[0][1]}"
            )
        skipped = sorted([*findings.skipped, *recordings.doubled()])
        labels = label_dataset(self._writer, described, choice, is_kept=recordings.is_kept)
        manifest = self._writer.finish({"unreadable": len(self._unreadable), "skipped": len(skipped)})
        return BuildReport(
            spectrograms=manifest.counts["spectrograms"],
            built=built,
            reused=recordings.reused,
            removed=removed,
            kept=recordings.kept,
            cut=manifest.counts["cut"],
            silent=manifest.counts["silent"],
            unreadable=sorted(self._unreadable),
            skipped=skipped,
            ignored=findings.ignored - (find_table(self._audio_dir) is not None),
            resampled=dict(sorted(self._resampled.items())),
            mixed=self._mixed,
            labels=labels,
        )

    def _build_pending(self, jobs: int | None) -> Iterator[RecordingFile]:
        """Add finished batches to the index as they come; yield the recordings that failed."""
        make = partial(
            make_spectrograms,
            audio_dir=self._audio_dir,
            dataset_dir=self._writer.folder,
            features=self._writer.features,
            packed=self._writer.packed,
            long=self._writer.long,
        )
        pending = self._recordings.pending
        processes = jobs or (available_cores() if pending >= _WORTH_PROCESSES else 1)
        batches = self._recordings.pending_batches(_BATCH_SIZE)
        results = map_in_processes(make, batches, processes=processes) if processes > 1 else map(make, batches)
        for batch in results:
            failures = [made for made in batch if isinstance(made, Failure)]
            entries = [made for made in batch if isinstance(made, NewEntry)]
            self._writer.put(entries)
            self._resampled.update(e.rate_hz for e in entries if e.rate_hz != self._writer.features.sample_rate_hz)
            self._mixed += sum(entry.channels > 1 for entry in entries)
            self._unreadable.extend((failure.recording.name, failure.reason) for failure in failures)
            self._done += len(batch)
            self._progress(self._done, self._total)
            yield from (failure.recording for failure in failures)


def _no_progress(_done: int, _total: int) -> None:
    """Show nothing."""

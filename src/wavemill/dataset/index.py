"""Reads a dataset's index: IDs, labels and ranges. Imports only the standard library."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from wavemill.dataset.entries import READABLE_LABELS, Entry, is_text, parse_row, parsed_labels
from wavemill.dataset.extents import LONGEST_S, shape_of
from wavemill.dataset.files import DatasetFiles
from wavemill.dataset.index_reader import IndexReader
from wavemill.dataset.manifest import INDEX_NAME, Manifest, read_manifest
from wavemill.errors import DatasetError, SpectrogramError, UnknownSpectrogramError, UsageError
from wavemill.labels import Labels, number_in
from wavemill.operations.identifiers import MAX_ID_BYTES
from wavemill.presets import Features

__all__ = ["Dataset", "Entry"]

_LOOKUP_SIZE = 5_000  # IDs in one IN (...); SQLite's limit is 32,766
_PAGE_SIZE = 10_000  # IDs fetched at a time when all are streamed


class Dataset:
    """A complete dataset folder, opened for reading. Several threads may use it at once.

    Make it with `Dataset.open`, and close it or use it in a `with` statement.
    """

    def __init__(self, path: Path, manifest: Manifest, reader: IndexReader) -> None:
        self.path = path
        self.manifest = manifest
        self.files = DatasetFiles(path)
        self._reader = reader

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the dataset in folder `path`.

        Raises
        ------
        DatasetError
            It is missing, not a dataset, damaged, or not built to the end.
        StorageUnavailableError
            Its disk does not answer.
        """
        folder = Path(path)
        manifest = read_manifest(folder)
        if not manifest.complete:
            raise DatasetError(
                f"{folder} was not built to the end; run its `wavemill dataset {manifest.origin}` command again: "
                "finished work is kept"
            )
        return cls(folder, manifest, IndexReader(folder))

    @property
    def features(self) -> Features:
        """The parameters that every spectrogram of this dataset was made with."""
        return self.manifest.features

    @property
    def longest_s(self) -> float:
        """Longest sound that a spectrogram can hold, in seconds."""
        return LONGEST_S if self.manifest.long == "keep" else self.features.duration_s

    def shape_of(self, entry: Entry) -> tuple[int, int]:
        """Return (n_bins, n_frames) of an entry's spectrogram."""
        return shape_of(self.features, self.manifest.long, entry.duration_s)

    @property
    def count(self) -> int:
        """Number of spectrograms."""
        return int(self._reader.query("SELECT count(*) FROM spectrograms")[0][0])

    @property
    def usual_duration_s(self) -> float:
        """Length of a sound, for estimates: the mean if lengths differ, else that of a frame."""
        if self.manifest.long != "keep":
            return self.features.duration_s
        mean = self._reader.query("SELECT avg(duration_s) FROM spectrograms WHERE typeof(duration_s) = 'real'")[0][0]
        return min(float(mean or 0), LONGEST_S)

    def get(self, spectrogram_id: str) -> Entry:
        """Return the entry with that ID.

        Raises
        ------
        UnknownSpectrogramError
            The index has no such ID.
        SpectrogramError
            Its row is damaged.
        """
        try:
            rows = self._lookup(self._reader.entry_columns, [spectrogram_id])
        except DatasetError as exc:
            raise SpectrogramError(f"{spectrogram_id[:80]}: its row in the index cannot be read: {exc}") from exc
        if not rows:
            raise UnknownSpectrogramError(
                f"{self.path} holds no spectrogram {spectrogram_id[:80]!r}; list its IDs with: "
                "wavemill dataset ids DATASET"
            )
        return parse_row(rows[0], longest_s=self.longest_s)

    def get_many(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return a mapping of IDs to entries.

        IDs that are not in the index, or whose rows are damaged, are left out. For each of these,
        `get` raises an error that says why.
        """
        try:
            rows = self._lookup(self._reader.entry_columns, ids)
        except DatasetError:
            rows = self._readable(ids)
        entries = {}
        for row in rows:
            with suppress(SpectrogramError):
                entries[row[0]] = parse_row(row, longest_s=self.longest_s)
        return entries

    def label_kinds(self) -> dict[str, type[str] | type[int] | type[float]]:
        """Return the names of the labels, each with the type that holds all of its values."""
        statement = f"SELECT DISTINCT key, type FROM spectrograms, json_each({READABLE_LABELS}) ORDER BY key"  # noqa: S608 constant
        found: dict[str, set[str]] = {}
        for name, kind in self._reader.query(statement):
            found.setdefault(_readable_text(name), set()).add(kind)
        return {
            name: int if kinds == {"integer"} else float if kinds <= {"integer", "real"} else str
            for name, kinds in found.items()
        }

    def labels(self, ids: Sequence[str]) -> dict[str, Labels]:
        """Return the labels of each ID that is in the index; none where they are damaged."""
        return {ID: parsed_labels(labels) or {} for ID, labels in self._lookup("id, labels", ids)}

    def sources(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the recording that each ID was made from, relative to the folder of recordings."""
        return dict(self._lookup("id, source", ids))

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Return the IDs that are not in the index, each once, in the order given."""
        known = {row[0] for row in self._lookup("id", ids)}
        return [spectrogram_id for spectrogram_id in dict.fromkeys(ids) if spectrogram_id not in known]

    def ids(self, where: Mapping[str, str] | None = None) -> Iterator[str]:
        """Stream all IDs, sorted, or only those whose labels equal `where`, such as {"pitch": "69"}.

        Raises UsageError at once if no spectrogram has a label with one of these names.
        """
        wanted = dict(where or {})
        if unknown := sorted(set(wanted) - set(self.manifest.labels)):
            known = ", ".join(self.manifest.labels) or "none"
            raise UsageError(f"{self.path} has no label {', '.join(unknown)}; its labels: {known}")
        return self._stream_ids(wanted)

    def random_ids(self, n: int, seed: int) -> list[str]:
        """Draw `n` different IDs, the same for one seed and dataset. UsageError if there are fewer."""
        count = self.count
        if not 0 <= n <= count:
            raise UsageError(f"{n} random spectrograms were asked for; {self.path} holds {count}")
        draw_order = {position: k for k, position in enumerate(random.Random(seed).sample(range(count), n))}
        drawn = [""] * n
        for position, spectrogram_id in enumerate(self._stream_ids({})):
            if position in draw_order:
                drawn[draw_order[position]] = spectrogram_id
        if not all(drawn):
            raise self._damaged(f"it counts {count} spectrograms but lists fewer")
        return drawn

    def close(self) -> None:
        """Close the index; closing twice does no harm."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream_ids(self, where: Mapping[str, str]) -> Iterator[str]:
        # With json_each, a label's name needs no quoting, as it would in a JSON path.
        has_label = f" AND EXISTS (SELECT 1 FROM json_each({READABLE_LABELS}) WHERE key = ? AND value IN (?, ?))"  # noqa: S608 constant
        statement = (
            f"SELECT id FROM spectrograms WHERE id > CAST(? AS TEXT) AND typeof(id) = 'text'{has_label * len(where)} "  # noqa: S608 constant
            "ORDER BY id LIMIT ?"
        )
        wanted = [part for name, text in where.items() for part in (name, text, number_in(text))]
        after = b""  # sorts before every ID
        while page := self._reader.query(statement, [after, *wanted, _PAGE_SIZE]):
            yield from (_readable_text(row[0]) for row in page)
            last = page[-1][0].encode(errors="surrogateescape")
            if last <= after:
                raise self._damaged("its IDs are not in order")
            after = last

    def _lookup(self, columns: str, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return the rows of those IDs, in no particular order."""
        possible = [spectrogram_id for spectrogram_id in ids if _is_possible(spectrogram_id)]
        rows = []
        for start in range(0, len(possible), _LOOKUP_SIZE):
            batch = possible[start : start + _LOOKUP_SIZE]
            marks = ",".join("?" * len(batch))
            rows += self._reader.query(f"SELECT {columns} FROM spectrograms WHERE id IN ({marks})", batch)  # noqa: S608 constant
        return rows

    def _readable(self, ids: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return those IDs' readable rows of a damaged index; raise if there is none."""
        rows, problem = [], None
        for spectrogram_id in ids:
            try:
                rows += self._lookup(self._reader.entry_columns, [spectrogram_id])
            except DatasetError as exc:
                problem = exc
        if problem and not rows:
            raise problem
        return rows

    def _damaged(self, problem: str) -> DatasetError:
        return DatasetError(f"{self.path / INDEX_NAME} is damaged: {problem}; build the dataset again")


def _is_possible(spectrogram_id: str) -> bool:
    # SQLite cannot bind a lone surrogate. No ID holds one, and none is longer than MAX_ID_BYTES.
    return len(spectrogram_id) <= MAX_ID_BYTES and (spectrogram_id.isascii() or is_text(spectrogram_id))


def _readable_text(spectrogram_id: str) -> str:
    """Return an ID with a replacement character for each byte that is not UTF-8."""
    if spectrogram_id.isascii() or is_text(spectrogram_id):
        return spectrogram_id
    return spectrogram_id.encode(errors="surrogateescape").decode(errors="replace")

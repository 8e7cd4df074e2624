"""Read a dataset's index: which spectrograms there are, their labels and ranges. Standard library only."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from wavemill.dataset.files import DatasetFiles
from wavemill.dataset.manifest import INDEX_NAME, Manifest, read_manifest
from wavemill.errors import DatasetError, UnknownSpectrogramError, UsageError
from wavemill.presets import Features

_LOOKUP_SIZE = 5_000  # IDs in one IN (...); SQLite takes 32,766
_PAGE_SIZE = 10_000  # IDs fetched at a time when all are streamed
_ENTRY_COLUMNS = "id, file, labels, min_db, max_db, duration_s, sha256"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One spectrogram, as the index knows it."""

    spectrogram_id: str
    file: str  # relative to the dataset's folder; in a packed one with "#" and the number in the pack
    labels: Mapping[str, str]
    min_db: float
    max_db: float
    duration_s: float  # of the sound in it, without the padding
    sha256: str  # of the file; of the one that it would be, in a pack

    @property
    def scale(self) -> tuple[float, float, float]:
        """What is not in the file and decides the sound all the same: lowest and highest level in dB, and length."""
        return self.min_db, self.max_db, self.duration_s


class Dataset:
    """A complete dataset folder, opened for reading; may be used from several threads at once.

    Use `Dataset.open`, and close it, or use it in a `with` statement.
    """

    def __init__(self, path: Path, manifest: Manifest, connection: sqlite3.Connection) -> None:
        self.path = path
        self.manifest = manifest
        self.files = DatasetFiles(path)
        self._connection = connection
        self._lock = threading.Lock()  # one connection serves all threads, one short query at a time

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open the dataset in folder `path`; DatasetError if it is missing, no dataset, or not built to the end."""
        folder = Path(path)
        manifest = read_manifest(folder)
        if not manifest.complete:
            raise DatasetError(
                f"{folder} was not built to the end; run its `wavemill dataset {manifest.origin}` command again: "
                "what is done is kept"
            )
        uri = f"{(folder / INDEX_NAME).absolute().as_uri()}?mode=ro"
        try:
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=30.0)
            connection.execute(f"SELECT {_ENTRY_COLUMNS} FROM spectrograms LIMIT 1").fetchall()  # noqa: S608 constant
        except sqlite3.Error as exc:
            raise _unreadable(folder, exc) from exc
        return cls(folder, manifest, connection)

    @property
    def features(self) -> Features:
        """How every spectrogram of this dataset was made."""
        return self.manifest.features

    @property
    def count(self) -> int:
        """Number of spectrograms."""
        return int(self._query("SELECT count(*) FROM spectrograms")[0][0])

    def get(self, spectrogram_id: str) -> Entry:
        """Return the entry of that ID, or raise UnknownSpectrogramError."""
        found = self.get_many([spectrogram_id])
        if spectrogram_id not in found:
            raise UnknownSpectrogramError(
                f"{self.path} holds no spectrogram {spectrogram_id[:80]!r}; list its IDs with: "
                "wavemill dataset ids DATASET"
            )
        return found[spectrogram_id]

    def get_many(self, ids: Sequence[str]) -> dict[str, Entry]:
        """Return the entries of those IDs that are in the index, by ID; the others are left out."""
        rows = self._lookup(_ENTRY_COLUMNS, ids)
        return {row[0]: _entry(row) for row in rows}

    def unknown(self, ids: Sequence[str]) -> list[str]:
        """Return the IDs that are not in the index, each once, in the order given."""
        known = {row[0] for row in self._lookup("id", ids)}
        return [spectrogram_id for spectrogram_id in dict.fromkeys(ids) if spectrogram_id not in known]

    def ids(self, where: Mapping[str, str] | None = None) -> Iterator[str]:
        """Stream the IDs in index order (sorted), all or those whose labels equal `where`.

        Raises UsageError at once if no spectrogram has a label of such a name.
        """
        wanted = dict(where or {})
        if unknown := sorted(set(wanted) - set(self.manifest.labels)):
            known = ", ".join(self.manifest.labels) or "none"
            raise UsageError(f"{self.path} has no label {', '.join(unknown)}; its labels: {known}")
        return self._stream_ids(wanted)

    def random_ids(self, n: int, seed: int) -> list[str]:
        """Draw `n` different IDs; the same ones for the same seed and dataset. UsageError if there are fewer."""
        count = self.count
        if not 0 <= n <= count:
            raise UsageError(f"{n} random spectrograms were asked for; {self.path} holds {count}")
        draw_order = {position: k for k, position in enumerate(random.Random(seed).sample(range(count), n))}
        drawn = [""] * n
        for position, spectrogram_id in enumerate(self._stream_ids({})):
            if position in draw_order:
                drawn[draw_order[position]] = spectrogram_id
        return drawn

    def close(self) -> None:
        """Close the index; closing twice does no harm."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _stream_ids(self, where: Mapping[str, str]) -> Iterator[str]:
        # Through json_each, so that a label's name needs no quoting inside a JSON path.
        has_label = " AND EXISTS (SELECT 1 FROM json_each(labels) WHERE key = ? AND value = ?)"
        statement = f"SELECT id FROM spectrograms WHERE id > ?{has_label * len(where)} ORDER BY id LIMIT ?"  # noqa: S608 constant
        wanted = [text for label in where.items() for text in label]
        after = ""  # sorts before every ID
        while page := self._query(statement, [after, *wanted, _PAGE_SIZE]):
            yield from (row[0] for row in page)
            after = page[-1][0]

    def _lookup(self, columns: str, ids: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of those IDs, in no particular order."""
        # A lone surrogate cannot be bound to a statement; no ID holds one.
        possible = iter(
            [spectrogram_id for spectrogram_id in ids if spectrogram_id.isascii() or _is_text(spectrogram_id)]
        )
        while batch := list(islice(possible, _LOOKUP_SIZE)):
            marks = ",".join("?" * len(batch))
            yield from self._query(f"SELECT {columns} FROM spectrograms WHERE id IN ({marks})", batch)  # noqa: S608 constant

    def _query(self, statement: str, values: Sequence[str | int] = ()) -> list[tuple[Any, ...]]:
        try:
            with self._lock:
                return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as exc:
            raise _unreadable(self.path, exc) from exc


def _entry(row: tuple[Any, ...]) -> Entry:
    spectrogram_id, file, labels, min_db, max_db, duration_s, sha256 = row
    return Entry(
        spectrogram_id=spectrogram_id,
        file=file,
        labels=json.loads(labels),
        min_db=min_db,
        max_db=max_db,
        duration_s=duration_s,
        sha256=sha256,
    )


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable(folder: Path, exc: sqlite3.Error) -> DatasetError:
    return DatasetError(f"{folder / INDEX_NAME} cannot be read: {exc}; build the dataset again")

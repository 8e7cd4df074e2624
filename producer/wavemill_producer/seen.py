"""Finds duplicate IDs and pairs, and IDs that a dataset lacks.

A private SQLite database holds them: in memory up to 48 MB, beyond that in a temporary file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from wavemill.dataset.index import Dataset
from wavemill.dataset.index_reader import INDEX_ERRORS, index_error
from wavemill.dataset.manifest import INDEX_NAME
from wavemill.errors import UsageError
from wavemill.operations.named_ids import NamedId, NamedPair

_CACHE_KB = 48_000  # a million IDs of 30 characters; more go to a temporary file
_UNKNOWN = "SELECT id FROM seen WHERE NOT EXISTS (SELECT 1 FROM dataset.spectrograms AS known WHERE known.id = seen.id)"


class SeenIds:
    """A set of IDs. The caller closes it; it leaves no file behind."""

    def __init__(self, dataset: Dataset | None) -> None:
        self._connection = _private_database()
        self._dataset = dataset
        self._pages = 0
        self.count = 0
        if dataset is not None:
            index = (dataset.path / INDEX_NAME).absolute().as_uri()
            with self._readable_index():
                self._connection.execute("ATTACH ? AS dataset", [f"{index}?mode=ro"])
        self._connection.execute("CREATE TABLE seen (id TEXT PRIMARY KEY, page INTEGER, about TEXT) WITHOUT ROWID")
        self._connection.execute("BEGIN")

    def add(self, ids: Sequence[str]) -> Sequence[str]:
        """Add a page of IDs; return those that are new, in order, each once."""
        self._pages += 1
        before = self._connection.total_changes
        # Sorted, so that neighbouring rows of the B-tree are inserted together: less than half the
        # time for IDs that come in no order.
        rows = ((ID,) for ID in sorted(ids))
        self._connection.executemany(f"INSERT OR IGNORE INTO seen VALUES (?, {self._pages}, NULL)", rows)  # noqa: S608 a number
        added = self._connection.total_changes - before
        self.count += added
        return ids if added == len(ids) else self._added(ids)

    def _added(self, ids: Sequence[str]) -> Sequence[str]:
        marks = ",".join("?" * len(ids))
        new = self._connection.execute(f"SELECT id FROM seen WHERE id IN ({marks}) AND page = {self._pages}", ids)  # noqa: S608 a number
        added = {row[0] for row in new}
        return [ID for ID in dict.fromkeys(ids) if ID in added]

    def add_named(self, ids: Sequence[NamedId]) -> Sequence[NamedId]:
        """Add a page of IDs with what a caller says about them; return those that are new, in order, each once.

        Raises UsageError if different things are said about one ID.
        """
        self._pages += 1
        before = self._connection.total_changes
        rows = ((one.id, one.about.text) for one in ids)
        self._connection.executemany(f"INSERT OR IGNORE INTO seen VALUES (?, {self._pages}, ?)", rows)  # noqa: S608 a number
        self.count += (added := self._connection.total_changes - before)
        if added == len(ids):
            return ids
        marks = ",".join("?" * len(ids))
        found = self._connection.execute(f"SELECT * FROM seen WHERE id IN ({marks})", [one.id for one in ids])  # noqa: S608 marks
        first = {ID: (page, about) for ID, page, about in found}
        for one in ids:
            if one.about.text is not None and one.about.text != first[one.id][1]:
                raise UsageError(
                    f"{one.id} comes twice, with another custom_id or metadata; each ID is one job of a batch: queue "
                    "the second one as a batch of its own"
                )
        unique = {one.id: one for one in reversed(ids)}
        return [unique[ID] for ID in dict.fromkeys(one.id for one in ids) if first[ID][0] == self._pages]

    def unknown(self, n_examples: int) -> tuple[int, list[str]]:
        """Return how many of the IDs the dataset lacks, and a few of these."""
        count, examples = 0, []
        with self._readable_index():
            for (ID,) in self._connection.execute(_UNKNOWN):
                if count < n_examples:
                    examples.append(ID)
                count += 1
        return count, examples

    @contextmanager
    def _readable_index(self) -> Iterator[None]:
        try:
            yield
        except INDEX_ERRORS as exc:
            if self._dataset is None:
                raise
            raise index_error(self._dataset.path, exc) from exc

    def close(self) -> None:
        """Discard the set."""
        self._connection.close()


class SeenPairs:
    """A set of named pairs of IDs. The caller closes it; it leaves no file behind."""

    def __init__(self) -> None:
        self._connection = _private_database()
        self._connection.execute(
            "CREATE TABLE seen (name TEXT PRIMARY KEY, start TEXT, end TEXT, about TEXT, page INTEGER) WITHOUT ROWID"
        )
        self._connection.execute("BEGIN")
        self._pages = 0

    def add(self, pairs: Sequence[NamedPair], names: Sequence[str]) -> dict[str, NamedPair]:
        """Add a page of pairs; return the new ones by name, in order.

        Raises UsageError if two different pairs have the same name, or different things are said about one pair.
        """
        self._pages += 1
        rows = ((name, one.start, one.end, one.about.text) for name, one in zip(names, pairs, strict=True))
        self._connection.executemany(f"INSERT OR IGNORE INTO seen VALUES (?, ?, ?, ?, {self._pages})", rows)  # noqa: S608 a number
        marks = ",".join("?" * len(names))
        found = self._connection.execute(f"SELECT * FROM seen WHERE name IN ({marks})", names)  # noqa: S608 marks
        first = {name: ((start, end), about, page) for name, start, end, about, page in found}
        for name, pair in zip(names, pairs, strict=True):
            ends, about, _ = first[name]
            if ends != (pair.start, pair.end):
                raise UsageError(f"the pairs {ends} and {(pair.start, pair.end)} would both be named {name!r}")
            if pair.about.text is not None and pair.about.text != about:
                raise UsageError(
                    f"the pair {ends} comes twice, with another custom_id or metadata; queue it as a batch of its own"
                )
        unique = dict(zip(reversed(names), reversed(pairs), strict=True))
        return {name: unique[name] for name in dict.fromkeys(names) if first[name][2] == self._pages}

    def close(self) -> None:
        """Discard the set."""
        self._connection.close()


def _private_database() -> sqlite3.Connection:
    # With an empty name, SQLite makes a temporary database and removes it by itself.
    connection = sqlite3.connect("", uri=True, isolation_level=None, check_same_thread=False)
    for statement in (f"PRAGMA cache_size = -{_CACHE_KB}", "PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF"):
        connection.execute(statement)
    return connection

"""Reads the index's SQLite file, which may be damaged, missing, or on an unreliable disk.

Imports only the standard library.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavemill.dataset.entries import ENTRY_COLUMNS, OLD_ENTRY_COLUMNS
from wavemill.dataset.files import require_dataset_there
from wavemill.dataset.manifest import INDEX_NAME
from wavemill.errors import DatasetError, StorageUnavailableError
from wavemill.files.bounded import FLAGS
from wavemill.storage.errors import Verdict, is_missing, reason, verdict

_MOST_BYTES = 2**20  # size of a row; a valid one has a few hundred bytes
_BUSY_S = 30.0
_SHOWN = 200  # characters of SQLite's message, which may quote the file
INDEX_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter if the message quotes bytes that are not UTF-8
# Primary result codes of SQLite that do not depend on the content of the file.
_OUTAGES = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_PROTOCOL,
    }
)


class IndexReader:
    """The index of the dataset in `folder`. Several threads may use it at once.

    Raises
    ------
    DatasetError
        It is missing or damaged.
    StorageUnavailableError
        Its disk does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._has_peaks = False
        self._lock = threading.Lock()  # one connection serves all threads, one short query at a time
        try:
            self._connection = self._connect()
        except INDEX_ERRORS as exc:
            raise index_error(folder, exc) from exc

    @property
    def entry_columns(self) -> str:
        """The columns that an entry is read from. A build may add the peaks while an older index is open."""
        self._has_peaks = self._has_peaks or bool(self.query("SELECT 1 FROM sqlite_master WHERE name = 'peaks'"))
        return ENTRY_COLUMNS if self._has_peaks else OLD_ENTRY_COLUMNS

    def query(self, statement: str, values: Sequence[str | float | bytes | None] = ()) -> list[tuple[Any, ...]]:
        """Run a SELECT. Bytes of text that are not UTF-8 are returned as lone surrogates."""
        try:
            with self._lock:
                return self._patiently(statement, values)
        except INDEX_ERRORS as exc:
            problem = index_error(self._folder, exc)
            if isinstance(problem, DatasetError):
                require_dataset_there(self._folder)
            raise problem from exc

    def close(self) -> None:
        """Close the index; closing twice does no harm."""
        with self._lock:
            self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{(self._folder / INDEX_NAME).absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=_BUSY_S)
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            connection.execute(f"SELECT {OLD_ENTRY_COLUMNS} FROM spectrograms LIMIT 0")  # noqa: S608 constant
        except BaseException:
            connection.close()
            raise
        return connection

    def _patiently(self, statement: str, values: Sequence[str | float | bytes | None]) -> list[tuple[Any, ...]]:
        """Run a SELECT; after an outage, run it again on a new connection.

        The old connection's file handle may never work again.
        """
        try:
            return self._run(statement, values)
        except INDEX_ERRORS as exc:
            if not isinstance(index_error(self._folder, exc), StorageUnavailableError):
                raise
        fresh = self._connect()
        self._connection.close()
        self._connection = fresh
        return self._run(statement, values)

    def _run(self, statement: str, values: Sequence[str | float | bytes | None]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as exc:
            if _code(exc) is not None or self._connection.text_factory is not str:
                raise
        # An error without a code comes from Python: a row holds text that is not UTF-8.
        self._connection.text_factory = _escaped
        return self._connection.execute(statement, values).fetchall()


def index_error(folder: Path, exc: Exception) -> DatasetError | StorageUnavailableError:
    """Turn SQLite's error about the index in `folder` into one of wavemill's errors."""
    path, code, said = folder / INDEX_NAME, _code(exc), reason(exc)[:_SHOWN]
    if code is not None and code & 0xFF in _OUTAGES and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return StorageUnavailableError(f"{path} cannot be read now: {said}")
    if code is not None and code & 0xFF == sqlite3.SQLITE_CANTOPEN and (why := _unopened(path)):
        return StorageUnavailableError(f"{path} cannot be read now: {why}")
    return DatasetError(f"{path} cannot be read: {said}; build the dataset again")


def _unopened(path: Path) -> str | None:
    """Return why a file cannot be opened for now, which SQLite does not report.

    None if it can be opened, or if trying again does not help.
    """
    try:
        os.close(os.open(path, FLAGS))
    except OSError as exc:
        return None if is_missing(exc) or verdict(exc) is not Verdict.OUTAGE else reason(exc)
    return None


def _code(exc: Exception) -> int | None:
    code: int | None = getattr(exc, "sqlite_errorcode", None)
    return code


def _escaped(data: bytes) -> str:
    return data.decode(errors="surrogateescape")

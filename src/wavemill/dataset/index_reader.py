"""The index as an SQLite file that may be damaged, gone, or on a disk that comes and goes. Standard library only."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wavemill.dataset.bounded import FLAGS
from wavemill.dataset.entries import ENTRY_COLUMNS
from wavemill.dataset.files import require_dataset_there
from wavemill.dataset.manifest import INDEX_NAME
from wavemill.errors import DatasetError, StorageUnavailableError
from wavemill.storage.errors import Verdict, is_missing, reason, verdict

_MOST_BYTES = 2**20  # of a row; an honest one has a few hundred
_BUSY_S = 30.0
_SHOWN = 200  # characters of what SQLite says, which may quote the file
INDEX_ERRORS = (sqlite3.Error, UnicodeDecodeError)  # the latter when it quotes what is no UTF-8
# Primary codes that have nothing to do with what the file holds.
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
    """The index of the dataset in `folder`; may be used from several threads at once.

    Raises
    ------
    DatasetError
        It is missing or damaged.
    StorageUnavailableError
        Its disk does not answer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()  # one connection serves all threads, one short query at a time
        try:
            self._connection = self._connect()
        except INDEX_ERRORS as exc:
            raise index_error(folder, exc) from exc

    def query(self, statement: str, values: Sequence[str | int | bytes] = ()) -> list[tuple[Any, ...]]:
        """Run a SELECT; text that is no UTF-8 comes with its odd bytes escaped as lone surrogates."""
        try:
            with self._lock:
                return self._patiently(statement, values)
        except INDEX_ERRORS as exc:
            problem = index_error(self._folder, exc)
            if isinstance(problem, DatasetError):
                require_dataset_there(self._folder)
            raise problem from exc

    def close(self) -> None:
        """Close it; closing twice does no harm."""
        with self._lock:
            self._connection.close()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{(self._folder / INDEX_NAME).absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=_BUSY_S)
        try:
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
            connection.execute(f"SELECT {ENTRY_COLUMNS} FROM spectrograms LIMIT 0")  # noqa: S608 constant
        except BaseException:
            connection.close()
            raise
        return connection

    def _patiently(self, statement: str, values: Sequence[str | int | bytes]) -> list[tuple[Any, ...]]:
        """Run a SELECT, if need be on a new connection: after an outage, the old one's file may be stale for ever."""
        try:
            return self._run(statement, values)
        except INDEX_ERRORS as exc:
            if not isinstance(index_error(self._folder, exc), StorageUnavailableError):
                raise
        fresh = self._connect()
        self._connection.close()
        self._connection = fresh
        return self._run(statement, values)

    def _run(self, statement: str, values: Sequence[str | int | bytes]) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as exc:
            if _code(exc) is not None or self._connection.text_factory is not str:
                raise
        # Not SQLite's error: Python's, about text in one row that is no UTF-8.
        self._connection.text_factory = _escaped
        return self._connection.execute(statement, values).fetchall()


def index_error(folder: Path, exc: Exception) -> DatasetError | StorageUnavailableError:
    """Return the error for what SQLite says about the index of the dataset in `folder`."""
    path, code, said = folder / INDEX_NAME, _code(exc), reason(exc)[:_SHOWN]
    if code is not None and code & 0xFF in _OUTAGES and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return StorageUnavailableError(f"{path} cannot be read now: {said}")
    if code is not None and code & 0xFF == sqlite3.SQLITE_CANTOPEN and (why := _unopened(path)):
        return StorageUnavailableError(f"{path} cannot be read now: {why}")
    return DatasetError(f"{path} cannot be read: {said}; build the dataset again")


def _unopened(path: Path) -> str | None:
    """Say why a file cannot be opened just now; None if it can, or never will. SQLite does not tell."""
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

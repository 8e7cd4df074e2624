"""A dataset on a disk that comes and goes is waited for; a file that is missing on a disk that is there is not."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.dataset.index_reader import index_error
from wavemill.errors import (
    DatasetError,
    SpectrogramError,
    StorageError,
    StorageUnavailableError,
    UnknownSpectrogramError,
    WavemillError,
)
from wavemill.presets import preset

ID = "7_ann_1"


@pytest.fixture(params=["a file each", "packed"])
def opened(request: pytest.FixtureRequest, recordings: Path, tmp_path: Path) -> Iterator[Dataset]:
    """A dataset of either kind, in use."""
    build(recordings, tmp_path / "data", preset("digits"), packed=request.param == "packed")
    with Dataset.open(tmp_path / "data") as dataset:
        read(dataset)
        yield dataset


def read(dataset: Dataset) -> np.ndarray:
    return read_spectrogram(dataset, dataset.get(ID))


@pytest.mark.parametrize("part", ["", "spectrograms"])
@pytest.mark.parametrize("leaves", ["nothing", "an empty folder"])
def test_a_folder_that_is_away_is_an_outage_and_over_when_it_is_back(opened: Dataset, part: str, leaves: str) -> None:
    expected, entry = read(opened), opened.get(ID)
    folder = opened.path / part
    elsewhere = opened.path.parent / "elsewhere"
    folder.rename(elsewhere)
    if leaves == "an empty folder":
        folder.mkdir()
    said = rf"{folder} is (not there|empty)[^;]*; jobs wait for it, `wavemill cancel` ends the wait"
    with pytest.raises(StorageUnavailableError, match=said):
        read_spectrogram(opened, entry)
    shutil.rmtree(folder, ignore_errors=True)
    elsewhere.rename(folder)
    np.testing.assert_array_equal(read(opened), expected)


def test_a_disk_that_is_unmounted_under_a_dataset_in_use_is_an_outage(recordings: Path, tmp_path: Path) -> None:
    build(recordings, tmp_path / "store/data", preset("digits"))
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, unmount = ["mount", "--bind", str(tmp_path / "store"), str(disk)], ["umount", "-l", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount")
    try:
        with Dataset.open(disk / "data") as dataset:
            entry, expected = dataset.get(ID), read(dataset)
            subprocess.run(unmount, check=True)
            with pytest.raises(StorageUnavailableError, match="is not there"):
                read_spectrogram(dataset, entry)
            subprocess.run(mount, check=True)
            np.testing.assert_array_equal(read(dataset), expected)
    finally:
        subprocess.run(unmount, check=True)


def test_a_dataset_behind_a_link_is_followed_to_another_disk(opened: Dataset, tmp_path: Path) -> None:
    expected, first, second, link = read(opened), opened.path, tmp_path / "second", tmp_path / "link"
    link.symlink_to(first)
    with Dataset.open(link) as dataset:
        np.testing.assert_array_equal(read(dataset), expected)
        first.rename(second)  # the same inodes: nothing but the path tells that it moved
        with pytest.raises(StorageUnavailableError, match="link is not there"):
            read(dataset)
        link.unlink()
        link.symlink_to(second)
        np.testing.assert_array_equal(read(dataset), expected)


def test_a_folder_that_came_back_as_a_link_to_the_outside_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    entry = dataset.get(ID)
    (dataset.path / "spectrograms").rename(tmp_path / "outside")
    with pytest.raises(StorageUnavailableError):
        read_spectrogram(dataset, entry)
    (dataset.path / "spectrograms").symlink_to(tmp_path / "outside")
    with pytest.raises(SpectrogramError, match="lies outside the dataset"):
        read_spectrogram(dataset, entry)


def test_one_file_that_is_gone_is_permanent(dataset: Dataset) -> None:
    (dataset.path / dataset.get(ID).file).unlink()
    with pytest.raises(UnknownSpectrogramError, match=f"{ID}.npy is gone"):
        read(dataset)
    read_spectrogram(dataset, dataset.get("7_ann_2"))


ERRNOS: dict[str, type[WavemillError]] = {
    **dict.fromkeys(("ESTALE", "EIO", "ENOTCONN", "ENODEV", "ETIMEDOUT", "EMFILE", "EAGAIN"), StorageUnavailableError),
    **dict.fromkeys(("EACCES", "EPERM", "ENAMETOOLONG"), SpectrogramError),
    "EBADF": StorageError,
}


@pytest.mark.parametrize("name", ERRNOS)
def test_what_the_system_says_decides_whether_to_wait(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    entry, opens = dataset.get(ID), os.open

    def fail(path: str, *arguments: int, **keywords: int) -> int:
        if str(path).endswith(".npy"):
            raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)), path)
        return opens(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ERRNOS[name], match=f"^{ID}: its file cannot be read"):
        read_spectrogram(dataset, entry)


@pytest.fixture
def no_descriptors() -> Iterator[Callable[[], None]]:
    """Let this process open no file more, from when it is called."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_process_without_descriptors_waits(dataset: Dataset, no_descriptors: Callable[[], None]) -> None:
    no_descriptors()
    with pytest.raises(StorageUnavailableError, match=r"dataset\.json cannot be read now: Too many open files"):
        Dataset.open(dataset.path)
    with pytest.raises(StorageUnavailableError, match=r"index\.sqlite cannot be read now: Too many open files"):
        raise index_error(dataset.path, _cannot_open(dataset.path))


def _cannot_open(folder: Path) -> sqlite3.Error:
    try:
        sqlite3.connect(folder / "index.sqlite").execute("SELECT 1 FROM spectrograms")
    except sqlite3.Error as exc:
        return exc
    raise AssertionError("SQLite opened it")


def test_an_index_that_is_locked_is_waited_for_and_read_on_a_new_connection(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavemill.dataset.index_reader._BUSY_S", 0.05)
    with Dataset.open(dataset.path) as opened:
        with closing(sqlite3.connect(dataset.path / "index.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StorageUnavailableError, match="cannot be read now: database is locked"):
                opened.get(ID)
        assert opened.get(ID) == dataset.get(ID)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_IOERR_READ, StorageUnavailableError),
        (sqlite3.SQLITE_IOERR_FSTAT, StorageUnavailableError),
        (sqlite3.SQLITE_BUSY, StorageUnavailableError),
        (sqlite3.SQLITE_IOERR_SHORT_READ, DatasetError),
        (sqlite3.SQLITE_CANTOPEN, DatasetError),  # and yet it opens
        (sqlite3.SQLITE_CORRUPT, DatasetError),
        (sqlite3.SQLITE_NOTADB, DatasetError),
        (sqlite3.SQLITE_ERROR, DatasetError),
    ],
)
def test_what_sqlite_says_is_an_outage_or_damage(dataset: Dataset, code: int, kind: type[WavemillError]) -> None:
    exc = sqlite3.OperationalError("as SQLite says")
    exc.sqlite_errorcode = code
    assert type(index_error(dataset.path, exc)) is kind

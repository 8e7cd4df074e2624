"""Files of absurd size are refused before they are read."""

from __future__ import annotations

import os
import pickle
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.course import import_course
from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError, SpectrogramError
from wavemill.presets import preset

VAST = 20 * 2**30


@contextmanager
def memory_of(most_mib: int) -> Iterator[None]:
    """Fail when more memory than this is asked for inside."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most_mib * 2**20
    finally:
        tracemalloc.stop()


def stretch(path: Path) -> None:
    """Make a file of 20 GiB of it, which takes no room on the disk."""
    os.truncate(path, VAST)


def test_a_vast_array_is_refused_before_it_is_read(dataset: Dataset) -> None:
    stretch(dataset.path / "spectrograms/7_ann_1.npy")
    with memory_of(20), pytest.raises(SpectrogramError, match=rf"^7_ann_1: .* received {VAST}"):
        read_spectrogram(dataset, dataset.get("7_ann_1"))


def test_of_a_vast_pack_only_the_item_is_read(recordings: Path, tmp_path: Path) -> None:
    build(recordings, tmp_path / "packed", preset("digits"), packed=True)
    (path,) = (tmp_path / "packed/spectrograms").iterdir()
    stretch(path)
    with memory_of(20), Dataset.open(tmp_path / "packed") as dataset:
        assert read_spectrogram(dataset, dataset.get("7_ann_1")).shape == (128, 128)


@pytest.mark.parametrize("count", ["9" * 18, "9" * 60])
def test_a_pack_that_promises_more_than_a_file_can_hold_is_refused(
    recordings: Path, tmp_path: Path, count: str
) -> None:
    build(recordings, tmp_path / "packed", preset("digits"), packed=True)
    (path,) = (tmp_path / "packed/spectrograms").iterdir()
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, 128, 128), }}".ljust(117) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with memory_of(20), Dataset.open(tmp_path / "packed") as dataset:
        entry = dataset.get("7_ann_1")
        for number in ("0", "5", "8" * 17, "8" * 59):
            item = replace(entry, file=f"{entry.file.partition('#')[0]}#{number}")
            with pytest.raises(SpectrogramError, match=r"^7_ann_1: expected"):
                read_spectrogram(dataset, item)


@pytest.mark.parametrize("header", [b"-" * 9_000 + b"1", b"(" * 9_000, b"{[]: 1}"])
def test_a_header_that_cannot_be_parsed_is_no_array(dataset: Dataset, header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    (dataset.path / "spectrograms/7_ann_1.npy").write_bytes(data)
    with pytest.raises(SpectrogramError, match=r"^7_ann_1: expected .* received no \.npy file"):
        read_spectrogram(dataset, dataset.get("7_ann_1"))


def test_a_vast_manifest_is_refused_before_it_is_read(dataset: Dataset) -> None:
    stretch(dataset.path / "dataset.json")
    with memory_of(5), pytest.raises(DatasetError, match=rf"dataset\.json cannot be read: .* received {VAST}"):
        Dataset.open(dataset.path)


def test_a_manifest_that_is_a_pipe_is_not_waited_for(dataset: Dataset) -> None:
    (dataset.path / "dataset.json").unlink()
    os.mkfifo(dataset.path / "dataset.json")
    with pytest.raises(DatasetError, match=r"dataset\.json is not a file"):
        Dataset.open(dataset.path)


def test_vast_arrays_and_pipes_of_the_course_are_reported_and_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "spectrograms"
    folder.mkdir()
    names = ["0_good_0.wav.npy", "1_vast_0.wav.npy", "2_pipe_0.wav.npy"]
    for name in names[:2]:
        np.save(folder / name, np.linspace(0, 1, 256 * 64, dtype=np.float32).reshape(256, 64))
    stretch(folder / names[1])
    os.mkfifo(folder / names[2])
    (tmp_path / "ranges.pkl").write_bytes(pickle.dumps({name: {"min": -80.0, "max": 0.0} for name in names}))
    with memory_of(20):
        report = import_course(folder, tmp_path / "ranges.pkl", tmp_path / "dataset")
    assert report.imported == 1
    assert [name for name, _ in report.unreadable] == names[1:]
    assert f"received {VAST}" in report.unreadable[0][1]

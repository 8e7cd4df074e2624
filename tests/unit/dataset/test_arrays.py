from __future__ import annotations

import hashlib
import io
import os
import pickle
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.audio.features import extract, normalise, pad_or_cut
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset
from wavemill.errors import SilentSpectrogramError, SpectrogramError, UnknownSpectrogramError

ID = "7_ann_1"
SHAPE = (128, 128)


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def ramp(**changes: float) -> np.ndarray:
    x = np.linspace(0, 1, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
    for value in changes.values():
        x[3, 4] = value
    return x


def replace_file(dataset: Dataset, data: bytes, *, honest: bool) -> None:
    """Overwrite the array; an honest change has its SHA-256 in the index too."""
    (dataset.path / dataset.get(ID).file).write_bytes(data)
    if honest:
        update(dataset, "sha256", hashlib.sha256(data).hexdigest())


def update(dataset: Dataset, column: str, value: str) -> None:
    connection = sqlite3.connect(dataset.path / "index.sqlite")
    with connection:
        connection.execute(f"UPDATE spectrograms SET {column} = ? WHERE id = ?", (value, ID))
    connection.close()


def read(dataset: Dataset) -> np.ndarray:
    return read_spectrogram(dataset, dataset.get(ID))


def test_what_was_built_is_what_is_read(dataset: Dataset, recordings: Path) -> None:
    signal, _ = soundfile.read(recordings / f"{ID}.wav", dtype="float32")
    features = dataset.features
    expected, min_db, max_db = normalise(extract(pad_or_cut(signal, features.n_samples), features))
    np.testing.assert_array_equal(read(dataset), expected)
    assert (dataset.get(ID).min_db, dataset.get(ID).max_db) == (min_db, max_db)


def test_a_column_major_array_is_read_the_right_way_round(dataset: Dataset) -> None:
    replace_file(dataset, npy(np.asfortranarray(ramp())), honest=True)
    np.testing.assert_array_equal(read(dataset), ramp())


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "received an empty file"),
    "text": (lambda: b"hello, world", r"received no \.npy file"),
    "only the magic": (lambda: b"\x93NUMPY\x01\x00", r"received no \.npy file"),
    "unknown version": (lambda: b"\x93NUMPY\x09\x00" + npy(ramp())[8:], r"received no \.npy file"),
    "a pickle": (lambda: pickle.dumps(ramp()), r"received no \.npy file"),
    "a pickled array": (lambda: npy(np.array([{}], dtype=object), pickled=True), "a pickled array, which is never"),
    "an archive": (lambda: (np.savez(file := io.BytesIO(), x=ramp()), file.getvalue())[1], r"no \.npy file"),
    "truncated": (lambda: npy(ramp())[:-100], "65536 bytes of numbers, received 65436"),
    "too long": (lambda: npy(ramp()) + b"x", "received 65537"),
    "a forged shape": (lambda: npy(ramp()).replace(b"(128, 128)", b"(1, 1<<60)"), r"received no \.npy file"),
    "a vast shape": (lambda: npy(ramp()).replace(b"(128, 128), ", b"(10**9,9**9)"), r"received no \.npy file"),
    "a long shape": (lambda: npy(ramp()).replace(b"(128, 128), ", b"(9999999999)"), r"received"),
    "wrong shape": (lambda: npy(ramp()[:, :64]), r"shape \(128, 128\), received float32 of shape \(128, 64\)"),
    "one axis more": (lambda: npy(ramp()[..., None]), r"received float32 of shape \(128, 128, 1\)"),
    "float64": (lambda: npy(ramp().astype(np.float64)), "float32, received float64"),
    "integers": (lambda: npy(ramp().astype(np.int32)), "received int32"),
    "complex": (lambda: npy(ramp().astype(np.complex64)), "received complex64"),
    "big-endian": (lambda: npy(ramp().astype(">f4")), "received >f4"),
    "NaN": (lambda: npy(ramp(bad=np.nan)), "received NaN or infinity"),
    "infinity": (lambda: npy(ramp(bad=np.inf)), "received NaN or infinity"),
    "minus infinity": (lambda: npy(ramp(bad=-np.inf)), "received NaN or infinity"),
    "above one": (lambda: npy(ramp(bad=1.5)), r"received 0 to 1\.5"),
    "below zero": (lambda: npy(ramp(bad=-0.25)), r"received -0.25 to 1"),
}


@pytest.mark.parametrize("honest", [True, False])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_what_was_expected_and_what_came(dataset: Dataset, name: str, honest: bool) -> None:
    make, message = BAD[name]
    replace_file(dataset, make(), honest=honest)
    with pytest.raises(SpectrogramError, match=rf"^{ID}: expected .*{message}.*wavemill dataset build") as caught:
        read(dataset)
    assert not isinstance(caught.value, SilentSpectrogramError)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_silence_has_its_own_error(dataset: Dataset, level: float) -> None:
    replace_file(dataset, npy(np.full(SHAPE, level, dtype=np.float32)), honest=True)
    with pytest.raises(SilentSpectrogramError, match="expected sound, received silence"):
        read(dataset)


def test_a_file_that_changed_but_is_well_formed_is_refused(dataset: Dataset) -> None:
    replace_file(dataset, npy(ramp()), honest=False)
    with pytest.raises(SpectrogramError, match="has changed since the dataset was built"):
        read(dataset)


def test_a_file_that_is_gone_is_an_unknown_spectrogram(dataset: Dataset) -> None:
    (dataset.path / dataset.get(ID).file).unlink()
    with pytest.raises(UnknownSpectrogramError, match=f"^{ID}: its file spectrograms/{ID}.npy is gone"):
        read(dataset)


def test_a_pickled_array_is_never_unpickled(dataset: Dataset, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    replace_file(dataset, npy(np.array([Bomb()], dtype=object), pickled=True), honest=True)
    with pytest.raises(SpectrogramError, match="pickled"):
        read(dataset)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("file", ["../outside.npy", "/etc/hostname", "spectrograms/../../outside.npy"])
def test_an_index_cannot_point_outside_the_dataset(dataset: Dataset, tmp_path: Path, file: str) -> None:
    (tmp_path / "outside.npy").write_bytes(npy(ramp()))
    update(dataset, "file", file)
    with pytest.raises(SpectrogramError, match="lies outside the dataset"):
        read(dataset)


def test_a_link_cannot_lead_outside_the_dataset(dataset: Dataset, tmp_path: Path) -> None:
    inside = dataset.path / dataset.get(ID).file
    inside.rename(tmp_path / "outside.npy")
    inside.symlink_to(tmp_path / "outside.npy")
    with pytest.raises(SpectrogramError, match="lies outside the dataset"):
        read(dataset)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused_without_waiting_for_it(dataset: Dataset, make: Callable[[Path], None]) -> None:
    path = dataset.path / dataset.get(ID).file
    path.unlink()
    make(path)
    with pytest.raises(SpectrogramError, match="expected a file, received a folder or device"):
        read(dataset)


def test_one_bad_file_leaves_the_others_readable(dataset: Dataset) -> None:
    replace_file(dataset, b"", honest=False)
    assert read_spectrogram(dataset, dataset.get("7_ann_2")).shape == SHAPE

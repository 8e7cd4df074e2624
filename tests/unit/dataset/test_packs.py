from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.dataset.packs import write_pack
from wavemill.errors import DatasetError, SilentSpectrogramError, SpectrogramError, UnknownSpectrogramError
from wavemill.presets import preset

from .conftest import write_noise

DIGITS = preset("digits")
ITEM_BYTES = 128 * 128 * 4


@pytest.fixture
def packed(recordings: Path, tmp_path: Path) -> Path:
    """A packed dataset of 12 recordings."""
    build(recordings, tmp_path / "packed", DIGITS, packed=True)
    return tmp_path / "packed"


def packs(folder: Path) -> set[str]:
    return {path.name for path in (folder / "spectrograms").iterdir()}


def pack_of(folder: Path) -> Path:
    (path,) = (folder / "spectrograms").iterdir()
    return path


def read_all(folder: Path) -> dict[str, np.ndarray | type[Exception]]:
    """Return what each ID gives: its numbers, or the kind of its error."""
    found: dict[str, np.ndarray | type[Exception]] = {}
    with Dataset.open(folder) as dataset:
        for name, entry in dataset.get_many(list(dataset.ids())).items():
            try:
                found[name] = read_spectrogram(dataset, entry)
            except SpectrogramError as exc:
                found[name] = type(exc)
    return found


def update(folder: Path, spectrogram_id: str, column: str, value: str) -> None:
    connection = sqlite3.connect(folder / "index.sqlite")
    with connection:
        connection.execute(f"UPDATE spectrograms SET {column} = ? WHERE id = ?", (value, spectrogram_id))
    connection.close()


def test_a_packed_dataset_holds_the_same_as_one_of_files(recordings: Path, packed: Path, tmp_path: Path) -> None:
    build(recordings, tmp_path / "files", DIGITS)
    with Dataset.open(packed) as one, Dataset.open(tmp_path / "files") as other:
        names = list(one.ids())
        assert names == list(other.ids())
        for name in names:
            np.testing.assert_array_equal(
                read_spectrogram(one, one.get(name)), read_spectrogram(other, other.get(name))
            )
            assert one.get(name).sha256 == other.get(name).sha256
    assert len(packs(packed)) == 1


def test_a_pack_holds_64_and_numpy_reads_it(tmp_path: Path) -> None:
    for k in range(70):
        write_noise(tmp_path / "audio" / f"{k:02}.wav", seed=k)
    build(tmp_path / "audio", tmp_path / "packed", DIGITS, packed=True)
    arrays = [np.load(path) for path in (tmp_path / "packed" / "spectrograms").iterdir()]
    assert sorted(len(array) for array in arrays) == [6, 64]
    with Dataset.open(tmp_path / "packed") as dataset:
        entry = dataset.get("03")
        pack, number = entry.file.split("#")
        np.testing.assert_array_equal(np.load(dataset.path / pack)[int(number)], read_spectrogram(dataset, entry))


def test_a_packed_dataset_can_be_moved(packed: Path, tmp_path: Path) -> None:
    before = read_all(packed)
    shutil.move(packed, tmp_path / "elsewhere")
    assert all((read_all(tmp_path / "elsewhere")[name] == x).all() for name, x in before.items())


def test_changed_added_and_vanished_recordings_are_followed(recordings: Path, packed: Path) -> None:
    before, first = read_all(packed), packs(packed)
    write_noise(recordings / "3_ann_0.wav", seed=99)
    write_noise(recordings / "3_ann_9.wav", seed=98)
    (recordings / "7_bob_2.wav").unlink()
    report = build(recordings, packed, DIGITS)
    assert (report.built, report.reused, report.removed) == (2, 10, 1)
    after = read_all(packed)
    assert {name for name, x in after.items() if name not in before or (x != before[name]).any()} == {
        "3_ann_0",
        "3_ann_9",
    }
    assert first < packs(packed)  # the old pack serves the other ten


def test_a_pack_of_which_nothing_is_left_is_removed(recordings: Path, packed: Path) -> None:
    first = packs(packed)
    for seed, path in enumerate(sorted(recordings.iterdir())):
        write_noise(path, seed=1_000 + seed)
    assert build(recordings, packed, DIGITS).built == 12
    assert len(packs(packed)) == 1
    assert not first & packs(packed)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-ITEM_BYTES])])
def test_what_a_lost_or_shortened_pack_held_is_built_again(
    recordings: Path, packed: Path, damage: Callable[[Path], object]
) -> None:
    before = read_all(packed)
    damage(pack_of(packed))
    assert build(recordings, packed, DIGITS).built in (1, 12)
    assert all((x == before[name]).all() for name, x in read_all(packed).items())


def test_a_packed_dataset_stays_packed_and_the_other_form_is_refused(recordings: Path, packed: Path) -> None:
    assert build(recordings, packed, DIGITS).reused == 12
    with pytest.raises(DatasetError, match="holds packs; choose another folder"):
        build(recordings, packed, DIGITS, packed=False)
    build(recordings, packed.with_name("files"), DIGITS)
    with pytest.raises(DatasetError, match="holds a file for each spectrogram; choose another folder"):
        build(recordings, packed.with_name("files"), DIGITS, packed=True)


def test_versions_that_know_no_packs_refuse_them(packed: Path) -> None:
    manifest = json.loads((packed / "dataset.json").read_text())
    assert (manifest["format"], manifest["packed"]) == (2, True)


def test_unreadable_recordings_take_no_place_in_a_pack(recordings: Path, tmp_path: Path) -> None:
    (recordings / "3_ann_1.wav").write_text("no sound")
    report = build(recordings, tmp_path / "packed", DIGITS, packed=True)
    assert (report.built, [path for path, _ in report.unreadable]) == (11, ["3_ann_1.wav"])
    assert len(np.load(pack_of(tmp_path / "packed"))) == 11
    assert len(read_all(tmp_path / "packed")) == 11


def test_a_truncated_pack_harms_only_what_was_cut_off(packed: Path) -> None:
    path = pack_of(packed)
    path.write_bytes(path.read_bytes()[: -ITEM_BYTES - 100])
    broken = [name for name, x in read_all(packed).items() if x is SpectrogramError]
    with Dataset.open(packed) as dataset:
        assert sorted(dataset.get(name).file.partition("#")[2] for name in broken) == ["10", "11"]
        with pytest.raises(SpectrogramError, match="65536 bytes of numbers, received 65436: the file is truncated"):
            read_spectrogram(dataset, next(e for n in broken if (e := dataset.get(n)).file.endswith("#10")))


@pytest.mark.parametrize(("value", "message"), [(0.25, "has changed since"), (np.nan, "NaN"), (1.5, "to 1.5")])
def test_a_bad_item_harms_itself_only(packed: Path, value: float, message: str) -> None:
    path = pack_of(packed)
    array = np.load(path)
    array[4, 3, 2] = value
    np.save(path, array)
    with Dataset.open(packed) as dataset:
        entries = dataset.get_many(list(dataset.ids())).values()
        for entry in entries:
            if entry.file.endswith("#4"):
                with pytest.raises(SpectrogramError, match=message):
                    read_spectrogram(dataset, entry)
            else:
                read_spectrogram(dataset, entry)


def test_silence_in_a_pack_has_its_own_error(packed: Path) -> None:
    x = np.full((128, 128), 0.5, np.float32)
    ((file, sha256),) = write_pack_into(packed, [x])
    update(packed, "3_ann_0", "file", file)
    update(packed, "3_ann_0", "sha256", sha256)
    assert read_all(packed)["3_ann_0"] is SilentSpectrogramError


def write_pack_into(folder: Path, arrays: list[np.ndarray]) -> list[tuple[str, str]]:
    (folder / ".building").mkdir()
    return write_pack(folder, arrays)


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


BAD_PACKS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "received an empty file"),
    "text": (b"hello, world", r"received no \.npy file"),
    "one spectrogram": (npy(np.zeros((128, 128), np.float32)), r"a pack of float32 of shape \(128, 128\)"),
    "another shape": (npy(np.zeros((12, 256, 64), np.float32)), r"received a pack of float32 of shape \(12, 256, 64\)"),
    "float64": (npy(np.zeros((12, 128, 128))), "received a pack of float64"),
    "pickled": (npy(np.full((12, 128, 128), None), pickled=True), "received a pack of object"),
    "column-major": (npy(np.asfortranarray(np.zeros((12, 128, 128), np.float32))), "received a pack of float32"),
    "fewer": (npy(np.zeros((1, 128, 128), np.float32)), "received a pack of 1"),
}


@pytest.mark.parametrize("name", BAD_PACKS)
def test_a_bad_pack_is_refused_with_what_was_expected_and_what_came(packed: Path, name: str) -> None:
    data, message = BAD_PACKS[name]
    pack_of(packed).write_bytes(data)
    with Dataset.open(packed) as dataset, pytest.raises(SpectrogramError, match=f"expected item 11 .*{message}"):
        read_spectrogram(dataset, next(e for n in dataset.ids() if (e := dataset.get(n)).file.endswith("#11")))


def test_a_pack_that_is_gone_is_an_unknown_spectrogram(packed: Path) -> None:
    pack_of(packed).rename(packed / "spectrograms/another.npy")
    with Dataset.open(packed) as dataset, pytest.raises(UnknownSpectrogramError, match="is gone"):
        read_spectrogram(dataset, dataset.get("3_ann_0"))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("spectrograms/x.npy", "names no item of a pack"),
        ("spectrograms/x.npy#-1", "names no item of a pack"),
        ("spectrograms/x.npy#one", "names no item of a pack"),
        ("../x.npy#0", "lies outside the dataset"),
    ],
)
def test_an_index_with_a_bad_name_is_refused(packed: Path, file: str, message: str) -> None:
    update(packed, "3_ann_0", "file", file)
    with Dataset.open(packed) as dataset, pytest.raises(SpectrogramError, match=message):
        read_spectrogram(dataset, dataset.get("3_ann_0"))


def test_a_pack_that_cannot_be_written_is_said_of_each_recording(recordings: Path, tmp_path: Path) -> None:
    build(recordings, tmp_path / "packed", DIGITS, packed=True)
    path = pack_of(tmp_path / "packed")
    path.unlink()
    path.mkdir()  # in the place of the very same pack
    with pytest.raises(DatasetError, match="its spectrogram cannot be written: Is a directory"):
        build(recordings, tmp_path / "packed", DIGITS)


def test_the_digest_of_an_item_is_that_of_a_file_of_its_own(packed: Path) -> None:
    with Dataset.open(packed) as dataset:
        entry = dataset.get("7_bob_1")
        assert entry.sha256 == hashlib.sha256(npy(read_spectrogram(dataset, entry))).hexdigest()

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError, UnknownSpectrogramError, UsageError
from wavemill.presets import preset

ALL_IDS = [f"{digit}_{speaker}_{k}" for digit in (3, 7) for speaker in ("ann", "bob") for k in range(3)]


def test_the_index_streams_its_ids_sorted(dataset: Dataset) -> None:
    assert dataset.count == 12
    assert list(dataset.ids()) == sorted(ALL_IDS)


def test_an_entry_tells_file_labels_and_length(dataset: Dataset) -> None:
    entry = dataset.get("7_bob_2")
    assert entry.file == "spectrograms/7_bob_2.npy"
    assert entry.labels == {"digit": "7", "speaker": "bob", "index": "2"}
    assert entry.duration_s == 0.2
    assert entry.max_db - entry.min_db == pytest.approx(80.0, abs=1e-4)
    assert len(entry.sha256) == 64


def test_an_entry_tells_the_peak_of_its_recording(dataset: Dataset, recordings: Path) -> None:
    signal, _ = soundfile.read(recordings / "7_bob_2.wav", dtype="float32")
    entry = dataset.get("7_bob_2")
    assert entry.peak == pytest.approx(np.abs(signal).max())
    assert entry.scale == (entry.min_db, entry.max_db, entry.duration_s, entry.peak)


def test_an_index_without_peaks_is_read_and_built_on(dataset: Dataset, recordings: Path) -> None:
    with closing(sqlite3.connect(dataset.path / "index.sqlite")) as connection, connection:
        connection.execute("DROP TABLE peaks")
    with Dataset.open(dataset.path) as old:
        entry = old.get("7_bob_2")
        assert entry.peak is None
        assert entry.scale == (entry.min_db, entry.max_db, entry.duration_s)
    (recordings / "7_bob_2.wav").touch()
    build(recordings, dataset.path, dataset.features, jobs=1)
    with Dataset.open(dataset.path) as new:
        assert new.get("7_bob_2").peak
        assert new.get("7_bob_1").peak is None


def test_an_open_index_gives_the_peaks_that_a_build_adds_to_it(dataset: Dataset, recordings: Path) -> None:
    with closing(sqlite3.connect(dataset.path / "index.sqlite")) as connection, connection:
        connection.execute("DROP TABLE peaks")
    with Dataset.open(dataset.path) as opened_before:
        assert opened_before.get("7_bob_2").peak is None
        (recordings / "7_bob_2.wav").touch()
        build(recordings, dataset.path, dataset.features, jobs=1)
        assert opened_before.get("7_bob_2").peak


def test_a_whole_number_that_an_older_build_kept_as_a_label_is_read(dataset: Dataset) -> None:
    with closing(sqlite3.connect(dataset.path / "index.sqlite")) as connection, connection:
        connection.execute("""UPDATE spectrograms SET labels = '{"hash": 12345678901234567890}' WHERE id = '7_bob_2'""")
    assert dataset.get("7_bob_2").labels == {"hash": 12345678901234567890}


def test_the_features_travel_with_the_dataset(dataset: Dataset) -> None:
    assert dataset.features == preset("digits")


def test_ids_are_chosen_by_labels(dataset: Dataset) -> None:
    assert list(dataset.ids({"digit": "7", "speaker": "ann"})) == ["7_ann_0", "7_ann_1", "7_ann_2"]
    assert list(dataset.ids({"digit": "9"})) == []


def test_a_label_that_no_spectrogram_has_is_a_usage_error_that_names_the_labels(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no label digt; its labels: digit, index, speaker"):
        dataset.ids({"digt": "7"})


def test_unknown_ids_come_back_once_and_in_order(dataset: Dataset) -> None:
    asked = ["x", "3_ann_0", "../3_ann_0", "x", "nul\0", "\ud800", "7_bob_1"]
    assert dataset.unknown(asked) == ["x", "../3_ann_0", "nul\0", "\ud800"]
    assert dataset.unknown([]) == []


def test_one_unknown_id_is_an_error_that_says_how_to_list_ids(dataset: Dataset) -> None:
    with pytest.raises(UnknownSpectrogramError, match=r"'7_zoe_1'.*wavemill dataset ids"):
        dataset.get("7_zoe_1")


def test_many_entries_are_fetched_at_once_and_unknown_ones_left_out(dataset: Dataset) -> None:
    found = dataset.get_many(["7_bob_1", "nobody", "3_ann_0"])
    assert {name: entry.spectrogram_id for name, entry in found.items()} == {"7_bob_1": "7_bob_1", "3_ann_0": "3_ann_0"}


def test_random_ids_repeat_with_their_seed_and_never_repeat_within(dataset: Dataset) -> None:
    drawn = dataset.random_ids(8, seed=5)
    assert drawn == dataset.random_ids(8, seed=5)
    assert drawn != dataset.random_ids(8, seed=6)
    assert len(set(drawn)) == 8
    assert sorted(dataset.random_ids(12, seed=1)) == sorted(ALL_IDS)
    assert dataset.random_ids(0, seed=1) == []


def test_more_random_ids_than_there_are_is_a_usage_error(dataset: Dataset) -> None:
    with pytest.raises(UsageError, match=r"13 random spectrograms were asked for; .* holds 12"):
        dataset.random_ids(13, seed=0)


def test_threads_can_share_a_dataset(dataset: Dataset) -> None:
    def read(k: int) -> list[str]:
        assert dataset.get(ALL_IDS[k % 12]).spectrogram_id == ALL_IDS[k % 12]
        return list(dataset.ids())

    with ThreadPoolExecutor(8) as threads:
        assert all(found == sorted(ALL_IDS) for found in threads.map(read, range(200)))


def test_a_moved_dataset_still_opens(dataset: Dataset, tmp_path: Path) -> None:
    shutil.copytree(dataset.path, tmp_path / "else where" / "100% new?#")
    with Dataset.open(tmp_path / "else where" / "100% new?#") as moved:
        assert moved.get("3_ann_0") == dataset.get("3_ann_0")


def test_opening_never_writes(dataset: Dataset) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.path.rglob("*")}
    with Dataset.open(dataset.path) as opened:
        list(opened.ids())
    assert {path: path.stat().st_mtime_ns for path in dataset.path.rglob("*")} == before


def test_a_folder_that_is_missing_or_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not an existing folder; make a dataset with: wavemill dataset build"):
        Dataset.open(tmp_path / "missing")
    with pytest.raises(DatasetError, match=r"holds no dataset\.json"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 2}', '{"format": 1}', '{"format": 1, "features": {"preset": "digits"}}']
)
def test_a_damaged_manifest_is_refused(dataset: Dataset, content: str) -> None:
    (dataset.path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=r"dataset\.json.*build the dataset again"):
        Dataset.open(dataset.path)


def test_an_unfinished_dataset_is_refused(dataset: Dataset) -> None:
    manifest = json.loads((dataset.path / "dataset.json").read_text())
    (dataset.path / "dataset.json").write_text(json.dumps({**manifest, "complete": False}))
    with pytest.raises(DatasetError, match="was not built to the end; run its `wavemill dataset build` command again"):
        Dataset.open(dataset.path)


@pytest.mark.parametrize("content", [None, b"", b"not a database" * 100])
def test_a_missing_or_damaged_index_is_refused(dataset: Dataset, content: bytes | None) -> None:
    index = dataset.path / "index.sqlite"
    index.unlink() if content is None else index.write_bytes(content)
    with pytest.raises(DatasetError, match=r"index\.sqlite cannot be read"):
        Dataset.open(dataset.path)
    assert index.exists() is (content is not None)


def test_a_hundred_thousand_ids_are_checked_in_one_call(dataset: Dataset) -> None:
    with sqlite3.connect(dataset.path / "index.sqlite") as connection:
        connection.executemany(
            "INSERT INTO spectrograms SELECT ?, file, labels, min_db, max_db, duration_s, sha256, cut, source, "
            "source_bytes, source_mtime_ns FROM spectrograms WHERE id = '3_ann_0'",
            ((f"set/{k}",) for k in range(100_000)),
        )
    connection.close()
    asked = [f"set/{k}" for k in range(99_999)] + ["missing"]
    assert dataset.unknown(asked) == ["missing"]
    assert len(list(dataset.ids())) == dataset.count == 100_012


def test_the_index_is_read_without_numpy(dataset: Dataset) -> None:
    program = (
        "import sys; from wavemill.dataset.index import Dataset; "
        f"Dataset.open({str(dataset.path)!r}).get('3_ann_0'); "
        "print([name for name in ('numpy', 'sqlalchemy', 'librosa', 'soundfile') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"

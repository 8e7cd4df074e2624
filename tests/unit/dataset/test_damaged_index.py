"""Rows of the index that cannot be true, and an index with a wrong byte: what is not concerned goes on."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.errors import (
    DatasetError,
    OutageError,
    SpectrogramError,
    UnknownSpectrogramError,
    UsageError,
    WavemillError,
)
from wavemill.presets import preset
from wavemill.vae.training.dataset_source import audible_entries
from wavemill_producer.ids import Checked, checked_ids

ID = "7_ann_1"
INF = float("inf")


def update(dataset: Dataset, column: str, value: object, *, cast: str = "?", table: str = "spectrograms") -> None:
    with closing(sqlite3.connect(dataset.path / "index.sqlite")) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = {cast} WHERE id = ?", (value, ID))


BAD_VALUES: list[tuple[str, object]] = [
    *((column, value) for column in ("min_db", "max_db") for value in ("abc", b"\xff", INF, -INF, 1e308)),
    *(("duration_s", value) for value in ("x", b"\xff", INF, -1.0, 0.0, 1e12, 1e308)),
    *(
        ("labels", value)
        for value in ("{", "", "[]", "7", "null", '{"digit": ["7"]}', '{"digit": null}', '{"digit": "\\ud800"}', b"{}")
    ),
    ("labels", "[" * 100_000),
    ("labels", '{"a":' * 100_000),
    *(("file", value) for value in ("", b"\xff\xfe", 'a"\0b')),
    ("file", "spectrograms/" + "x" * 300 + ".npy"),
    *(("sha256", value) for value in ("", "z" * 64, b"\0" * 64)),
]


@pytest.mark.parametrize("value", ["x", b"\xff", INF, -1.0])
def test_a_peak_that_cannot_be_true_fails_alone_with_a_sentence(dataset: Dataset, value: object) -> None:
    update(dataset, "peak", value, table="peaks")
    assert set(dataset.get_many(list(dataset.ids()))) == set(dataset.ids()) - {ID}
    with pytest.raises(SpectrogramError, match=rf"^{ID}: its row in the index is damaged: expected the peak"):
        dataset.get(ID)


@pytest.mark.parametrize(("column", "value"), BAD_VALUES)
def test_a_row_that_cannot_be_true_fails_alone_with_a_sentence(dataset: Dataset, column: str, value: object) -> None:
    update(dataset, column, value)
    every = list(dataset.ids())
    assert len(every) == 12
    found = dataset.get_many(every)
    assert set(found) >= set(every) - {ID}
    with pytest.raises(SpectrogramError, match=rf"^{ID}: its ") as caught:
        read_spectrogram(dataset, found[ID] if ID in found else dataset.get(ID))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 700
    for name in set(every) - {ID}:
        read_spectrogram(dataset, found[name])


@pytest.mark.parametrize("column", ["labels", "file", "sha256"])
def test_text_that_is_no_utf_8_fails_alone(dataset: Dataset, column: str) -> None:
    update(dataset, column, b'{"a":"\xff"}', cast="CAST(? AS TEXT)")
    assert set(dataset.get_many(list(dataset.ids()))) == set(dataset.ids()) - {ID}
    with pytest.raises(SpectrogramError, match=f"^{ID}: its row in the index is damaged"):
        dataset.get(ID)


def test_an_id_that_is_no_utf_8_is_listed_readably_and_unknown(dataset: Dataset) -> None:
    update(dataset, "id", b"7_\xff", cast="CAST(? AS TEXT)")
    every = list(dataset.ids())
    assert len(every) == 12
    assert "7_\ufffd" in every
    assert len(dataset.get_many(every)) == 11
    with pytest.raises(UnknownSpectrogramError):
        dataset.get("7_\ufffd")


def test_an_id_that_is_no_text_is_not_listed(dataset: Dataset) -> None:
    update(dataset, "id", b"blob")
    assert len(list(dataset.ids())) == 11


def test_ids_are_chosen_by_label_whatever_stands_in_one_row(dataset: Dataset) -> None:
    for value in ("{", "[" * 5_000, b"\0\1", '["digit", "7"]'):
        update(dataset, "labels", value)
        assert list(dataset.ids({"digit": "7", "speaker": "ann"})) == ["7_ann_0", "7_ann_2"]


def test_training_leaves_a_damaged_row_out_and_says_so(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    update(dataset, "max_db", 1e308)
    assert ID not in {entry.spectrogram_id for entry in audible_entries(dataset)}
    assert "1 damaged rows of its index are left out" in caplog.text


def test_a_row_of_a_gigabyte_is_refused_before_it_is_read(dataset: Dataset) -> None:
    with closing(sqlite3.connect(dataset.path / "index.sqlite")) as connection, connection:
        connection.execute("UPDATE spectrograms SET labels = zeroblob(50000000) WHERE id = ?", (ID,))
    every = ["3_ann_0", ID, "7_bob_1"]
    assert set(dataset.get_many(every)) == {"3_ann_0", "7_bob_1"}
    with pytest.raises(SpectrogramError, match="too big"):
        dataset.get(ID)


def test_a_build_makes_a_damaged_row_again(dataset: Dataset, recordings: Path) -> None:
    good = dataset.get(ID)
    for column, value in [("labels", "{"), ("max_db", INF), ("duration_s", -1.0), ("file", b"\xff")]:
        update(dataset, column, value)
        report = build(recordings, dataset.path, preset("digits"))
        assert (report.built, report.reused) == (1, 11)
        assert dataset.get(ID) == good


@pytest.mark.parametrize("seed", range(4))
def test_a_wrong_byte_in_the_index_harms_its_rows_or_is_told_in_a_sentence(dataset: Dataset, seed: int) -> None:
    index, rng = dataset.path / "index.sqlite", random.Random(seed)
    every, good = list(dataset.ids()), index.read_bytes()
    for _ in range(60):
        page = 4096 * rng.randrange(len(good) // 4096)
        position = rng.choice([rng.randrange(len(good)), page + rng.randrange(100)])
        index.write_bytes(good[:position] + bytes([rng.randrange(256)]) + good[position + 1 :])
        for problem in _use(dataset.path, every):
            assert "\n" not in str(problem)
            assert not isinstance(problem, OutageError)  # nobody would wait for the end of it


def _use(folder: Path, every: list[str]) -> list[WavemillError]:
    """Do all that is done with an index; return what went wrong, as far as wavemill knows of it."""
    problems = []
    try:
        with Dataset.open(folder) as opened:
            for use in (
                lambda: list(opened.ids()),
                lambda: list(opened.ids({"digit": "7"})),
                lambda: opened.random_ids(3, seed=1),
                lambda: list(checked_ids(every, dataset=opened, checked=Checked())),
                lambda: opened.get_many(every),
                *(lambda name=name: read_spectrogram(opened, opened.get(name)) for name in every),
            ):
                try:
                    use()
                except WavemillError as exc:
                    problems.append(exc)
    except WavemillError as exc:
        problems.append(exc)
    return problems


def test_ids_in_no_order_do_not_go_round_for_ever(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavemill.dataset.index._PAGE_SIZE", 5)
    index = dataset.path / "index.sqlite"
    fifth = sorted(dataset.ids())[4]
    data = index.read_bytes()
    smaller = "0" + fifth[1:]
    index.write_bytes(data.replace(fifth.encode() + b"spectrograms/", smaller.encode() + b"spectrograms/"))
    with Dataset.open(dataset.path) as opened, pytest.raises(DatasetError, match=r"not in order|malformed"):
        list(opened.ids())


MAD: dict[str, str] = {
    "deep": "[" * 100_000,
    "deep objects": '{"features":' * 100_000,
    "a vast shape": '{"n_bins": 100000000}',
    "an endless rate": '{"sample_rate_hz": 1e999}',
    "no number": '{"hop_length": "64"}',
    "a negative number": '{"n_fft": -1}',
    "a truth": '{"n_frames": true}',
    "a list": '{"preset": []}',
    "no range": '{"range_db": NaN}',
}


@pytest.mark.parametrize("name", MAD)
def test_a_mad_manifest_is_refused_in_a_sentence(dataset: Dataset, name: str) -> None:
    path = dataset.path / "dataset.json"
    if name.startswith("deep"):
        path.write_text(MAD[name])
    else:
        content = json.loads(path.read_text())
        content["features"] |= json.loads(MAD[name])
        path.write_text(json.dumps(content))
    with pytest.raises((DatasetError, UsageError), match=r"dataset\.json.*build the dataset again") as caught:
        Dataset.open(dataset.path)
    assert len(str(caught.value)) < 400


def test_counts_beyond_all_bounds_are_refused(dataset: Dataset) -> None:
    path = dataset.path / "dataset.json"
    path.write_text(path.read_text().replace('"cut": 0', '"cut": 1e999'))
    with pytest.raises(DatasetError, match="is damaged"):
        Dataset.open(dataset.path)

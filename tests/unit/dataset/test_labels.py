from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import soundfile

from wavemill.dataset.build import BuildReport, build
from wavemill.dataset.index import Dataset
from wavemill.dataset.label_sources import LabelChoice, folder_labels, name_labels
from wavemill.errors import DatasetError, UsageError
from wavemill.labels import Labels, number_in
from wavemill.presets import preset

NAMES = ("strings/violin_69_90.wav", "strings/cello_40_50.wav", "keys/organ_60_120.wav")
ROWS = [
    {"file_name": NAMES[0], "instrument": "violin", "pitch": 69, "gain": -1.5, "take": "007", "split": "train"},
    {"file_name": NAMES[1], "instrument": "cello", "pitch": 40, "gain": 0.0, "take": "008", "split": "dev"},
    {"file_name": "brass/horn_50_90.wav", "instrument": "horn", "pitch": 50, "gain": 2.0, "take": "9", "split": "test"},
]


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.5 * np.sin(np.arange(4_000) * 0.1 * (number + 1)), 8_000)
    return folder


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_parquet(path: Path, rows: list[dict[str, object]]) -> None:
    parquet.write_table(pa.Table.from_pylist(rows), path)


def built(audio: Path, choice: LabelChoice | None = None) -> tuple[BuildReport, dict[str, Labels]]:
    report = build(audio, audio.parent / "data", preset("digits"), jobs=1, labels=choice)
    with Dataset.open(audio.parent / "data") as dataset:
        return report, {name: dataset.get(name).labels for name in dataset.ids()}


@pytest.mark.parametrize(
    ("name", "write"),
    [("metadata.csv", write_csv), ("metadata.jsonl", write_jsonl), ("metadata.parquet", write_parquet)],
)
def test_a_table_in_the_folder_labels_the_recordings(audio: Path, name: str, write: object) -> None:
    write(audio / name, ROWS)  # type: ignore[operator]
    report, labels = built(audio)
    assert labels == {
        "keys/organ_60_120": {},
        "strings/cello_40_50": {"instrument": "cello", "pitch": 40, "gain": 0, "take": "008", "split": "validation"},
        "strings/violin_69_90": {"instrument": "violin", "pitch": 69, "gain": -1.5, "take": "007", "split": "train"},
    }
    assert report.ignored == 0
    assert report.labels is not None
    assert (report.labels.labelled, report.labels.without_row, report.labels.unused_rows) == (2, 1, 1)
    assert report.labels.without_row_examples == [NAMES[2]]
    assert report.labels.unused_examples == ["brass/horn_50_90.wav"]


def test_ids_are_selected_by_numbers_and_by_split(audio: Path) -> None:
    write_csv(audio / "metadata.csv", ROWS)
    built(audio)
    with Dataset.open(audio.parent / "data") as dataset:
        assert list(dataset.ids({"pitch": "69"})) == list(dataset.ids({"pitch": "69.0"})) == ["strings/violin_69_90"]
        assert list(dataset.ids({"split": "validation"})) == ["strings/cello_40_50"]
        assert list(dataset.ids({"take": "7"})) == []


def test_new_labels_reach_unchanged_recordings(audio: Path) -> None:
    assert built(audio)[1]["strings/violin_69_90"] == {}
    write_csv(audio / "metadata.csv", ROWS)
    report, labels = built(audio)
    assert (report.built, report.reused) == (0, 3)
    assert labels["strings/violin_69_90"]["pitch"] == 69
    assert built(audio)[0].labels == report.labels


def test_nsynth_names_recordings_without_folder_or_suffix(audio: Path) -> None:
    notes = {"violin_69_90": {"pitch": 69, "qualities": [0, 1], "instrument_family_str": "string", "note": 12}}
    (audio / "examples.json").write_text(json.dumps(notes))
    report, labels = built(audio)
    assert labels["strings/violin_69_90"] == {"pitch": 69, "instrument_family_str": "string", "note": 12}
    assert report.labels is not None
    assert report.labels.left_out_columns == ["qualities"]


def test_a_table_elsewhere_is_given_by_its_path(audio: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "labels.jsonl", ROWS)
    assert built(audio, LabelChoice(metadata=tmp_path / "labels.jsonl"))[1]["strings/cello_40_50"]["pitch"] == 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,pitch\na.wav,3\n", "no column 'file_name'"),
        ("", "no column 'file_name'"),
        ("file_name,pitch\n,3\n", "row 1 has no file_name"),
        ("file_name,x\n\udcff", "cannot be read as a table of labels: it is not in UTF-8; save it as UTF-8"),
        ("file_name,x\na.wav,1\na.wav,1,2,3\n", "row 2 has more values than there are columns"),
        ("file_name;x\na.wav;1\n", "its columns are divided by ';'; divide them by commas"),
        ("file_name,x,x\na.wav,1,2\n", "it has several columns 'x'"),
    ],
)
def test_a_bad_table_is_refused_before_anything_is_written(audio: Path, content: str, message: str) -> None:
    (audio / "metadata.csv").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DatasetError, match=message):
        built(audio)
    assert not (audio.parent / "data").exists()


def test_spaces_after_commas_and_missing_cells_do_no_harm(audio: Path) -> None:
    text = f"file_name , pitch, name,\n{NAMES[0]}\n{NAMES[1]}, 3, ann,\n\n{NAMES[2]}, 4.5,,\n"
    (audio / "metadata.csv").write_text(text)
    _, labels = built(audio)
    assert labels == {
        NAMES[0][:-4]: {},
        NAMES[1][:-4]: {"pitch": 3, "name": "ann"},
        NAMES[2][:-4]: {"pitch": 4.5},
    }


def test_a_split_of_another_name_is_reported(audio: Path) -> None:
    write_csv(audio / "metadata.csv", [row | {"split": "holdout"} for row in ROWS[:2]])
    report, _ = built(audio)
    assert report.labels is not None
    assert report.labels.other_splits == {"holdout": 2}


def test_a_whole_number_that_no_column_holds_is_no_label(audio: Path) -> None:
    write_jsonl(audio / "metadata.jsonl", [{"file_name": NAMES[0], "vast": 10**18, "large": 10**18 - 1}])
    report, labels = built(audio)
    assert labels[NAMES[0][:-4]] == {"large": 10**18 - 1}
    assert report.labels is not None
    assert report.labels.left_out_columns == ["vast"]


def test_two_tables_in_the_folder_are_refused(audio: Path) -> None:
    write_csv(audio / "metadata.csv", ROWS)
    write_jsonl(audio / "metadata.jsonl", ROWS)
    with pytest.raises(DatasetError, match="both tables of labels"):
        built(audio)


@pytest.mark.parametrize(
    ("pattern", "labels"),
    [
        ("{instrument}_{pitch:d}_{velocity:d}", {"instrument": "violin", "pitch": 69, "velocity": 90}),
        ("{instrument}_{rest}", {"instrument": "violin", "rest": "69_90"}),
        ("{family}/{instrument}_{pitch}_{v:f}", {"family": "strings", "instrument": "violin", "pitch": "69", "v": 90}),
        ("{instrument}-{pitch}", {}),
        ("{pitch:d}_{rest}", {}),
    ],
)
def test_a_pattern_reads_labels_out_of_names(pattern: str, labels: Labels) -> None:
    assert name_labels(LabelChoice(pattern=pattern))("strings/violin_69_90") == labels


@pytest.mark.parametrize("pattern", ["", "violin", "{a}_{a}", "{a}_{b", "{a:x}", "{}", "{a b}"])
def test_a_bad_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="--label-pattern"):
        name_labels(LabelChoice(pattern=pattern))


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("dog/bark_1", {"label": "dog"}),
        ("train/dog/bark_1", {"split": "train", "label": "dog"}),
        ("kit/valid/snare/1", {"split": "validation", "label": "snare"}),
        ("bark_1", {}),
    ],
)
def test_folders_give_a_label_and_the_split(name: str, labels: Labels) -> None:
    assert folder_labels(name) == labels


@pytest.mark.parametrize(
    ("text", "number"),
    [("69", 69), ("-1.5", -1.5), ("1e3", 1000.0), ("0", 0), ("007", None), ("1_0", None), ("nan", None),
     ("1e999", None), ("", None), ("0x10", None), ("+5", 5), ("0.50", 0.5),
     ("0.00013992548631724903", 0.00013992548631724903)],
)  # fmt: skip
def test_only_plain_numbers_are_numbers(text: str, number: float | None) -> None:
    assert number_in(text) == number

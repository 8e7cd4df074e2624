from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.audio.features import extract, pad_or_cut
from wavemill.dataset import extents
from wavemill.dataset.build import BuildReport, build
from wavemill.dataset.decibels import read_db
from wavemill.dataset.extents import Long, frames_of
from wavemill.dataset.huge_reader import open_huge
from wavemill.dataset.index import Dataset
from wavemill.dataset.label_sources import LabelChoice
from wavemill.dataset.survey.survey import lengths_s, survey
from wavemill.errors import DatasetError, NotFoundError
from wavemill.labels import Labels
from wavemill.presets import preset, samples_of
from wavemill.recogniser.recordings import Recordings

DIGITS = preset("digits")  # frames of 1.016 s
RATE_HZ = 8_000
ROWS: list[dict[str, object]] = [
    {"file_name": "talk.wav", "start": 0.5, "duration": 0.25, "word": "one"},
    {"file_name": "talk.wav", "start": 2, "duration": 1.5, "word": "two"},
]


def write_talk(path: Path, *, seconds: float = 4.0, **options: str) -> None:
    """Write noise whose level rises, so that each part differs from the others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_samples = round(seconds * RATE_HZ)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, n_samples)
    soundfile.write(path, noise * np.linspace(0.1, 1.0, n_samples), RATE_HZ, **options)


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    write_talk(tmp_path / "audio/talk.wav")
    return tmp_path / "audio"


def built(audio: Path, *, long: Long = "keep", **options: object) -> tuple[BuildReport, dict[str, Labels]]:
    report = build(audio, audio.parent / "data", DIGITS, jobs=1, long=long, **options)  # type: ignore[arg-type]
    with Dataset.open(audio.parent / "data") as dataset:
        return report, {name: dataset.get(name).labels for name in dataset.ids()}


@pytest.mark.parametrize("name", ["talk.wav", "talk.flac", "talk.ogg", "talk.mp3"])
def test_each_row_with_start_and_duration_is_a_spectrogram(tmp_path: Path, name: str) -> None:
    audio = tmp_path / "audio"
    write_talk(audio / name)
    write_rows(audio / "metadata.jsonl", [row | {"file_name": name} for row in ROWS])
    report, labels = built(audio)
    assert labels == {"talk@0.5-0.75": {"word": "one"}, "talk@2-3.5": {"word": "two"}}
    assert (report.built, report.cut, report.unreadable) == (2, 0, [])
    whole, _ = soundfile.read(audio / name, dtype="float32")
    part = whole[2 * RATE_HZ : round(3.5 * RATE_HZ)]
    expected = extract(pad_or_cut(part, samples_of(DIGITS, frames_of(DIGITS, "keep", len(part)))), DIGITS)
    with Dataset.open(tmp_path / "data") as dataset:
        entry = dataset.get("talk@2-3.5")
        assert entry.duration_s == pytest.approx(1.5)
        np.testing.assert_allclose(read_db(dataset, entry), expected, atol=0.05)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.jsonl"])
@pytest.mark.parametrize("is_absolute", [False, True])
def test_a_manifest_of_nemo_is_read(audio: Path, name: str, is_absolute: bool) -> None:
    path = audio / "lists" / name
    path.parent.mkdir()
    file = str(audio / "talk.wav") if is_absolute else "../talk.wav"
    write_rows(path, [{"audio_filepath": file, "offset": 1.25, "duration": "0.5", "text": "seven"}])
    report, labels = built(audio, labels=LabelChoice(metadata=path))
    assert labels == {"talk@1.25-1.75": {"text": "seven"}}
    assert report.labels is not None
    assert (report.labels.without_row, report.labels.unused_rows) == (0, 0)


def test_rows_without_a_start_describe_whole_recordings(audio: Path) -> None:
    write_talk(audio / "other.wav", seconds=1)
    rows = [
        ROWS[0],
        {"file_name": "other.wav", "duration": 1.0},
        {"file_name": "talk.wav", "start": None, "word": "all"},
    ]
    write_rows(audio / "metadata.jsonl", rows)
    assert built(audio)[1] == {"other": {"duration": 1.0}, "talk": {"word": "all"}, "talk@0.5-0.75": {"word": "one"}}


def test_a_start_without_a_column_of_durations_is_a_label(audio: Path) -> None:
    (audio / "metadata.csv").write_text("file_name,start\ntalk.wav,3\n")
    assert built(audio)[1] == {"talk": {"start": 3}}


def test_numbers_in_a_csv_choose_parts_even_beside_empty_cells(audio: Path) -> None:
    write_talk(audio / "other.wav", seconds=1)
    (audio / "metadata.csv").write_text("file_name,start,duration,take\ntalk.wav,0.1,0.2,007\nother.wav,,,8\n")
    assert built(audio)[1] == {"other": {"take": "8"}, "talk@0.1-0.3": {"take": "007"}}


def test_a_rebuild_makes_only_the_parts_that_changed(audio: Path) -> None:
    assert list(built(audio)[1]) == ["talk"]
    write_rows(audio / "metadata.jsonl", ROWS)
    report, labels = built(audio)
    assert (report.built, report.removed, list(labels)) == (2, 1, ["talk@0.5-0.75", "talk@2-3.5"])
    assert built(audio)[0].reused == 2
    write_rows(audio / "metadata.jsonl", [ROWS[1] | {"word": "zwei"}, ROWS[0] | {"start": 0.6}])
    report, labels = built(audio)
    assert (report.built, report.reused, report.removed) == (1, 1, 1)
    assert labels == {"talk@0.6-0.85": {"word": "one"}, "talk@2-3.5": {"word": "zwei"}}


@pytest.mark.parametrize(
    ("start", "duration"),
    [(-1, 1), (0, 0), (0, -2.5), (float("nan"), 1), (0, float("inf")), ("soon", 1), (True, 1), (1, None), (1, "01"),
     (0, 1e-6), (10**400, 1), ([1], 1)],
)  # fmt: skip
def test_a_part_that_cannot_be_is_refused_before_anything_is_written(
    audio: Path, start: object, duration: object
) -> None:
    bad = {"file_name": "talk.wav", "start": start, "duration": duration}
    write_rows(audio / "metadata.jsonl", [*ROWS, bad])
    with pytest.raises(DatasetError, match=r"row 3: expected a start of 0 or more and a duration of at least 0\.001"):
        built(audio)
    assert not (audio.parent / "data").exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"file_name": ""}', "row 3 has no file_name"), ('{"pitch": 3}', "line 3 has no column"), ("[]", "line 3"),
     ('{"file_name": ', "line 3 is no JSON"), ('{"file_name": "\\ud800"}', "row 3 has no file_name")],
)  # fmt: skip
def test_a_bad_row_late_in_a_table_is_refused_before_anything_is_written(audio: Path, line: str, message: str) -> None:
    write_rows(audio / "metadata.jsonl", ROWS)
    with (audio / "metadata.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(DatasetError, match=message):
        built(audio)
    assert not (audio.parent / "data").exists()


def test_parts_outside_their_recording_are_named(audio: Path) -> None:
    outside = [{"file_name": "talk.wav", "start": start, "duration": 0.5} for start in (3.7, 9)]
    nearly = {"file_name": "talk.wav", "start": 3.52, "duration": 0.5}  # ends 0.02 s after the end: times are rounded
    write_rows(audio / "metadata.jsonl", [ROWS[0], nearly, *outside])
    report, labels = built(audio)
    assert list(labels) == ["talk@0.5-0.75", "talk@3.52-4.02"]
    assert [path for path, _ in report.unreadable] == ["talk.wav (talk@3.7-4.2)", "talk.wav (talk@9-9.5)"]
    assert "ends after 0.300 s" in report.unreadable[0][1]
    assert "expected sound from 9 s on" in report.unreadable[1][1]
    assert report.labels is not None
    assert report.labels.unused_examples == ["talk.wav@3.7-4.2", "talk.wav@9-9.5"]


def test_overlapping_and_repeated_parts_are_counted(audio: Path) -> None:
    inner = {"file_name": "talk.wav", "start": 2.5, "duration": 0.5}
    after = {"file_name": "talk.wav", "start": 3.5, "duration": 0.5}
    write_rows(audio / "metadata.jsonl", [*ROWS, inner, after, ROWS[0] | {"word": "ein"}])
    report, labels = built(audio)
    assert len(labels) == 4
    assert labels["talk@0.5-0.75"] == {"word": "ein"}
    assert report.labels is not None
    assert (report.labels.repeated_rows, report.labels.overlapping_parts) == (1, 1)
    assert report.labels.overlapping_examples == ["talk.wav@2.5-3"]


def test_a_part_longer_than_a_frame_is_cut_or_split(audio: Path) -> None:
    write_rows(audio / "metadata.jsonl", ROWS)
    assert built(audio, long="cut")[0].cut == 1
    build(audio, audio.parent / "split", DIGITS, jobs=1, long="split")
    with Dataset.open(audio.parent / "split") as dataset:
        lengths = {name: dataset.get(name).duration_s for name in dataset.ids({"word": "two"})}
    assert lengths == {"talk@2-3.5_0000": 1.016, "talk@2-3.5_0001": pytest.approx(0.484)}
    assert build(audio, audio.parent / "split", DIGITS, jobs=1).reused == 3


def test_a_part_hardly_longer_than_a_frame_is_not_split(audio: Path) -> None:
    (audio / "metadata.csv").write_text("file_name,start,duration\ntalk.wav,2,1.0161\n")
    report, labels = built(audio, long="split")
    assert ([name for name in labels if name.startswith("talk")], report.unreadable) == (["talk@2-3.0161"], [])


def test_a_huge_part_is_built_in_blocks(audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(audio / "metadata.jsonl", [ROWS[1], ROWS[1] | {"start": 3}])
    built(audio)
    monkeypatch.setattr(extents, "MOST_NUMBERS", 128 * 150)
    report = build(audio, audio.parent / "blocks", DIGITS, jobs=1, long="keep")
    assert [path for path, _ in report.unreadable] == ["talk.wav (talk@3-4.5)"]
    with Dataset.open(audio.parent / "blocks") as blocks, Dataset.open(audio.parent / "data") as whole:
        entry = blocks.get("talk@2-3.5")
        with open_huge(blocks, entry) as huge:
            db = huge.read_db(0, huge.n_frames)
        monkeypatch.undo()
        np.testing.assert_allclose(db, read_db(whole, whole.get("talk@2-3.5")), atol=1e-3)


@pytest.mark.parametrize("name", ["hour.wav", "hour.flac"])
def test_only_the_part_of_a_long_recording_is_read(tmp_path: Path, name: str) -> None:
    audio = tmp_path / "audio"
    write_talk(audio / name, seconds=1_800)
    n_bytes = (audio / name).stat().st_size
    write_rows(audio / "metadata.jsonl", [{"file_name": name, "start": 1_700, "duration": 0.5}])
    before = bytes_read()
    assert list(built(audio)[1]) == ["hour@1700-1700.5"]
    assert bytes_read() - before < n_bytes / 10


def test_a_survey_looks_at_the_parts(audio: Path) -> None:
    write_rows(audio / "metadata.jsonl", ROWS)
    assert lengths_s(audio) == [0.25, 1.5]
    found = survey(audio)
    assert (found.recordings, list(found.durations_s), found.copies) == (2, [0.25, 1.5], [])
    assert (found.labels.without_row, [one.name for one in found.labels.found]) == (0, ["word"])


def test_the_recording_of_a_part_is_found_by_its_id(audio: Path) -> None:
    recordings = Recordings(audio)
    whole, _ = soundfile.read(audio / "talk.wav", dtype="float32")
    np.testing.assert_array_equal(recordings.read("talk@0.5-0.75", DIGITS), whole[4_000:6_000])
    assert len(recordings.read("talk@2-3.5", DIGITS)) == 8_128
    frame = DIGITS.n_samples
    np.testing.assert_array_equal(recordings.read("talk.0001", DIGITS), whole[frame : 2 * frame])
    np.testing.assert_array_equal(recordings.read("talk.0001", DIGITS, frame_s=0.5), whole[4_000:8_000])
    np.testing.assert_array_equal(recordings.read("talk@0.5-1.75_0001", DIGITS, frame_s=1.0), whole[12_000:14_000])
    for unknown in ("talk@3-2", "talk@x-2", "other@1-2", "other.0001", "talk_0001", "talk@0.5-0.75_0001"):
        with pytest.raises(NotFoundError, match=unknown):
            recordings.read(unknown, DIGITS)


def bytes_read() -> int:
    """Return how many bytes this process has read from files."""
    return int(Path("/proc/self/io").read_text().split()[1])

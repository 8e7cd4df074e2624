from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import BuildReport, build
from wavemill.dataset.index import Dataset
from wavemill.dataset.writing import DatasetWriter
from wavemill.errors import DatasetError, SilentSpectrogramError, UsageError
from wavemill.presets import preset

from .conftest import RATE_HZ, write_noise

DIGITS = preset("digits")


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    return folder


def ids_of(folder: Path) -> list[str]:
    with Dataset.open(folder) as opened:
        return list(opened.ids())


def files_of(folder: Path) -> dict[str, int]:
    """Return each array's file and inode: a file that is written again has another."""
    return {str(path.relative_to(folder)): path.stat().st_ino for path in (folder / "spectrograms").rglob("*.npy")}


def test_every_format_channel_count_and_rate_becomes_one_shape(audio: Path, target: Path) -> None:
    for seed, suffix in enumerate(("wav", "flac", "ogg", "aiff", "mp3", "WAV", "au", "caf")):
        write_noise(audio / "sounds" / f"{suffix}-{seed}.{suffix}", seed=seed, channels=1 + seed % 2, rate_hz=16_000)
    (audio / "sounds" / "aiff-3.aiff").rename(audio / "other.AIF")
    write_noise(audio / "sounds" / "aiff-3.aiff", seed=9)
    report = build(audio, target, DIGITS)
    assert (report.built, report.unreadable, report.skipped) == (9, [], [])
    with Dataset.open(target) as opened:
        assert {read_spectrogram(opened, opened.get(name)).shape for name in opened.ids()} == {(128, 128)}


def test_files_of_the_same_name_in_different_folders_stay_apart(audio: Path, target: Path) -> None:
    for seed, folder in enumerate(("", "day 1", "day 2/morning")):
        write_noise(audio / folder / "7_ann_0.wav", seed=seed)
    build(audio, target, DIGITS)
    assert ids_of(target) == ["7_ann_0", "day 1/7_ann_0", "day 2/morning/7_ann_0"]
    with Dataset.open(target) as opened:
        entries = opened.get_many(list(opened.ids())).values()
    assert len({entry.sha256 for entry in entries}) == 3
    assert {entry.labels["speaker"] for entry in entries} == {"ann"}


def test_the_second_recording_of_one_id_is_skipped_with_a_reason(audio: Path, target: Path) -> None:
    write_noise(audio / "a.flac", seed=1)
    write_noise(audio / "a.wav", seed=2)
    report = build(audio, target, DIGITS)
    assert report.skipped == [("a.wav", "would have the same ID 'a' as a.flac; rename one of them")]
    assert ids_of(target) == ["a"]


def test_names_that_cannot_be_ids_are_skipped_with_a_reason(audio: Path, target: Path) -> None:
    write_noise(audio / "good.wav")
    for name in ("tab\there.wav", "back\\slash.wav", "n" * 251 + ".wav", "é" * 125 + ".wav"):
        shutil.copy(audio / "good.wav", audio / name)
    shutil.copy(audio / "good.wav", os.fsencode(audio) + b"/latin-\xe9.wav")
    report = build(audio, target, DIGITS)
    assert report.built == 1 + 1  # 125 characters of two bytes and .npy are 254 bytes
    assert len(report.skipped) == 4
    said = ("is not a spectrogram ID", "is too long for a file's name")
    assert all(path.isprintable() and any(text in reason for text in said) for path, reason in report.skipped)


def test_unreadable_recordings_are_reported_and_harm_no_other(audio: Path, target: Path) -> None:
    write_noise(audio / "good.wav")
    (audio / "text.wav").write_text("no sound")
    (audio / "empty.flac").touch()
    soundfile.write(audio / "nan.wav", np.full(100, np.nan), RATE_HZ, subtype="FLOAT")
    report = build(audio, target, DIGITS)
    assert (report.built, ids_of(target)) == (1, ["good"])
    assert [path for path, _ in report.unreadable] == ["empty.flac", "nan.wav", "text.wav"]
    assert "NaN or infinity" in report.unreadable[1][1]


def test_clips_that_are_cut_and_silent_ones_are_counted(audio: Path, target: Path) -> None:
    write_noise(audio / "long.wav", duration_s=1.5)
    write_noise(audio / "short.wav", duration_s=0.25)
    soundfile.write(audio / "silent.wav", np.zeros(1_000), RATE_HZ)
    report = build(audio, target, DIGITS)
    assert (report.built, report.cut, report.silent) == (3, 1, 1)
    with Dataset.open(target) as opened:
        assert opened.get("long").duration_s == DIGITS.duration_s
        assert opened.get("short").duration_s == 0.25
        with pytest.raises(SilentSpectrogramError):
            read_spectrogram(opened, opened.get("silent"))


def test_other_files_are_counted_and_links_to_folders_not_followed(audio: Path, target: Path) -> None:
    write_noise(audio / "good.wav")
    (audio / "notes.txt").write_text("notes")
    (audio / "around").symlink_to(audio)
    os.mkfifo(audio / "pipe.wav")
    report = build(audio, target, DIGITS)
    assert (report.built, report.ignored) == (1, 1)
    assert report.skipped == [
        ("around", "a symbolic link to a folder is not followed"),
        ("pipe.wav", "is not a regular file"),
    ]


def test_a_dataset_below_its_own_recordings_is_not_searched(audio: Path) -> None:
    write_noise(audio / "good.wav")
    for _ in range(2):
        assert build(audio, audio / "dataset", DIGITS).ignored == 0


def test_a_second_build_reuses_everything_and_changes_no_file(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    before = files_of(target)
    report = build(recordings, target, DIGITS)
    assert (report.built, report.reused, report.removed) == (0, 12, 0)
    assert files_of(target) == before


def test_changed_added_and_vanished_recordings_are_followed(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    before = files_of(target)
    write_noise(recordings / "3_ann_0.wav", seed=99)
    write_noise(recordings / "3_ann_9.wav", seed=98)
    (recordings / "7_bob_2.wav").unlink()
    report = build(recordings, target, DIGITS)
    assert (report.built, report.reused, report.removed) == (2, 10, 1)
    after = files_of(target)
    assert set(before) - set(after) == {"spectrograms/7_bob_2.npy"}
    assert {name for name in after if before.get(name) != after[name]} == {
        "spectrograms/3_ann_0.npy",
        "spectrograms/3_ann_9.npy",
    }
    with Dataset.open(target) as opened:
        for name in opened.ids():
            read_spectrogram(opened, opened.get(name))


def test_a_recording_that_became_unreadable_keeps_what_was_built_before(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    before = files_of(target)
    (recordings / "3_ann_0.wav").write_text("overwritten")
    report = build(recordings, target, DIGITS)
    assert ([path for path, _ in report.unreadable], report.kept) == (["3_ann_0.wav"], 1)
    assert files_of(target) == before


def test_an_array_that_was_deleted_is_built_again(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    (target / "spectrograms" / "7_bob_1.npy").unlink()
    assert build(recordings, target, DIGITS).built == 1
    assert "spectrograms/7_bob_1.npy" in files_of(target)


def test_processes_and_one_process_build_the_same_dataset(recordings: Path, tmp_path: Path) -> None:
    entries = []
    for jobs in (1, 2):
        build(recordings, tmp_path / str(jobs), DIGITS, jobs=jobs)
        with Dataset.open(tmp_path / str(jobs)) as opened:
            entries.append(opened.get_many(list(opened.ids())))
    assert entries[0] == entries[1]


def test_progress_goes_from_nothing_to_all(recordings: Path, target: Path) -> None:
    seen: list[tuple[int, int]] = []
    build(recordings, target, DIGITS, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 12), (12, 12)]


def test_a_rebuild_that_is_interrupted_leaves_the_dataset_unfinished_until_it_is_continued(
    recordings: Path, target: Path
) -> None:
    build(recordings, target, DIGITS)
    write_noise(recordings / "3_ann_0.wav", seed=99)

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(recordings, target, DIGITS, progress=interrupt)
    with pytest.raises(DatasetError, match="was not built to the end"):
        Dataset.open(target)
    assert build(recordings, target, DIGITS).reused == 12
    assert len(ids_of(target)) == 12


def test_another_preset_is_refused_and_harms_nothing(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    with pytest.raises(DatasetError, match=r"it has sample_rate_hz 8000, not 22050; .*choose another folder"):
        build(recordings, target, preset("course"))
    assert len(ids_of(target)) == 12


def test_a_folder_with_other_files_is_not_taken_for_a_dataset(recordings: Path) -> None:
    before = sorted(recordings.iterdir())
    with pytest.raises(DatasetError, match="holds files but no dataset"):
        build(recordings, recordings, DIGITS)
    assert sorted(recordings.iterdir()) == before


def test_no_recordings_is_an_error_that_leaves_the_folder_free(audio: Path, target: Path) -> None:
    with pytest.raises(DatasetError, match="holds no usable recording; it is empty"):
        build(audio, target, DIGITS)
    (audio / "a.txt").touch()
    with pytest.raises(DatasetError, match="no usable recording among 1 files of other kinds"):
        build(audio, target, DIGITS)
    (audio / "a.wav").write_text("text")
    with pytest.raises(DatasetError, match=r"none of the 1 recordings in .* can be read; the first: a\.wav: not"):
        build(audio, target, DIGITS)
    write_noise(audio / "b.wav")
    assert build(audio, target, preset("course")).built == 1


@pytest.mark.parametrize("name", ["missing", "file.wav"])
def test_recordings_that_are_no_folder_are_refused(tmp_path: Path, target: Path, name: str) -> None:
    write_noise(tmp_path / "file.wav")
    with pytest.raises(DatasetError, match="is not an existing folder of recordings"):
        build(tmp_path / name, target, DIGITS)
    assert not target.exists()


def test_recordings_that_vanish_all_at_once_do_not_empty_the_dataset(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    recordings.rename(recordings.with_name("moved"))
    recordings.mkdir()  # as an unmounted disk looks
    with pytest.raises(DatasetError, match="no usable recording"):
        build(recordings, target, DIGITS)
    assert len(ids_of(target)) == 12


def test_the_manifest_tells_format_parameters_and_counts(recordings: Path, target: Path) -> None:
    build(recordings, target, DIGITS)
    manifest = json.loads((target / "dataset.json").read_text())
    assert manifest["format"] == 1
    assert manifest["preset"] == "digits"
    assert manifest["features"] == DIGITS.as_dict()
    assert manifest["counts"] == {"spectrograms": 12, "cut": 0, "silent": 0, "unreadable": 0, "skipped": 0}
    assert str(recordings) not in json.dumps(manifest)


def test_nothing_unfinished_is_left_behind(recordings: Path, target: Path) -> None:
    report = build(recordings, target, DIGITS)
    assert isinstance(report, BuildReport)
    assert sorted(path.name for path in target.iterdir()) == ["dataset.json", "index.sqlite", "spectrograms"]


def test_a_build_that_was_interrupted_before_its_first_row_goes_on_in_its_folder(audio: Path, target: Path) -> None:
    write_noise(audio / "a.wav")
    with pytest.raises(KeyboardInterrupt), DatasetWriter.open(target, DIGITS, origin="build") as writer:  # noqa: PT012  it is left by an interrupt
        early = writer.folder / "spectrograms" / "a.npy"
        early.parent.mkdir()
        early.write_bytes(b"written by a process whose rows were not recorded yet")
        raise KeyboardInterrupt
    assert build(audio, target, DIGITS).built == 1
    with Dataset.open(target) as dataset:
        read_spectrogram(dataset, dataset.get("a"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_frames": 127}, r"^n_frames 127: expected 128, which is 1 \+ n_samples // hop_length"),
        ({"hop_length": 65}, "^n_frames 128: expected 126"),
        ({"n_samples": 1}, "^n_frames 128: expected 1"),
        ({"n_bins": 130}, "^n_bins 130: expected at most 129"),
        ({"hop_length": 512, "n_frames": 16}, "^hop_length 512: expected at most n_fft, 256"),
        ({"n_samples": 128, "n_frames": 3}, "^n_fft 256: expected at most n_samples, 128"),
        ({"kind": "log-mel", "sample_rate_hz": 44_100}, "128 mel bands are too many for n_fft 256"),
        ({"kind": "cepstrum"}, "^kind 'cepstrum': expected one of stft-db, log-mel"),
        ({"hop_length": 0}, "^hop_length: expected a whole number from 1"),
        ({"range_db": float("inf")}, "^range_db: expected"),
    ],
)
def test_features_whose_numbers_contradict_each_other_build_nothing(
    recordings: Path, target: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        build(recordings, target, replace(DIGITS, **change))
    assert not target.exists()


@pytest.mark.parametrize("n_bytes", [0, 100, 300, 65_000, 70_000])
def test_a_spectrogram_of_another_size_is_built_again(audio: Path, target: Path, n_bytes: int) -> None:
    for name in ("7_ann_0", "7_ann_1"):
        write_noise(audio / f"{name}.wav", seed=1)
    build(audio, target, DIGITS)
    os.truncate(target / "spectrograms" / "7_ann_0.npy", n_bytes)
    report = build(audio, target, DIGITS)
    assert (report.built, report.reused) == (1, 1)
    with Dataset.open(target) as opened:
        read_spectrogram(opened, opened.get("7_ann_0"))

"""What a survey finds in a folder of recordings."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.label_sources import LabelChoice
from wavemill.dataset.survey.survey import Survey, lengths_s, survey
from wavemill.errors import DatasetError

from .conftest import write_noise
from .test_marks import a_renamed_batch

RATE_HZ = 44_100


def write_tone(path: Path, *, hz: float, duration_s: float = 0.5, rate_hz: int = RATE_HZ, peak: float = 0.5) -> None:
    """Write a tone that fades in and out, so that its spectrum is narrow."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n_samples = int(duration_s * rate_hz)
    tone = peak * np.sin(2 * np.pi * hz * np.arange(n_samples) / rate_hz) * np.hanning(n_samples)
    soundfile.write(path, tone, rate_hz, subtype="FLOAT")


def forget_length(flac: Path) -> None:
    """Zero the number of samples in STREAMINFO, 36 bits, as a program that writes to a pipe leaves it."""
    content = bytearray(flac.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    flac.write_bytes(content)


def test_rates_channels_lengths_and_levels_are_measured(tmp_path: Path) -> None:
    for k, hz in enumerate((500, 1_000, 5_000)):
        write_tone(tmp_path / f"{k}.wav", hz=hz, duration_s=0.5 + k)
    soundfile.write(tmp_path / "stereo.flac", np.full((24_000, 2), 0.25), 48_000)
    found = survey(tmp_path)
    assert (found.recordings, found.opened, found.measured, found.readable) == (4, 4, 4, 4)
    assert found.rates == {44_100: 3, 48_000: 1}
    assert found.channels == {1: 3, 2: 1}
    assert found.length_s.least == 0.5
    assert found.length_s.greatest == 2.5
    assert found.total_s == pytest.approx(0.5 + 1.5 + 2.5 + 0.5)
    assert found.peak_dbfs.greatest == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert found.rms_dbfs.greatest == pytest.approx(20 * np.log10(0.25), abs=0.01)


def test_bandwidth_is_the_highest_frequency_within_60_db(tmp_path: Path) -> None:
    write_tone(tmp_path / "low.wav", hz=3_000)
    [bandwidth_hz] = survey(tmp_path).bandwidths_hz
    assert bandwidth_hz == pytest.approx(3_000, abs=150)
    write_noise(tmp_path / "white.wav", rate_hz=RATE_HZ)
    assert survey(tmp_path).bandwidth_hz.greatest == pytest.approx(RATE_HZ / 2, rel=0.02)


def test_a_recording_that_begins_abruptly_has_no_more_bandwidth(tmp_path: Path) -> None:
    tone = np.cos(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)
    soundfile.write(tmp_path / "cut.wav", 0.5 * tone, RATE_HZ, subtype="FLOAT")
    [bandwidth_hz] = survey(tmp_path).bandwidths_hz
    assert bandwidth_hz < 1_000


def test_silence_has_no_bandwidth_and_is_counted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(8_000), 8_000)
    found = survey(tmp_path)
    assert found.silent == 1
    assert found.bandwidth_hz is None
    assert found.quiet_share == 1


def test_the_middle_of_a_long_recording_is_measured(tmp_path: Path) -> None:
    long = np.zeros(60 * 8_000)
    long[28 * 8_000 : 32 * 8_000] = 0.5
    soundfile.write(tmp_path / "a.wav", long, 8_000)
    found = survey(tmp_path)
    assert found.silent == 0
    assert found.length_s.greatest == 60


def test_a_long_stream_without_a_length_is_measured_from_its_start(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.flac", duration_s=60)
    forget_length(tmp_path / "a.flac")
    found = survey(tmp_path)
    assert found.length_s.greatest == 60
    assert found.measured == 1


def test_of_a_large_folder_a_sample_is_opened_and_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    for k in range(30):
        write_noise(tmp_path / f"{k}.wav", seed=k, duration_s=0.1 + k / 1_000)
    found = survey(tmp_path, most_headers=10, most_measured=4)
    assert (found.recordings, found.opened, found.measured) == (30, 10, 4)
    assert found.total_s == pytest.approx(3 * sum(found.durations_s))
    shutil.copytree(tmp_path, tmp_path.parent / "elsewhere")
    assert survey(tmp_path.parent / "elsewhere", most_headers=10).durations_s == found.durations_s
    assert survey(tmp_path, seed=1, most_headers=10).durations_s != found.durations_s


def test_copies_are_found_by_content(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", seed=1)
    write_noise(tmp_path / "b.wav", seed=2)  # as long, but another sound
    (tmp_path / "in").mkdir()
    shutil.copy(tmp_path / "a.wav", tmp_path / "in/c.wav")
    assert survey(tmp_path).copies == [["a.wav", "in/c.wav"]]


def test_a_stream_that_does_not_know_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", duration_s=1.5)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[40:44] = struct.pack("<I", 0)  # the size of the samples, as of a program that writes to a pipe
    (tmp_path / "a.wav").write_bytes(content)
    assert survey(tmp_path).length_s.greatest == 1.5


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.flac", duration_s=1.5)
    forget_length(tmp_path / "a.flac")
    assert survey(tmp_path).length_s.greatest == 1.5
    assert lengths_s(tmp_path) == [1.5]


def test_the_length_is_that_of_the_sound_when_a_file_is_cut_off(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 8_000)
    content = (tmp_path / "a.mp3").read_bytes()
    (tmp_path / "a.mp3").write_bytes(content[: len(content) // 2])  # its header still says 2 s
    assert 0.5 < survey(tmp_path).length_s.greatest < 1.1


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda folder: None, "holds no usable recording; it is empty"),
        (lambda folder: (folder / "a.txt").touch(), "holds no usable recording among 1 files of other kinds"),
        (lambda folder: (folder / "a.wav").touch(), "none of the 1 recordings looked at"),
        (lambda folder: shutil.rmtree(folder), "is not an existing folder"),
    ],
)
def test_a_folder_without_sound_is_one_sentence(tmp_path: Path, write: object, said: str) -> None:
    folder = tmp_path / "audio"
    folder.mkdir()
    write(folder)  # type: ignore[operator]
    with pytest.raises(DatasetError, match=said):
        survey(folder)


def test_unreadable_recordings_are_named_and_do_not_count(tmp_path: Path) -> None:
    write_noise(tmp_path / "good.wav")
    (tmp_path / "header.wav").write_text("no sound")
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8_000, subtype="FLOAT")
    found = survey(tmp_path)
    assert [path for path, _ in found.unreadable] == ["header.wav", "nan.wav"]
    assert (found.opened, found.readable, found.measured) == (3, 1, 1)


def test_all_nan_is_as_unreadable_as_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), 8_000, subtype="FLOAT")
    with pytest.raises(DatasetError, match=r"nan\.wav"):
        survey(tmp_path)


def test_outputs_of_wavemill_are_left_out_or_named(tmp_path: Path) -> None:
    write_noise(tmp_path / "audio/real.wav")
    own = a_renamed_batch(tmp_path / "audio")
    found = survey(tmp_path / "audio")
    assert (found.recordings, found.mark) == (1, None)
    assert found.skipped[0][0] == str(own.relative_to(tmp_path / "audio"))
    assert survey(own).mark == "holds outputs of wavemill"


def label_names(found: Survey) -> dict[str, tuple[int, bool]]:
    return {label.name: (label.values, label.numbers) for label in found.labels.found}


def test_labels_are_found_in_a_table(tmp_path: Path) -> None:
    for name in ("a b", "c", "d"):
        write_noise(tmp_path / f"{name}.wav")
    (tmp_path / "metadata.csv").write_text("file_name,pitch,player\na b.wav,60,ann\nc.wav,61,bob\nelse.wav,62,bob\n")
    found = survey(tmp_path)
    assert label_names(found) == {"pitch": (2, True), "player": (2, False)}
    assert found.labels.table == str(tmp_path / "metadata.csv")
    assert found.labels.without_row == 1


def test_labels_are_found_in_names_and_folders(tmp_path: Path) -> None:
    for digit in (3, 7):
        for k in range(3):
            write_noise(tmp_path / f"digits/{digit}_ann_{k}.wav", seed=k)
            write_noise(tmp_path / f"drums/{('kick', 'snare')[digit == 7]}/hit {k}.wav", seed=k)
    assert label_names(survey(tmp_path / "digits")) == {
        "digit": (2, False),
        "speaker": (1, False),
        "index": (3, False),
    }
    drums = survey(tmp_path / "drums")
    assert label_names(drums) == {"label": (2, False)}
    assert drums.labels.from_folders


def test_names_with_parts_give_a_pattern_that_reads_them(tmp_path: Path) -> None:
    for k, name in enumerate(("kick_01_loud", "kick_02_soft", "snare_01_soft")):
        write_noise(tmp_path / f"{name}.wav", seed=k)
    pattern = survey(tmp_path).labels.possible_pattern
    assert pattern == "{part1}_{part2:d}_{part3}"
    found = survey(tmp_path, labels=LabelChoice(pattern=pattern))
    assert label_names(found) == {"part1": (2, False), "part2": (2, True), "part3": (2, False)}


def test_a_survey_is_json_without_its_single_lengths(tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav")
    values = json.loads(json.dumps(survey(tmp_path).as_dict()))
    assert values["length_s"]["median"] == 0.2
    assert "durations_s" not in values

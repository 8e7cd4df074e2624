from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.audio.features import extract, pad_or_cut
from wavemill.audio.load import load_recording
from wavemill.dataset import extents
from wavemill.dataset.build import build
from wavemill.dataset.decibels import read_db
from wavemill.dataset.extents import Long, frames_of, usual_long
from wavemill.dataset.huge_reader import open_huge
from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError, SilentSpectrogramError, SpectrogramError
from wavemill.feature_options import FeatureOptions, with_options
from wavemill.presets import PRESETS, preset, samples_of
from wavemill.vae.training.dataset_source import DatasetSource

DIGITS = preset("digits")  # frames of 8,128 samples
LENGTHS = {"short": 700, "frame": 8_128, "long": 30_001}


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, n_samples in LENGTHS.items():
        soundfile.write(folder / f"{name}.wav", 0.1 * rng.standard_normal(n_samples), 8_000, subtype="FLOAT")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


@pytest.mark.parametrize("packed", [False, True])
def test_kept_recordings_have_spectrograms_of_their_own_length(audio: Path, target: Path, packed: bool) -> None:
    report = build(audio, target, DIGITS, long="keep", packed=packed)
    assert report.cut == 0
    with Dataset.open(target) as dataset:
        entries = {name: dataset.get(name) for name in LENGTHS}
        spectrograms = {name: read_db(dataset, entry) for name, entry in entries.items()}
    assert {name: round(entry.duration_s * 8_000) for name, entry in entries.items()} == LENGTHS
    assert {name: db.shape for name, db in spectrograms.items()} == {
        "short": (128, 16),
        "frame": (128, 128),
        "long": (128, 480),
    }
    signal = load_recording(audio / "long.wav", DIGITS, longest_s=10).signal
    expected = extract(pad_or_cut(signal, samples_of(DIGITS, 480)), DIGITS)
    np.testing.assert_allclose(spectrograms["long"], expected, atol=1e-3)
    assert build(audio, target, DIGITS).reused == 3


def test_split_recordings_have_a_spectrogram_for_each_frame(audio: Path, target: Path) -> None:
    (audio / "metadata.csv").write_text("file_name,word\nlong.wav,seven\n")
    build(audio, target, DIGITS, long="split")
    with Dataset.open(target) as dataset:
        assert list(dataset.ids()) == ["frame", "long.0000", "long.0001", "long.0002", "long.0003", "short"]
        last = dataset.get("long.0003")
        assert list(dataset.ids({"word": "seven"})) == ["long.0000", "long.0001", "long.0002", "long.0003"]
        db = read_db(dataset, last)
    assert round(last.duration_s * 8_000) == 30_001 - 3 * 8_128
    tail = load_recording(audio / "long.wav", DIGITS, longest_s=10).signal[3 * 8_128 :]
    np.testing.assert_allclose(db, extract(pad_or_cut(tail, 8_128), DIGITS), atol=1e-3)


def test_training_holds_out_all_frames_of_a_split_recording_or_none(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS, long="split")
    with Dataset.open(target) as dataset:
        assert DatasetSource(dataset).recordings == [0, 1, 1, 1, 1, 2]
    (audio / "frame.wav").unlink()
    (audio / "short.wav").unlink()
    build(audio, target, DIGITS, prune=True)
    with Dataset.open(target) as dataset:
        assert DatasetSource(dataset).recordings == [0, 1, 2, 3], "one recording cannot be on both sides"


def test_parts_of_a_recording_that_became_shorter_are_removed(audio: Path, target: Path) -> None:
    build(audio, target, DIGITS, long="split")
    soundfile.write(audio / "long.wav", 0.1 * np.sin(np.arange(9_000)), 8_000)
    report = build(audio, target, DIGITS)
    assert (report.built, report.reused, report.removed) == (2, 2, 2)
    with Dataset.open(target) as dataset:
        assert list(dataset.ids()) == ["frame", "long.0000", "long.0001", "short"]


@pytest.mark.parametrize("prune", [False, True])
def test_parts_of_a_recording_that_cannot_be_read_now_are_kept(audio: Path, target: Path, prune: bool) -> None:
    build(audio, target, DIGITS, long="split")
    (audio / "long.wav").write_bytes(b"no sound")
    report = build(audio, target, DIGITS, prune=prune)
    assert (report.reused, report.removed, report.kept) == (2, 0, 4)
    assert [name for name, _ in report.unreadable] == ["long.wav"]
    with Dataset.open(target) as dataset:
        assert list(dataset.ids()) == ["frame", "long.0000", "long.0001", "long.0002", "long.0003", "short"]


@pytest.mark.parametrize(("before", "after"), [("cut", "keep"), ("keep", "split")])
def test_a_dataset_keeps_its_way_with_long_recordings(audio: Path, target: Path, before: Long, after: Long) -> None:
    build(audio, target, DIGITS, long=before)
    with pytest.raises(DatasetError, match=f"was built with --long {before}, not {after}"):
        build(audio, target, DIGITS, long=after)


def test_only_the_presets_of_digits_cut_by_default() -> None:
    assert {name for name, features in PRESETS.items() if usual_long(features) == "cut"} == {
        "course",
        "digits",
        "digits-mel",
    }
    assert usual_long(with_options(DIGITS, FeatureOptions(duration_s=3))) == "keep"


@pytest.mark.parametrize("n_samples", [1, 255, 256, 960, 961, 8_127, 8_128, 8_129, 100_000])
def test_a_kept_spectrogram_holds_all_samples(n_samples: int) -> None:
    n_frames = frames_of(DIGITS, "keep", n_samples)
    assert samples_of(DIGITS, n_frames) >= max(n_samples, DIGITS.n_fft)
    assert n_frames <= max(128, 1 + n_samples // 64 + 17)


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat spectrograms of more than 200 frames as huge."""
    monkeypatch.setattr(extents, "MOST_NUMBERS", 200 * 128)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025])
def test_a_huge_spectrogram_is_the_same_as_one_that_is_made_at_once(
    audio: Path, target: Path, small_limit: None, rate_hz: int
) -> None:
    signal, _ = soundfile.read(audio / "long.wav")
    soundfile.write(audio / "long.wav", np.stack([signal, 0.5 * signal], 1), rate_hz, subtype="FLOAT")
    build(audio, target, DIGITS, long="keep", jobs=1)
    with Dataset.open(target) as dataset:
        entry = dataset.get("long")
        whole = read_db(dataset, entry)  # all at once, as for any other spectrogram
        with open_huge(dataset, entry) as huge:
            huge.check()
            blocks = [huge.read_db(first, min(first + 100, huge.n_frames)) for first in range(0, huge.n_frames, 100)]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)
    loaded = load_recording(audio / "long.wav", DIGITS, longest_s=10).signal
    assert abs(round(entry.duration_s * 8_000) - len(loaded)) <= 1
    assert entry.peak == pytest.approx(np.abs(loaded).max(), rel=1e-3)
    expected = extract(pad_or_cut(loaded, samples_of(DIGITS, whole.shape[1])), DIGITS)
    np.testing.assert_allclose(whole, expected, atol=0.1)


@pytest.mark.parametrize("n_samples", [12_000, 12_287, 12_288, 12_500, 12_736, 12_737, 12_800, 12_801])
def test_what_is_read_as_huge_was_written_as_huge(audio: Path, target: Path, small_limit: None, n_samples: int) -> None:
    soundfile.write(audio / "long.wav", 0.1 * np.sin(np.arange(n_samples)), 8_000)
    build(audio, target, DIGITS, long="keep", jobs=1)
    with Dataset.open(target) as dataset:
        entry = dataset.get("long")
        if extents.is_huge(dataset.shape_of(entry)):
            with open_huge(dataset, entry) as huge:
                huge.check()
        else:
            assert read_db(dataset, entry).shape[1] <= 200


def test_a_damaged_huge_file_is_refused(audio: Path, target: Path, small_limit: None) -> None:
    build(audio, target, DIGITS, long="keep", jobs=1)
    path = target / "spectrograms" / "long.npy"
    data = bytearray(path.read_bytes())
    data[5_000] ^= 1
    path.write_bytes(data)
    with Dataset.open(target) as dataset:
        with open_huge(dataset, dataset.get("long")) as huge, pytest.raises(SpectrogramError, match="has changed"):
            huge.check()
        path.write_bytes(data[:-4])
        with open_huge(dataset, dataset.get("long")) as huge, pytest.raises(SpectrogramError, match="truncated"):
            huge.check()


def test_huge_silence_is_refused_as_silence(audio: Path, target: Path, small_limit: None) -> None:
    soundfile.write(audio / "long.wav", np.zeros(30_000), 8_000)
    assert build(audio, target, DIGITS, long="keep", jobs=1).silent == 1
    with (
        Dataset.open(target) as dataset,
        open_huge(dataset, dataset.get("long")) as huge,
        pytest.raises(SilentSpectrogramError),
    ):
        huge.check()


def test_a_huge_recording_is_refused_in_a_packed_dataset_alone(audio: Path, target: Path, small_limit: None) -> None:
    report = build(audio, target, DIGITS, long="keep", packed=True, jobs=1)
    assert report.built == 2
    assert report.unreadable == [
        ("long.wav", "is too long for a packed dataset; build without --packed, or with --long split")
    ]

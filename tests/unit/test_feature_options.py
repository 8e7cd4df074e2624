from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from wavemill.errors import UsageError
from wavemill.feature_options import FeatureOptions, mismatch, read_features, with_options
from wavemill.presets import PRESETS, preset

DIGITS = preset("digits")


def test_without_options_features_stay_as_they_are() -> None:
    assert with_options(DIGITS, FeatureOptions()) is DIGITS


def test_another_rate_keeps_window_and_frame_in_seconds() -> None:
    music = with_options(DIGITS, FeatureOptions(sample_rate_hz=44_100))
    assert (music.n_fft, music.hop_length) == (1_024, 256)
    assert music.duration_s >= DIGITS.duration_s
    assert music.preset == "own"


@pytest.mark.parametrize("duration_s", [0.01, 0.5, 1.0, 1.7, 20.0])
def test_a_frame_holds_the_duration_and_can_be_halved_three_times(duration_s: float) -> None:
    features = with_options(DIGITS, FeatureOptions(duration_s=duration_s))
    assert features.duration_s >= duration_s
    assert features.n_frames % 8 == 0
    features.require_consistent()


def test_what_equals_a_preset_has_its_name() -> None:
    assert with_options(DIGITS, FeatureOptions(mel_bands=80)).preset == "digits-mel"
    assert with_options(preset("digits-mel"), FeatureOptions(mel_bands=0)) == DIGITS


def test_a_highest_frequency_keeps_fewer_rows() -> None:
    narrow = with_options(preset("course"), FeatureOptions(fmax_hz=4_000))
    assert narrow.n_bins == 93
    assert narrow.shape[1] == preset("course").shape[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FeatureOptions(n_fft=401), "the nearest are 400 and 402"),
        (FeatureOptions(hop_length=200), "use a hop length of 128, or an n_fft of 400"),
        (FeatureOptions(fmin_hz=50), "only mel bands can begin above 0 Hz"),
        (FeatureOptions(fmax_hz=9_000), "at most 4000, half the sample rate"),
        (FeatureOptions(mel_bands=40, fmin_hz=4_000), "expected less than fmax_hz"),
        (FeatureOptions(duration_s=-1), "duration_s: expected a number over 0"),
        (FeatureOptions(duration_s=float("nan")), "duration_s: expected a number over 0"),
        (FeatureOptions(duration_s=1e5), "too large"),
        (FeatureOptions(range_db=2_000), "range_db: expected 0 to"),
    ],
)
def test_contradictions_are_refused_with_what_works(options: FeatureOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_options(DIGITS, options)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("f.toml", 'preset = "digits"\nsample_rate_hz = 16000\nduration_s = 1.5'),
        ("f.json", '{"preset": "digits", "sample_rate_hz": 16000, "duration_s": 1.5}'),
        ("f.json", json.dumps(preset("notes").as_dict())),
        ("model.json", json.dumps({"kind": "vae", "features": preset("notes").as_dict()})),
    ],
)
def test_a_file_gives_parts_or_all_of_the_features(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_features(tmp_path / name) == preset("notes")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.json", "[1]", "expected an object"),
        ("f.json", "{", "cannot be read"),
        ("f.toml", "window = 3", "window: expected preset"),
        ("f.toml", "n_fft = 256.5", "n_fft: expected a whole number"),
        ("f.toml", 'preset = "loud"', "there is no preset 'loud'"),
        ("f.yaml", "n_fft: 256", "expected a .json or a .toml file"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message):
        read_features(tmp_path / name)


def test_features_are_equal_by_content_and_not_by_name() -> None:
    assert replace(DIGITS, preset="mine") == DIGITS
    assert len({DIGITS, replace(DIGITS, preset="mine")}) == 1
    assert replace(DIGITS, range_db=60) != DIGITS


def test_a_mismatch_names_the_fields_and_the_command() -> None:
    said = mismatch(
        PRESETS["digits"], replace(DIGITS, preset="own", hop_length=32, n_frames=255), source="m/model.json"
    )
    assert said == (
        "hop_length 32, not 64; n_frames 255, not 128; build a dataset that fits with: "
        "wavemill dataset build AUDIO_DIR DATASET --preset digits"
    )
    own = replace(DIGITS, preset="own", range_db=60.0)
    assert mismatch(own, DIGITS, source="m/model.json").endswith("--features m/model.json")

from __future__ import annotations

import subprocess
import sys

import pytest

from wavemill.errors import UsageError
from wavemill.presets import DEFAULT_PRESET, PRESETS, Features, preset

every_preset = pytest.mark.parametrize("features", PRESETS.values(), ids=PRESETS)


@every_preset
def test_a_preset_knows_its_name_and_survives_json(features: Features) -> None:
    assert preset(features.preset) is features
    assert Features.from_dict(features.as_dict()) == features


@every_preset
def test_the_frames_are_those_of_a_centred_transform(features: Features) -> None:
    assert features.n_frames == 1 + features.n_samples // features.hop_length
    assert features.n_bins <= features.n_fft // 2


def test_the_mel_preset_covers_the_same_sound_as_the_default_with_fewer_numbers() -> None:
    default, mel = preset(DEFAULT_PRESET), preset("digits-mel")
    assert (mel.sample_rate_hz, mel.n_fft, mel.hop_length) == (8_000, default.n_fft, default.hop_length)
    assert (mel.n_samples, mel.n_frames, mel.kind) == (default.n_samples, default.n_frames, "log-mel")
    assert mel.n_bins < default.n_bins


def test_features_written_before_there_were_kinds_are_decibels_of_the_stft() -> None:
    values = preset("digits").as_dict()
    del values["kind"]
    assert Features.from_dict(values) == preset("digits")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "cepstrum"}, "features of kind 'cepstrum' are not known"),
        ({"kind": ["log-mel"]}, "are not known"),
        ({"colour": 1}, r"\['colour'\] are not known"),
    ],
)
def test_features_of_a_later_version_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Features.from_dict(preset("digits").as_dict() | change)


def test_missing_features_are_named() -> None:
    with pytest.raises(UsageError, match=r"incomplete.*n_fft"):
        Features.from_dict({key: value for key, value in preset("digits").as_dict().items() if key != "n_fft"})


def test_presets_cost_the_light_side_no_numeric_library() -> None:
    program = (
        "import sys, wavemill.presets; "
        "sys.exit(bool({'numpy', 'scipy', 'librosa', 'numba', 'soundfile'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

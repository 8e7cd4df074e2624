"""What is recommended for which recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from wavemill.dataset.suggestion import MOST_NUMBERS, Suggestion, fitting_duration_s, suggest
from wavemill.dataset.survey.labels import LabelsFound
from wavemill.dataset.survey.survey import Spread, Survey
from wavemill.feature_options import FeatureOptions, with_options
from wavemill.presets import PRESETS, preset

_ONE = Spread(least=1, median=1, high=1, greatest=1)


def found(*durations_s: float, rate_hz: int = 44_100, used_hz: float | None = None, **changes: object) -> Survey:
    """Return a survey of recordings that use `used_hz`; by default all of their bandwidth."""
    used_hz = rate_hz / 2 if used_hz is None else used_hz
    count = len(durations_s)
    whole = Survey(
        audio_dir="audio",
        mark=None,
        recordings=count,
        opened=count,
        measured=count,
        readable=count,
        rates={rate_hz: count},
        channels={1: count},
        durations_s=sorted(durations_s),
        bandwidths_hz=[used_hz] * count,
        length_s=_ONE,
        total_s=sum(durations_s),
        bandwidth_hz=Spread(least=used_hz, median=used_hz, high=used_hz, greatest=used_hz),
        peak_dbfs=_ONE,
        rms_dbfs=_ONE,
        silent=0,
        quiet_share=0,
        copies=[],
        unreadable=[],
        skipped=[],
        ignored=0,
        labels=LabelsFound(),
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def suggested(survey: Survey, tmp_path: Path) -> Suggestion:
    return suggest(survey, cwd=tmp_path)


def test_the_rate_is_that_of_most_recordings(tmp_path: Path) -> None:
    assert suggested(found(1, 1), tmp_path).features.sample_rate_hz == 44_100
    mixed = found(1, 1, 1, rates={48_000: 2, 44_100: 1})
    assert suggested(mixed, tmp_path).features.sample_rate_hz == 48_000
    high = suggested(found(1, rate_hz=96_000), tmp_path)
    assert high.features.sample_rate_hz == 48_000
    assert any("50% of it" in reason for reason in high.reasons)


@pytest.mark.parametrize(("used_hz", "rate_hz"), [(3_400, 8_000), (3_900, 11_025), (7_000, 16_000), (19_000, 44_100)])
def test_a_lower_rate_is_enough_if_it_holds_what_is_used_with_a_margin(
    used_hz: float, rate_hz: int, tmp_path: Path
) -> None:
    assert suggested(found(1, used_hz=used_hz), tmp_path).features.sample_rate_hz == rate_hz


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_windows_last_about_32_ms_and_overlap_by_three_quarters(rate_hz: int, tmp_path: Path) -> None:
    features = suggested(found(1, 2, 3, rate_hz=rate_hz), tmp_path).features
    assert features.n_fft & (features.n_fft - 1) == 0
    assert 0.020 <= features.n_fft / rate_hz <= 0.047
    assert features.hop_length == features.n_fft // 4
    assert features.kind == "stft-db"


def test_a_frame_holds_nearly_all_recordings(tmp_path: Path) -> None:
    suggestion = suggested(found(*[0.5] * 99, 3, rate_hz=16_000), tmp_path)
    assert 0.5 <= suggestion.features.duration_s < 0.6
    assert suggestion.share_whole == 0.99
    assert suggestion.long is None
    assert "--long" not in suggestion.command


def test_a_frame_has_at_most_2_to_17_numbers_and_longer_recordings_stay_whole(tmp_path: Path) -> None:
    suggestion = suggested(found(*[1] * 50, *[20] * 50), tmp_path)
    assert suggestion.numbers <= MOST_NUMBERS
    assert suggestion.share_whole == 0.5
    assert suggestion.long == "keep"
    assert "--long keep" in suggestion.command


def test_a_preset_is_recommended_by_its_name_where_it_fits(tmp_path: Path) -> None:
    notes = suggested(found(*[1.5] * 10, rate_hz=16_000), tmp_path)
    assert notes.features == preset("notes")
    assert notes.command == "wavemill dataset build audio data/audio --preset notes"
    digits = suggested(found(*[0.9] * 10, rate_hz=8_000), tmp_path)
    assert digits.features == preset("digits")


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("duration_s", [0.01, 0.3, 1.0165, 1.5, 7.77])
def test_the_options_of_the_command_give_the_recommended_features(
    rate_hz: int, duration_s: float, tmp_path: Path
) -> None:
    suggestion = suggested(found(duration_s, rate_hz=rate_hz), tmp_path)
    words = suggestion.command.split()
    options = dict(zip(words[5::2], words[6::2], strict=True))
    rate, length = options.get("--sample-rate"), options.get("--duration")
    given = FeatureOptions(
        sample_rate_hz=None if rate is None else int(rate), duration_s=None if length is None else float(length)
    )
    assert with_options(PRESETS[options["--preset"]], given) == suggestion.features


def test_numbers_bytes_and_time_count_the_whole_folder(tmp_path: Path) -> None:
    sampled = replace(found(*[1.5] * 10, rate_hz=16_000), recordings=1_000)
    suggestion = suggested(sampled, tmp_path)
    assert suggestion.numbers == 256 * 192
    assert suggestion.n_bytes == 4 * 256 * 192 * 1_000
    assert 10 < suggestion.epoch_s < 60


def test_a_long_recording_costs_as_many_frames_as_it_lasts(tmp_path: Path) -> None:
    short, long = (suggested(found(*[1.0] * 9, one), tmp_path) for one in (20.0, 400.0))
    assert short.features == long.features
    frames = [2 + one / long.features.duration_s for one in (20, 400)]
    assert long.epoch_s / short.epoch_s == pytest.approx((9 + frames[1]) / (9 + frames[0]), rel=0.1)
    spectra = 400 * 44_100 / long.features.hop_length
    assert long.n_bytes - short.n_bytes == pytest.approx(4 * long.features.n_bins * spectra * 0.95, rel=0.01)


def test_very_many_recordings_are_packed(tmp_path: Path) -> None:
    assert "--packed" in suggested(replace(found(1), recordings=200_000), tmp_path).command
    assert "--packed" not in suggested(replace(found(1), recordings=20_000), tmp_path).command


def test_silent_recordings_are_said_to_say_nothing(tmp_path: Path) -> None:
    suggestion = suggested(found(1, bandwidth_hz=None, bandwidths_hz=[]), tmp_path)
    assert suggestion.features.sample_rate_hz == 44_100
    assert any("silent" in reason for reason in suggestion.reasons)


def test_the_dataset_goes_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "data/audio").mkdir(parents=True)
    assert suggest(found(1), cwd=tmp_path).command.startswith("wavemill dataset build audio data/audio-dataset ")
    (tmp_path / "data/audio-dataset").mkdir()
    assert " data/audio-dataset-2 " in suggest(found(1), cwd=tmp_path).command


def test_auto_takes_the_length_that_nearly_all_have() -> None:
    digits = preset("digits")
    assert fitting_duration_s([0.5] * 99 + [3.0], digits) == 0.5
    assert fitting_duration_s([0.5] * 98 + [2.0, 3.0], digits) == 2
    windows = with_options(digits, FeatureOptions(duration_s=fitting_duration_s([1_000.0], digits)))
    assert windows == digits  # about a second
    music = preset("music")
    longest = with_options(music, FeatureOptions(duration_s=fitting_duration_s([2.9], music)))
    assert longest.n_bins * longest.n_frames == MOST_NUMBERS

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wavemill.dataset.index import Dataset
from wavemill.errors import NotFoundError, PresetMismatchError, UsageError
from wavemill.evaluation.clips import Clips, split
from wavemill.presets import PRESETS
from wavemill.recogniser.recordings import Recordings


def test_a_rule_divides_a_dataset(small_dataset: Path) -> None:
    with Dataset.open(small_dataset) as dataset:
        parts = split(dataset, "speaker=anna,ben")
    assert {entry.labels["speaker"] for entry in parts.held_out} == {"anna", "ben"}
    assert {entry.labels["speaker"] for entry in parts.others} == {"clara", "dan"}


@pytest.mark.parametrize("rule", ["speaker=nobody", "voice=anna", "anna", "index=0"])
def test_a_rule_that_divides_nothing_is_refused(small_dataset: Path, rule: str) -> None:
    with Dataset.open(small_dataset) as dataset, pytest.raises(UsageError, match=rule):
        split(dataset, rule)


def test_spectrograms_are_those_of_the_dataset_or_made_from_the_recordings(small_dataset: Path, clips: Path) -> None:
    digits, longer = PRESETS["digits"], replace(PRESETS["digits"], preset="wide", n_fft=512, n_bins=256)
    with Dataset.open(small_dataset) as dataset:
        entries = split(dataset, "digit=7").held_out
        with_recordings, without = Clips(dataset, Recordings(clips)), Clips(dataset, None)
        assert with_recordings.spectrograms(entries, longer).shape == (2, 256, 128)
        stored, made = without.spectrograms(entries, digits), with_recordings.spectrograms(entries, longer)
        assert np.abs(stored.max(axis=(1, 2)) + 6 - made.max(axis=(1, 2))).max() < 4  # twice the window: 6 dB
        with pytest.raises(PresetMismatchError, match="--recordings"):
            without.spectrograms(entries, longer)


def test_the_truth_is_the_recording_or_the_inverted_spectrogram_at_its_length(small_dataset: Path, clips: Path) -> None:
    with Dataset.open(small_dataset) as dataset:
        entries = split(dataset, "digit=7").held_out
        recorded = Clips(dataset, Recordings(clips)).truth(entries)
        inverted = Clips(dataset, None).truth(entries)
    for true, again in zip(recorded, inverted, strict=True):
        assert len(true) == len(again)
        assert np.sqrt(np.mean(again**2)) == pytest.approx(np.sqrt(np.mean(true**2)), rel=0.1)


def test_recordings_of_another_folder_are_named(small_dataset: Path, tmp_path: Path, clips: Path) -> None:
    (tmp_path / "other.wav").write_bytes((clips / "7_anna_0.wav").read_bytes())
    with Dataset.open(small_dataset) as dataset, pytest.raises(NotFoundError, match="7_anna_0"):
        Clips(dataset, Recordings(tmp_path)).truth(split(dataset, "digit=7").held_out)
    with pytest.raises(NotFoundError, match="no recordings"):
        Recordings(tmp_path / "nowhere")

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.errors import NotFoundError, PresetMismatchError, UsageError
from wavemill.evaluation.clips import Clips, Draw, judged_features, lengths_s, split
from wavemill.presets import PRESETS
from wavemill.recogniser.recordings import Recordings
from wavemill.vae.training.held_out import HeldOut


def test_a_rule_divides_a_dataset(small_dataset: Path) -> None:
    with Dataset.open(small_dataset) as dataset:
        parts = split(dataset, HeldOut.parse("speaker=anna,ben"))
    assert {entry.labels["speaker"] for entry in parts.held_out} == {"anna", "ben"}
    assert {entry.labels["speaker"] for entry in parts.others} == {"clara", "dan"}


def test_a_rule_may_have_spaces(small_dataset: Path) -> None:
    with Dataset.open(small_dataset) as dataset:
        assert (
            split(dataset, HeldOut.parse("speaker=anna, ben")).held_out
            == split(dataset, HeldOut.parse("speaker=anna,ben")).held_out
        )


def test_of_many_clips_a_part_is_drawn_that_does_not_depend_on_the_others(
    small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Dataset.open(small_dataset) as dataset:
        whole = split(dataset, HeldOut.parse("speaker=anna,ben"))
        monkeypatch.setattr("wavemill.evaluation.clips.MOST_HELD_OUT", 4)
        monkeypatch.setattr("wavemill.evaluation.clips.MOST_OTHERS", 3)
        part = split(dataset, HeldOut.parse("speaker=anna,ben"))
    assert (len(part.held_out), len(part.others)) == (4, 3)
    assert (part.all_held_out, part.all_others) == (len(whole.held_out), len(whole.others)) == (10, 10)
    assert {entry.spectrogram_id for entry in part.held_out} < {entry.spectrogram_id for entry in whole.held_out}
    again = Draw(4)
    for entry in [*reversed(whole.held_out), *part.held_out[:1]][:-1]:
        again.offer(entry)
    assert again.entries == part.held_out
    assert part.held_out != whole.held_out[:4]


def test_true_sounds_are_read_page_by_page(small_dataset: Path, clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavemill.evaluation.clips.PAGE_SIZE", 3)
    with Dataset.open(small_dataset) as dataset:
        entries, reader = split(dataset, HeldOut.parse("speaker=anna,ben")).others, Clips(dataset, Recordings(clips))
        pages = list(reader.truth_in_pages(entries))
        whole = reader.truth(entries)
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    for one, other in zip([sound for page in pages for sound in page], whole, strict=True):
        assert np.array_equal(one, other)


def test_a_clip_is_as_long_as_the_dataset_holds_it(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "recordings").mkdir()
    for name in ("7_anna_0.wav", "7_clara_0.wav"):
        signal, rate_hz = soundfile.read(clips / name)
        soundfile.write(
            tmp_path / "recordings" / name, np.concatenate([signal, signal, signal])[: rate_hz * 9 // 10], rate_hz
        )
    build(tmp_path / "recordings", tmp_path / "course", PRESETS["course"], jobs=1)
    with Dataset.open(tmp_path / "course") as dataset:
        entries = split(dataset, HeldOut.parse("speaker=anna")).held_out
        assert entries[0].duration_s < 0.75
        for reader in (Clips(dataset, Recordings(tmp_path / "recordings")), Clips(dataset, None)):
            assert lengths_s(reader.truth(entries), 22_050) == pytest.approx([entries[0].duration_s], abs=1e-3)


@pytest.mark.parametrize("rule", ["speaker=nobody", "voice=anna", "anna", "index=0"])
def test_a_rule_that_divides_nothing_is_refused(small_dataset: Path, rule: str) -> None:
    with Dataset.open(small_dataset) as dataset, pytest.raises(UsageError, match=rule):
        split(dataset, HeldOut.parse(rule))


def test_spectrograms_are_those_of_the_dataset_or_made_from_the_recordings(small_dataset: Path, clips: Path) -> None:
    digits, longer = PRESETS["digits"], replace(PRESETS["digits"], preset="wide", n_fft=512, n_bins=256)
    with Dataset.open(small_dataset) as dataset:
        entries = split(dataset, HeldOut.parse("digit=7")).held_out
        with_recordings, without = Clips(dataset, Recordings(clips)), Clips(dataset, None)
        assert [one.shape for one in with_recordings.spectrograms(entries, longer)] == [(256, 128)] * 2
        stored = np.stack(without.spectrograms(entries, digits))
        made = np.stack(with_recordings.spectrograms(entries, longer))
        assert np.abs(stored.max(axis=(1, 2)) + 6 - made.max(axis=(1, 2))).max() < 4  # twice the window: 6 dB
        with pytest.raises(PresetMismatchError, match="--recordings"):
            without.spectrograms(entries, longer)


def test_the_truth_is_the_recording_or_the_inverted_spectrogram_at_its_length(small_dataset: Path, clips: Path) -> None:
    with Dataset.open(small_dataset) as dataset:
        entries = split(dataset, HeldOut.parse("digit=7")).held_out
        recorded = Clips(dataset, Recordings(clips)).truth(entries)
        inverted = Clips(dataset, None).truth(entries)
    for true, again in zip(recorded, inverted, strict=True):
        assert len(true) == len(again)
        assert np.sqrt(np.mean(again**2)) == pytest.approx(np.sqrt(np.mean(true**2)), rel=0.1)


def test_recordings_of_another_folder_are_named(small_dataset: Path, tmp_path: Path, clips: Path) -> None:
    (tmp_path / "other.wav").write_bytes((clips / "7_anna_0.wav").read_bytes())
    with Dataset.open(small_dataset) as dataset, pytest.raises(NotFoundError, match="7_anna_0"):
        Clips(dataset, Recordings(tmp_path)).truth(split(dataset, HeldOut.parse("digit=7")).held_out)
    with pytest.raises(NotFoundError, match="no recordings"):
        Recordings(tmp_path / "nowhere")


def test_sounds_are_judged_at_the_datasets_own_rate_and_length(tmp_path: Path) -> None:
    assert judged_features(PRESETS["digits"]) == PRESETS["digits"]
    assert judged_features(PRESETS["digits-mel"]) == PRESETS["digits"]
    (tmp_path / "audio").mkdir()
    long, short = (np.sin(np.arange(n) * 0.2).astype(np.float32) * np.float32(0.3) for n in (80_000, 8_000))
    for name, signal in (("long", long), ("short", short)):
        soundfile.write(tmp_path / f"audio/{name}.wav", signal, 16_000)
    build(tmp_path / "audio", tmp_path / "dataset", PRESETS["notes"], jobs=1)
    with Dataset.open(tmp_path / "dataset") as dataset:
        entries = [dataset.get(name) for name in ("long", "short")]
        for reader in (Clips(dataset, Recordings(tmp_path / "audio")), Clips(dataset, None)):
            truth = reader.truth(entries)
            assert [len(one) for one in truth] == [80_000, 8_000]
            assert np.sqrt(np.mean(truth[0] ** 2)) == pytest.approx(np.sqrt(np.mean(long**2)), rel=0.05)

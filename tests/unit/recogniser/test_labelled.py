from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.presets import PRESETS
from wavemill.recogniser.labelled import labelled_sounds, parts_of, values_of
from wavemill.recogniser.recordings import Recordings


def items(*splits: str) -> list[dict[str, object]]:
    return [{"split": split, "pitch": 60 + k % 2, "name": f"n{k}"} for k, split in enumerate(splits)]


def test_parts_are_those_of_the_label_split() -> None:
    parts = parts_of(items("train", "test", "validation", "train"), None)
    assert parts.training.tolist() == [True, False, False, True]
    assert parts.calibration.tolist() == [False, False, True, False]
    assert parts.test.tolist() == [False, True, False, False]


@pytest.mark.parametrize("only", ["validation", "test"])
def test_a_part_that_is_missing_is_replaced_by_the_other(only: str) -> None:
    parts = parts_of(items("train", only), None)
    assert parts.calibration.tolist() == parts.test.tolist() == [False, True]


def test_a_rule_goes_before_the_split_and_without_either_one_is_asked_for() -> None:
    assert parts_of(items("train", "test", "train"), "pitch=60").test.tolist() == [True, False, True]
    unlabelled = [parts_of([{"pitch": 60 + i} for i in range(20)], None, seed) for seed in (0, 0, 1)]
    assert [(part.test.sum(), part.name) for part in unlabelled] == [(4, "a fifth at random")] * 3
    assert (unlabelled[0].test == unlabelled[1].test).all()
    assert (unlabelled[0].test != unlabelled[2].test).any()
    assert parts_of([{"pitch": 60}, {"pitch": 61}], None).test.sum() == 1
    with pytest.raises(UsageError, match="would hold out 0 of 2"):
        parts_of(items("train", "train"), None)


def test_recordings_without_the_labels_to_learn_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    for name in ("a", "b", "c", "d"):
        soundfile.write(tmp_path / f"audio/{name}.wav", np.sin(np.arange(8_000) * 0.2) * 0.3, 16_000)
    table = "file_name,kit,mood\na.wav,one,calm\nb.wav,two,\nc.wav,two,wild\n"
    (tmp_path / "audio/metadata.csv").write_text(table)
    build(tmp_path / "audio", tmp_path / "dataset", PRESETS["notes"], jobs=1)
    recordings = Recordings(tmp_path / "audio")
    with Dataset.open(tmp_path / "dataset") as dataset:
        assert [item["kit"] for item in labelled_sounds(recordings, dataset).labels] == ["one", "two", "two"]
        assert [item["kit"] for item in labelled_sounds(recordings, dataset, ["mood"]).labels] == ["one", "two"]
        with pytest.raises(UsageError, match=r"the labels genre \(labels found: kit, mood\)"):
            labelled_sounds(recordings, dataset, ["genre"])


def test_numbers_are_learnt_as_names_and_what_differs_in_every_sound_is_not() -> None:
    labels = items(*["train"] * 8)
    assert values_of(labels, np.ones(8, bool), ()) == {"pitch": ["60", "61"]}
    with pytest.raises(UsageError, match="not every recording has the label mood; all have: name, pitch"):
        values_of(labels, np.ones(8, bool), ["mood"])

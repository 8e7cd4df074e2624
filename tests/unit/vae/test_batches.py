from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import UsageError
from wavemill.presets import preset
from wavemill.vae.training.batches import Batches, in_order, split
from wavemill.vae.training.config import TrainingConfig

MIN_MAX = {"scheme": "min-max"}
LABELS = [{"index": str(i % 5)} for i in range(20)]


class CountingSource:
    """Spectrogram number i has its mark in column i."""

    features = preset("digits")
    labels = LABELS

    def __init__(self) -> None:
        self.read = []

    def read_db(self, indices: NDArray[np.int64]) -> FloatArray:
        self.read += list(indices)
        db = np.full((len(indices), 4, 20), -80, np.float32)
        db[np.arange(len(indices)), :, indices] = 0
        return db


def numbers(batch: FloatArray) -> list[int]:
    return batch[:, 0, :, 0].argmax(axis=1).tolist()


def test_an_epoch_shows_every_training_spectrogram_once_in_another_order() -> None:
    config = TrainingConfig(batch_size=5, augment=False)
    batches = Batches(CountingSource(), np.arange(20), MIN_MAX, config)
    epochs = [[n for batch in batches.epoch(e) for n in numbers(batch.x)] for e in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(20))
    assert epochs[0] != epochs[1]


def test_an_epoch_can_be_had_again_without_those_before() -> None:
    config = TrainingConfig(batch_size=6, seed=3)
    first, again = (Batches(CountingSource(), np.arange(20), MIN_MAX, config) for _ in range(2))
    for _ in first.epoch(0):
        pass
    for one, other in zip(first.epoch(7), again.epoch(7), strict=True):
        assert np.array_equal(one.x, other.x)


def test_only_one_batch_is_read_ahead() -> None:
    source = CountingSource()
    batches = Batches(source, np.arange(20), MIN_MAX, TrainingConfig(batch_size=5)).epoch(0)
    next(batches)
    assert len(source.read) <= 10
    batches.close()


def test_fewer_spectrograms_than_a_batch_still_make_one() -> None:
    batches = Batches(CountingSource(), np.arange(3), MIN_MAX, TrainingConfig(batch_size=32, augment=False))
    assert batches.steps_per_epoch == 1
    assert [len(batch.x) for batch in batches.epoch(0)] == [3]


def test_held_out_spectrograms_are_chosen_by_label() -> None:
    training, held_out = split(LABELS, TrainingConfig(validation_label="index=0,3"))
    assert held_out.tolist() == [0, 3, 5, 8, 10, 13, 15, 18]
    assert sorted([*training, *held_out]) == list(range(20))


def test_held_out_spectrograms_are_a_seeded_fraction() -> None:
    splits = [split(LABELS, TrainingConfig(validation_fraction=0.25, seed=seed))[1].tolist() for seed in (1, 1, 2)]
    assert len(splits[0]) == 5
    assert splits[0] == splits[1] != splits[2]


def test_a_split_label_is_honoured_and_what_is_for_tests_stays_out() -> None:
    parts = ["train"] * 4 + ["validation"] * 2 + ["test"] * 3
    labels = [{"split": part} for part in parts]
    training, held_out = split(labels, TrainingConfig())
    assert (training.tolist(), held_out.tolist()) == ([0, 1, 2, 3], [4, 5])
    training, held_out = split(labels, TrainingConfig(validation_label="split=test"))
    assert held_out.tolist() == [6, 7, 8], "a rule wins"
    training, held_out = split(labels[:4] + labels[6:], TrainingConfig(validation_fraction=0.25))
    assert sorted([*training, *held_out]) == [0, 1, 2, 3]


def test_what_another_split_holds_is_not_trained_on() -> None:
    labels = [{"split": part} for part in ("train", "holdout", "train", "validation", "holdout")]
    training, held_out = split(labels, TrainingConfig())
    assert (training.tolist(), held_out.tolist()) == ([0, 2], [3])
    with pytest.raises(UsageError, match=r"split=train .* but split=holdout"):
        split([{"split": "holdout"}] * 9, TrainingConfig())


def test_few_clips_hold_out_one() -> None:
    training, held_out = split([{}] * 3, TrainingConfig())
    assert (len(training), len(held_out)) == (2, 1)


def test_a_fraction_holds_out_whole_recordings() -> None:
    recordings = np.repeat(np.arange(10), 3)
    training, held_out = split([{}] * 30, TrainingConfig(validation_fraction=0.2), recordings)
    assert len(held_out) == 6
    assert not set(recordings[training]) & set(recordings[held_out])


@pytest.mark.parametrize("label", ["index=9", "speaker=ann", "index=0,1,2,3,4"])
def test_a_split_without_training_or_without_validation_is_refused(label: str) -> None:
    with pytest.raises(UsageError, match="of 20 spectrograms"):
        split(LABELS, TrainingConfig(validation_label=label))


def test_validation_keeps_the_order_and_the_remainder() -> None:
    batches = list(in_order(CountingSource(), np.arange(3, 10), MIN_MAX, 4))
    assert [numbers(batch) for batch in batches] == [[3, 4, 5, 6], [7, 8, 9]]


def test_what_is_added_makes_up_its_share_of_every_epoch() -> None:
    config = TrainingConfig(batch_size=4, augment=False, added_share=0.25)
    batches = Batches(CountingSource(), np.arange(12), MIN_MAX, config, added=np.arange(12, 20))
    epochs = [[n for batch in batches.epoch(e) for n in numbers(batch.x)] for e in range(12)]
    for epoch in epochs:
        assert sorted(epoch)[:12] == list(range(12))
        assert len([n for n in epoch if n >= 12]) == len({n for n in epoch if n >= 12}) == 4
    assert {n for epoch in epochs for n in epoch} == set(range(20)), "another part of it in each epoch"


def test_more_than_there_is_to_add_is_shown_more_than_once() -> None:
    config = TrainingConfig(batch_size=24, augment=False, added_share=0.5)
    (batch,) = Batches(CountingSource(), np.arange(12), MIN_MAX, config, added=np.arange(18, 20)).epoch(0)
    assert len([n for n in numbers(batch.x) if n >= 18]) == 12

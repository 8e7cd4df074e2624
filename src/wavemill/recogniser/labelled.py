"""Labelled sounds to train a recogniser on: from the names of recordings, or from a dataset's labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.labels import SPLIT, SPLITS, Labels
from wavemill.presets import PRESETS, Features
from wavemill.recogniser.heard_values import heard_values
from wavemill.recogniser.recordings import Recordings
from wavemill.vae.training.dataset_source import audible_entries
from wavemill.vae.training.held_out import HeldOut

INDEX = "index"  # the number of a take
DEFAULT_RULE = "index=5,6,7,8,9"  # for labels that have an index
AT_RANDOM = "a fifth at random"  # for labels that have neither split nor index
_NO_LABELS = {INDEX, SPLIT}  # say which recording it is, not what is heard


@dataclass(frozen=True, kw_only=True)
class LabelledSounds:
    """Recordings with labels; `features` give rate and length, and `read` a recording by its number."""

    labels: Sequence[Labels]
    features: Features
    read: Callable[[int], FloatArray]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which sounds are trained on, calibrated on and reported on: bool [shape=(sounds,)] each.

    `name` says how they were chosen.
    """

    training: NDArray[np.bool_]
    calibration: NDArray[np.bool_]
    test: NDArray[np.bool_]
    name: str


def labelled_sounds(recordings: Recordings, dataset: Dataset | None, kinds: Sequence[str] = ()) -> LabelledSounds:
    """Return the recordings of a dataset with its labels, or without one those whose names contain labels.

    Recordings that lack one of the labels `kinds`, or without `kinds` have no label at all, are left out.

    Raises
    ------
    UsageError
        When none is left.
    """
    if dataset is None:
        every, features = {name: recordings.labels(name) for name in recordings.ids}, PRESETS["digits"]
    else:
        every = {entry.spectrogram_id: entry.labels for entry in audible_entries(dataset)}
        features = dataset.features
        if not every:
            raise UsageError(f"{dataset.path} holds no spectrogram with sound; there is nothing to learn")
    names = [name for name, own in every.items() if own.keys() - _NO_LABELS and own.keys() >= set(kinds)]
    if not names:
        known = ", ".join(sorted(set().union(*every.values()) - _NO_LABELS)) or "none"
        wanted = f"the labels {', '.join(kinds)}" if kinds else "a label to learn"
        raise UsageError(
            f"no recording has {wanted} (labels found: {known}); name the recordings like 7_george_0.wav, or give a "
            "dataset that was built with labels: wavemill dataset build --metadata, --label-pattern or "
            "--labels-from-folders"
        )
    labels = [every[name] for name in names]
    return LabelledSounds(labels=labels, features=features, read=lambda i: recordings.read(names[i], features))


def parts_of(labels: Sequence[Labels], rule: str | None, seed: int = 0) -> Parts:
    """Divide sounds by a rule such as `index=5,6`, or without one by their label `split` or `index`, or at random.

    A rule's sounds, or a fifth at random, are calibrated on and reported on. Of the parts `validation` and `test`,
    one that is missing is replaced by the other.

    Raises
    ------
    UsageError
        When nothing or everything would be held out.
    """
    if rule is None and any(SPLIT in item for item in labels):
        training, calibration, test = (np.array([item.get(SPLIT) == part for item in labels]) for part in SPLITS)
        calibration, test = (calibration if calibration.any() else test), (test if test.any() else calibration)
        name = SPLIT
    else:
        name = rule or (DEFAULT_RULE if any(INDEX in item for item in labels) else AT_RANDOM)
        test = _at_random(len(labels), seed) if name == AT_RANDOM else _by_rule(labels, name)
        training, calibration = ~test, test
    if not test.any() or not training.any():
        raise UsageError(
            f"{name!r} would hold out {int(test.sum())} of {len(labels)} labelled recordings; expected at least "
            "one and not all: choose others with --held-out KEY=A,B"
        )
    return Parts(training=training, calibration=calibration, test=test, name=name)


def _by_rule(labels: Sequence[Labels], rule: str) -> NDArray[np.bool_]:
    wanted = HeldOut.parse(rule)
    return np.array([item in wanted for item in labels], dtype=bool)


def _at_random(n_sounds: int, seed: int) -> NDArray[np.bool_]:
    chosen = np.random.default_rng(seed).permutation(n_sounds)[: max(1, n_sounds // 5)]
    return np.isin(np.arange(n_sounds), chosen)


def values_of(labels: Sequence[Labels], training: NDArray[np.bool_], kinds: Sequence[str]) -> dict[str, list[str]]:
    """Return the values to recognise, by kind of label.

    Without `kinds` these are all that every sound has, without `split` and `index`, and without those of which there
    are too many values to learn: more than half of the sounds.
    """
    common = set.intersection(*(set(item) for item in labels)) - _NO_LABELS if labels else set()
    if unknown := sorted(set(kinds) - common):
        raise UsageError(
            f"not every recording has the label {', '.join(unknown)}; all have: {', '.join(sorted(common))}"
        )
    values = {
        kind: heard_values(item[kind] for item, use in zip(labels, training, strict=True) if use)
        for kind in sorted(kinds or common)
    }
    most = training.sum() if kinds else training.sum() / 2
    if not (known := {kind: names for kind, names in values.items() if 1 < len(names) <= max(most, 2)}):
        raise UsageError(
            "the recordings to train on have no label with two or more values to learn "
            f"({', '.join(f'{kind}: {len(names)}' for kind, names in values.items()) or 'no label is common to all'}); "
            "add recordings, or choose a label with --label"
        )
    return known

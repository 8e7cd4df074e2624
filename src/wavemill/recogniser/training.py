"""Trains a recogniser, on real recordings only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill import __version__
from wavemill.arrays import FloatArray
from wavemill.dataset.index import Dataset
from wavemill.keras_seam import keras, keras_defaults, tf
from wavemill.labels import SPLIT, SPLITS, Labels
from wavemill.recogniser.augmentation import augment, not_a_word
from wavemill.recogniser.calibration import best_temperature, calibration_error
from wavemill.recogniser.heard_values import heard_as
from wavemill.recogniser.labelled import Parts, labelled_sounds, parts_of, values_of
from wavemill.recogniser.listening import Listening
from wavemill.recogniser.network import build_recogniser
from wavemill.recogniser.package import save_recogniser
from wavemill.recogniser.recogniser import Recogniser, RecogniserRecord, run
from wavemill.recogniser.recordings import Recordings
from wavemill.vae.folder.record import RECOGNISER_FILE
from wavemill.vae.folder.writing import require_writable

Targets = dict[str, FloatArray]

# Augmented takes of each held-out recording. The network makes too few mistakes on the unchanged
# recordings to calibrate with them.
_CALIBRATION_TAKES = 8
_SURE = 0.9
_PAGE = 256  # recordings in memory at a time


@dataclass(frozen=True, kw_only=True)
class RecogniserConfig:
    """The options of a training run."""

    held_out: str | None = None  # None: by the label split or index=5,6,7,8,9, or a fifth at random
    kinds: tuple[str, ...] = ()  # of labels; none: all that can be learnt
    epochs: int = 40
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Material:
    """Pictures (N, n_bands, n_frames) with one target row per picture for each kind of label."""

    pictures: FloatArray
    targets: Targets

    def take(self, chosen: NDArray[Any]) -> Material:
        """Return the chosen items."""
        return Material(
            pictures=self.pictures[chosen], targets={kind: rows[chosen] for kind, rows in self.targets.items()}
        )


@keras_defaults()
def train_recogniser(
    recordings: Recordings,
    folder: Path,
    config: RecogniserConfig | None = None,
    *,
    dataset: Dataset | None = None,
    about: Mapping[str, str] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> str:
    """Train a recogniser of labels, write its folder and return its digest.

    Parameters
    ----------
    recordings : without a dataset, only recordings whose names contain labels are used, at 8 kHz
    dataset : built from the recordings; gives their labels and parts, their rate and the length that is heard
    folder : its name becomes the recogniser's name
    about : `data` and `licence`, for the card
    progress : called after each epoch with its number, from 1, and its loss

    Raises
    ------
    UsageError
        When no label has different values, or no recordings or all would be held out.
    OutputError
        When the folder cannot be written, or holds a model. This is checked before training.
    """
    config = config or RecogniserConfig()
    require_writable(folder, record_file=RECOGNISER_FILE)
    started = time.perf_counter()
    keras.utils.set_random_seed(config.seed)
    sounds = labelled_sounds(recordings, dataset, config.kinds)
    listening = Listening.suited_to(sounds.features)
    parts = parts_of(sounds.labels, config.held_out, config.seed)
    values = values_of(sounds.labels, parts.training, config.kinds)
    pages = [
        listening.pictures([sounds.read(i) for i in page], sounds.features.sample_rate_hz)
        for page in np.array_split(np.arange(len(sounds.labels)), -(-len(sounds.labels) // _PAGE))
    ]
    material = Material(pictures=np.concatenate(pages), targets=_targets(sounds.labels, values))
    network = build_recogniser(listening.shape, values)
    _fit(network, material.take(parts.training), config, range_db=listening.range_db, progress=progress)
    unseen, chosen = material.take(parts.calibration), {**asdict(config), "held_out": _rule_of(parts)}
    training = {**(about or {}), **chosen, "recordings": int(parts.training.sum())}
    record = RecogniserRecord(
        name=folder.name,
        listening=listening,
        labels=values,
        temperatures=_temperatures(network, unseen, config, range_db=listening.range_db),
        training={**training, "seconds": round(time.perf_counter() - started)},
        quality={},
        code_version=__version__,
    )
    quality = _quality(Recogniser(record, network, digest=""), material.take(parts.test), config)
    return save_recogniser(folder, RecogniserRecord(**{**vars(record), "quality": quality}), network)


def _rule_of(parts: Parts) -> str:
    return f"{SPLIT}={','.join(SPLITS[1:])}" if parts.name == SPLIT else parts.name


def _targets(labels: Sequence[Labels], values: Mapping[str, Sequence[str]]) -> Targets:
    return {
        kind: np.array([[heard_as(item[kind], names) == name for name in names] for item in labels], np.float32)
        for kind, names in values.items()
    }


def _fit(
    network: keras.Model,
    material: Material,
    config: RecogniserConfig,
    *,
    range_db: float,
    progress: Callable[[int, float], None] | None,
) -> None:
    steps = max(1, len(material.pictures) // config.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, config.epochs * steps, warmup_target=config.learning_rate, warmup_steps=2 * steps
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=config.weight_decay)

    def step(x: tf.Tensor, targets: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            outputs = network(x, training=True)
            losses = [
                tf.nn.softmax_cross_entropy_with_logits(target, outputs[kind]) for kind, target in targets.items()
            ]
            loss = tf.reduce_mean(tf.add_n(losses))
        variables = network.trainable_variables
        optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
        return loss

    compiled = tf.function(step)
    for epoch in range(config.epochs):
        batches = _batches(material, config, epoch, range_db)
        losses = [float(compiled(tf.constant(x[..., None]), targets)) for x, targets in batches]
        if progress:
            progress(epoch + 1, float(np.mean(losses)))


def _batches(
    material: Material, config: RecogniserConfig, epoch: int, range_db: float
) -> Iterator[tuple[FloatArray, Targets]]:
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(len(material.pictures))
    size = min(config.batch_size, len(order))
    for first in range(0, len(order) - size + 1, size):
        batch = material.take(order[first : first + size])
        yield augment(batch.pictures, batch.targets, rng, range_db=range_db)


def _temperatures(
    network: keras.Model, unseen: Material, config: RecogniserConfig, *, range_db: float
) -> dict[str, float]:
    rng = np.random.default_rng([config.seed, config.epochs])
    takes = [augment(unseen.pictures, unseen.targets, rng, range_db=range_db) for _ in range(_CALIBRATION_TAKES)]
    logits = run(network, np.concatenate([x for x, _ in takes]))
    return {
        kind: best_temperature(logits[kind], np.concatenate([targets[kind] for _, targets in takes]))
        for kind in unseen.targets
    }


def _quality(recogniser: Recogniser, unseen: Material, config: RecogniserConfig) -> dict[str, Any]:
    heard = recogniser.recognise(unseen.pictures)
    rng = np.random.default_rng([config.seed, config.epochs + 1])
    noise = recogniser.recognise(not_a_word(len(unseen.pictures), recogniser.record.listening.shape, rng))
    figures: dict[str, Any] = {"held_out_recordings": len(unseen.pictures)}
    for kind, target in unseen.targets.items():
        known = target.sum(axis=1) > 0  # a held-out value may not occur in training
        right = (heard.probabilities[kind].argmax(axis=1) == target.argmax(axis=1))[known]
        confidence = heard.confidence(kind)[known]
        sure = confidence > _SURE
        figures[kind] = {
            "accuracy": float(right.mean()) if known.any() else None,
            "sure": float(sure.mean()) if known.any() else None,
            "accuracy_where_sure": float(right[sure].mean()) if sure.any() else None,
            "calibration_error": calibration_error(confidence, right),
            "sure_of_noise": float((noise.confidence(kind) > _SURE).mean()),
        }
    figures["how"] = (
        f"Measured on held-out recordings. Sure: the share of answers with confidence over {_SURE:g}. The temperatures "
        "that calibrate the confidences were fitted to distorted takes of held-out recordings. Noise: pictures of "
        "smooth random energy."
    )
    return figures

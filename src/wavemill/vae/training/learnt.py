"""Check that a training has learnt anything: it must beat one average spectrogram, and silence."""

from __future__ import annotations

import numpy as np

from wavemill.errors import TrainingError
from wavemill.vae.network.scaling import Scheme
from wavemill.vae.training.batches import Indices, SpectrogramSource, in_order
from wavemill.vae.training.config import TrainingConfig
from wavemill.vae.training.losses import reconstruction_error

LEAST_STEPS_TO_JUDGE = 100  # fewer are a trial run
LEARNT_SHARE = 0.98  # of the average spectrogram's error; a collapsed network comes within 1 % of it


def average_error(source: SpectrogramSource, held_out: Indices, scheme: Scheme, config: TrainingConfig) -> float:
    """Return the held-out error of a model that always returns the average held-out spectrogram, or silence.

    It is the lower of the two: for the objective `distance`, silence is better where sounds differ.
    """
    size = config.batch_size
    mean = sum(x.sum(axis=0) for x in in_order(source, held_out, scheme, size)) / len(held_out)
    errors = [
        [reconstruction_error(config.objective, x, always) for x in in_order(source, held_out, scheme, size)]
        for always in (mean, np.zeros_like(mean))
    ]
    return min(float(np.concatenate(own).mean()) for own in errors)


def require_learnt(held_out_error: float, average: float, *, steps: int) -> None:
    """Raise TrainingError if the held-out error is no better than that of one average spectrogram."""
    if held_out_error > average * LEARNT_SHARE:
        raise TrainingError(
            f"nothing was learnt in {steps} steps: the held-out error {held_out_error:.5f} is no better than that of "
            f"one average spectrogram, {average:.5f}; try a lower --learning-rate, go on with --resume and more "
            "--epochs, or add recordings; --finish saves the model all the same"
        )

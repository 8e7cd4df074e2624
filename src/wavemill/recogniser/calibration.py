"""Calibrate confidences: one temperature for each kind of label, and the remaining error."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.recogniser.recogniser import softmax

_TEMPERATURES = np.geomspace(0.25, 8, 161)


def best_temperature(logits: FloatArray, targets: FloatArray) -> float:
    """Return the temperature that makes softmax(logits / temperature) fit the targets best [1]_.

    Parameters
    ----------
    logits : float32 [shape=(batch, values)]
    targets : float32 [shape=(batch, values)]
        Rows sum to 1; a sound that is not a word has an even row.

    References
    ----------
    .. [1] Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", 2017.
    """
    losses = [-np.mean(np.sum(targets * np.log(softmax(logits / t) + 1e-9), axis=1)) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def calibration_error(confidence: FloatArray, right: NDArray[np.bool_], *, n_bins: int = 10) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy.

    Parameters
    ----------
    confidence : float32 [shape=(batch,)], in [0, 1]
    right : bool [shape=(batch,)]
    """
    bins = np.minimum((confidence * n_bins).astype(int), n_bins - 1)
    gaps = [
        abs(confidence[bins == i].mean() - right[bins == i].mean()) * (bins == i).mean()
        for i in range(n_bins)
        if (bins == i).any()
    ]
    return float(np.sum(gaps))

"""Scale spectrograms from dB to the [0, 1] that a network takes and gives, and back.

A model's record names its scheme. Datasets store another [0, 1], by minimum and maximum (`wavemill.audio.features`);
both ends meet in dB, so that a model does not depend on how its dataset was stored.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError
from wavemill.inversion.kernel import kernel

Scheme = dict[str, Any]


# Measured on 100 held-out recordings: without a fade, reconstructions end in a hiss 22 dB below the
# word (51 dB with it) and STOI falls from 0.856 to 0.848. A fade of more than 3 dB loses detail.
FADE_DB = 3.0
# How far below the peak the fade goes. The source's own floor, 80 dB down, is too quiet: with it,
# PocketSphinx heard the digit in 71 % of 300 held-out reconstructions instead of 80 % (79 % of the
# recordings); STOI differs by 0.001.
FADE_TO_DB = 60.0


def normalisation_for(architecture: str) -> Scheme:
    """Return the normalisation that an architecture is trained with by default."""
    if architecture == "course":
        return {"scheme": "min-max"}
    return {"scheme": "peak", "range_db": 50.0, "fade_db": FADE_DB, "fade_to_db": FADE_TO_DB}


def db_to_network(db: FloatArray, scheme: Scheme) -> FloatArray:
    """Scale spectrograms to a network's input.

    Parameters
    ----------
    db : float32 [shape=(batch, n_bins, n_frames)], in dB
    scheme : {"scheme": "min-max"}, or {"scheme": "peak", "range_db": R, "fade_db": F, "fade_to_db": T}
        `min-max` maps a spectrogram's minimum to 0 and its maximum to 1. `peak` maps its maximum to
        1 and everything R dB or more below it to 0: that is recording noise, which would use up
        latents.

    Returns
    -------
    float32 [shape=(batch, n_bins, n_frames)]
        All zeros for silence, a spectrogram whose values are all equal.
    """
    range_db = np.float32(0 if _kind(scheme) == "min-max" else scheme["range_db"])
    x = np.zeros(db.shape, np.float32)
    for clip, scaled in zip(np.ascontiguousarray(db, np.float32), x, strict=True):
        _scale(clip.ravel(), range_db, scaled.ravel())
    return x


def network_to_db(x: FloatArray, scheme: Scheme, *, peak_db: FloatArray, floor_db: FloatArray) -> FloatArray:
    """Undo `db_to_network`, given each spectrogram's level.

    Parameters
    ----------
    x : float32 [shape=(batch, n_bins, n_frames)], in [0, 1]
    scheme : as in `db_to_network`
    peak_db, floor_db : float32 [shape=(batch,)]
        The levels that network outputs of exactly 1 and 0 stand for. With `peak`, the lowest
        `fade_db` of the range are stretched down to `fade_to_db` below the peak, but not below
        `floor_db`. The lowest outputs then become faint noise, as in a recording, instead of steady
        hiss.
    """
    if _kind(scheme) == "min-max":
        peak, floor = peak_db.reshape(-1, 1, 1), floor_db.reshape(-1, 1, 1)  # (B,) -> (B, 1, 1)
        return (x * (peak - floor) + floor).astype(np.float32)
    range_db, fade_db = np.float32(scheme["range_db"]), np.float32(scheme["fade_db"])
    floor = np.maximum(floor_db, peak_db - np.float32(scheme["fade_to_db"]))
    db = np.empty(x.shape, np.float32)
    for i, clip in enumerate(np.ascontiguousarray(x, np.float32)):
        _raise(clip.ravel(), peak_db[i], floor[i], range_db, fade_db, db[i].ravel())
    return db


@kernel
def _scale(db: FloatArray, range_db: np.float32, x: FloatArray) -> None:
    """Write (db - peak) / range + 1, clipped to [0, 1]; for silence leave `x` as it is, all 0.

    A `range_db` of 0 means the clip's own range.
    """
    peak, least = db[0], db[0]
    for value in db:
        peak, least = max(peak, value), min(least, value)
    if peak == least:
        return
    span = range_db if range_db > 0 else peak - least
    for i in range(db.size):
        x[i] = min(max((db[i] - peak) / span + np.float32(1), np.float32(0)), np.float32(1))


@kernel
def _raise(
    x: FloatArray, peak: np.float32, floor: np.float32, range_db: np.float32, fade_db: np.float32, db: FloatArray
) -> None:
    """Undo `_scale`; stretch the lowest `fade_db` of the range down to `floor` if it is lower."""
    for i in range(x.size):
        height = x[i] * range_db  # dB above the bottom of the range
        level = height + (peak - range_db)
        faded = (level - floor) * (height / fade_db) + floor
        db[i] = min(faded, level) if height < fade_db else level


def _kind(scheme: Scheme) -> Literal["min-max", "peak"]:
    kind: Any = scheme.get("scheme")
    if kind in ("min-max", "peak"):
        return kind  # type: ignore[no-any-return]
    raise ModelError(f"normalisation {kind!r} is not known to this version of wavemill; expected min-max or peak")

"""Measure how close sounds are to the recordings that they were made from, clip by clip."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.features import extract, pad_or_cut
from wavemill.presets import Features
from wavemill.vae.training.quality import REPEATS, TOP_DB, log_spectral_distance, stoi_scores

PESQ_RATE_HZ = 8_000
WORST_PESQ = 1.0  # the bottom of its scale

HOW = {
    "log_spectral_distance_db": (
        "between the STFTs of sound and reference (at the dataset's rate, with its window and hop), "
        f"both limited to {TOP_DB:.0f} dB below the reference's peak; root mean square over bins, mean over frames"
    ),
    "stoi": (
        f"short-time objective intelligibility, meant for speech; each clip repeated {REPEATS} times, because short "
        "ones do not fill an analysis segment; clips that still do not are left out"
    ),
    "pesq": (
        f"ITU-T P.862 narrow band, 1 to 4.5; each clip repeated {REPEATS} times; a sound in which PESQ finds no speech "
        f"counts as {WORST_PESQ:g}; clips whose reference holds no speech are left out"
    ),
}


def fidelity(reference: Sequence[FloatArray], sounds: Sequence[FloatArray], judged: Features) -> dict[str, FloatArray]:
    """Measure sounds against their references.

    Parameters
    ----------
    reference, sounds : sequences of float32 [shape=(samples,)], at the rate of `judged`
        A sound that is shorter than its reference is padded with silence.

    Returns
    -------
    dict of float32 [shape=(batch,)]
        `log_spectral_distance_db`; `stoi` with pystoi, NaN where the reference is too short; `pesq` with pesq at
        8 kHz, NaN where the reference holds no speech.
    """
    cut = [pad_or_cut(sound, len(true)) for sound, true in zip(sounds, reference, strict=True)]
    measured = {"log_spectral_distance_db": _distances(reference, cut, judged)}
    stoi = stoi_scores(reference, cut, judged.sample_rate_hz)
    if stoi is not None:
        measured["stoi"] = stoi
    pesq = pesq_scores(reference, cut) if judged.sample_rate_hz == PESQ_RATE_HZ else None
    if pesq is not None:
        measured["pesq"] = pesq
    return measured


def pesq_scores(reference: Sequence[FloatArray], sounds: Sequence[FloatArray]) -> FloatArray | None:
    """Return the PESQ (narrow band) of pairs of sounds at 8 kHz; None without pesq.

    A sound that PESQ rejects scores `WORST_PESQ`, so that silence is not better than noise. The
    score is NaN when PESQ rejects the reference, which then holds no speech or is shorter than a
    quarter of a second.
    """
    if importlib.util.find_spec("pesq") is None:
        return None
    scores = []
    for true, sound in zip(reference, sounds, strict=True):
        score = _pesq(true, sound)
        if score is None and _pesq(true, true) is not None:
            score = WORST_PESQ
        scores.append(np.nan if score is None else score)
    return np.array(scores, np.float32)


def _pesq(true: FloatArray, sound: FloatArray) -> float | None:
    from pesq import PesqError, pesq

    if not true.any() or not sound.any():  # PESQ divides by the level
        return None
    try:
        score = float(pesq(PESQ_RATE_HZ, np.tile(true, REPEATS), np.tile(sound, REPEATS), "nb"))
    except (PesqError, ValueError):
        return None
    return score if np.isfinite(score) else None


def _distances(reference: Sequence[FloatArray], sounds: Sequence[FloatArray], judged: Features) -> FloatArray:
    return np.concatenate(
        [
            log_spectral_distance(_db(true, judged), _db(sound, judged))
            for true, sound in zip(reference, sounds, strict=True)
        ]
    )


def _db(signal: FloatArray, judged: Features) -> FloatArray:
    """Return the spectrogram of a sound, (1, n_bins, frames), in dB; at least a frame of the features."""
    return extract(pad_or_cut(signal, max(len(signal), judged.n_samples)), judged)[None]

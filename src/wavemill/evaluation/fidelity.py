"""How near sounds come to the recordings that they were made from, clip by clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wavemill.audio.features import extract, pad_or_cut
from wavemill.evaluation.clips import JUDGED
from wavemill.vae.quality import REPEATS, TOP_DB, log_spectral_distance, stoi_scores

FloatArray = NDArray[np.float32]

HOW = {
    "log_spectral_distance_db": (
        f"between the STFTs (8 kHz, window {JUDGED.n_fft}, hop {JUDGED.hop_length}) of sound and reference, both "
        f"limited to {TOP_DB:.0f} dB below the peak of the reference; root mean square over bins, mean over frames"
    ),
    "stoi": f"short-time objective intelligibility; each clip repeated {REPEATS} times, as short ones fill no segment",
    "pesq": f"ITU-T P.862 narrow band, 1 to 4.5; each clip repeated {REPEATS} times",
}


def fidelity(reference: Sequence[FloatArray], sounds: Sequence[FloatArray]) -> dict[str, FloatArray]:
    """Measure sounds against their references.

    Parameters
    ----------
    reference, sounds : sequences of float32 [shape=(samples,)], at 8 kHz
        A sound that is shorter than its reference counts as silent where it is missing.

    Returns
    -------
    dict of float32 [shape=(batch,)]
        `log_spectral_distance_db`; `stoi` with pystoi; `pesq` with pesq, NaN where it finds no speech.
    """
    cut = [pad_or_cut(sound, len(true)) for sound, true in zip(sounds, reference, strict=True)]
    measured = {"log_spectral_distance_db": log_spectral_distance(_db(reference), _db(cut))}
    stoi = stoi_scores(reference, cut, JUDGED.sample_rate_hz)
    if stoi is not None:
        measured["stoi"] = stoi
    pesq = pesq_scores(reference, cut)
    if pesq is not None:
        measured["pesq"] = pesq
    return measured


def pesq_scores(reference: Sequence[FloatArray], sounds: Sequence[FloatArray]) -> FloatArray | None:
    """Return the PESQ (narrow band) of pairs of sounds at 8 kHz, NaN where there is none; None without pesq."""
    try:
        from pesq import PesqError, pesq
    except ModuleNotFoundError:
        return None
    scores = []
    for true, sound in zip(reference, sounds, strict=True):
        try:
            scores.append(pesq(JUDGED.sample_rate_hz, np.tile(true, REPEATS), np.tile(sound, REPEATS), "nb"))
        except (PesqError, ValueError):  # no speech in the reference, less than a quarter of a second; or silence
            scores.append(np.nan)
    return np.array(scores, np.float32)


def _db(signals: Sequence[FloatArray]) -> FloatArray:
    """Return the spectrograms of sounds, (B, n_bins, n_frames), in dB."""
    return np.stack([extract(pad_or_cut(signal, JUDGED.n_samples), JUDGED) for signal in signals])

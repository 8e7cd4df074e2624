"""One job's input and outputs: a spectrogram read and checked; two WAVs encoded, measured and staged."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

from wavemill.audio.features import denormalise
from wavemill.audio.wav import EncodedAudio, encode
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Entry
from wavemill.errors import UnknownSpectrogramError
from wavemill.generation import spectrograms_to_audio
from wavemill.jobs.claims import Claim, ClaimedJob, Outcome
from wavemill.jobs.states import State
from wavemill.requests import FORMATS
from wavemill.runtime import BatchTools
from wavemill.storage import Staged

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A job with its spectrogram in dB, float32 [shape=(n_bins, n_frames)]."""

    job: ClaimedJob
    entry: Entry
    spectrogram: FloatArray
    read_s: float


def load_clip(tools: BatchTools, job: ClaimedJob, entry: Entry | None) -> Clip:
    """Read and check one spectrogram; raises what is wrong with it."""
    started = perf_counter()
    if entry is None:
        raise UnknownSpectrogramError(f"{job.spectrogram_id}: the dataset's index has no such ID")
    normalised = read_spectrogram(tools.dataset, entry)
    spectrogram = denormalise(normalised, entry.min_db, entry.max_db)
    return Clip(job=job, entry=entry, spectrogram=spectrogram, read_s=perf_counter() - started)


def write_clip(
    tools: BatchTools, clip: Clip, *, claim: Claim, generated: FloatArray, latent: FloatArray, forward_s: float
) -> Outcome:
    """Invert a clip and its reconstruction, stage the sounds, and return what to record once they are in place."""
    started = perf_counter()
    sounds = spectrograms_to_audio(
        np.stack([generated, clip.spectrogram]),  # (F, T) twice -> (2, F, T)
        tools.dataset.features,
        durations_s=[clip.entry.duration_s] * 2,
        method=tools.params.method,
    )
    inverted = perf_counter()
    container, subtype, suffix = FORMATS[tools.params.format]
    rate_hz = tools.dataset.features.sample_rate_hz
    encoded = [encode(sound, rate_hz, subtype=subtype, container=container) for sound in sounds]
    files = {
        "generated": (f"generated/{clip.entry.spectrogram_id}.{suffix}", encoded[0].data),
        "original": (f"original/{clip.entry.spectrogram_id}.{suffix}", encoded[1].data),
    }
    if tools.params.keep_latents:
        files["latent"] = (f"latents/{clip.entry.spectrogram_id}.npy", _npy(latent))
    staged = _stage(tools, clip.job, claim, files)
    timings = {
        "read_ms": clip.read_s,
        "forward_ms": forward_s,
        "invert_ms": inverted - started,
        "write_ms": perf_counter() - inverted,
    }
    return Outcome(
        job=clip.job,
        state=State.DONE,
        columns={
            **{f"{name}_path": output.path for name, output in staged.items()},
            **{_digest_column(name): hashlib.sha256(data).hexdigest() for name, (_, data) in files.items()},
            "quality": {**_quality(encoded[0]), **{f"original_{k}": v for k, v in _quality(encoded[1]).items()}},
            "timings": {name: round(1e3 * seconds, 3) for name, seconds in timings.items()},
        },
        place=lambda: _place(list(staged.values())),
    )


def _digest_column(name: str) -> str:
    return "sha256" if name == "generated" else f"{name}_sha256"


def _stage(tools: BatchTools, job: ClaimedJob, claim: Claim, files: dict[str, tuple[str, bytes]]) -> dict[str, Staged]:
    token = f"{claim.worker_id}-{job.id}-{job.attempt}".replace("/", "_")
    return {name: tools.store.stage(path, data, token=f"{token}-{name}") for name, (path, data) in files.items()}


def _place(staged: Sequence[Staged]) -> None:
    for output in staged:
        output.place()


def _quality(audio: EncodedAudio) -> dict[str, Any]:
    return {
        "peak": round(audio.peak, 6),
        "gain": round(audio.gain, 6),
        "clipped": audio.clipped,
        "silent": audio.silent,
    }


def _npy(latent: FloatArray) -> bytes:
    file = io.BytesIO()
    np.save(file, latent, allow_pickle=False)
    return file.getvalue()

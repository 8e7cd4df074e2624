"""Turns what a job made into files and table columns: inverts, encodes, measures, stages."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import wavemill
from wavemill.arrays import FloatArray
from wavemill.audio.encoding import EncodedAudio, encode
from wavemill.audio.long_sound import WrittenAudio
from wavemill.audio.loudness import Loudness
from wavemill.jobs.claims import ClaimedJob
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.flags import Flag
from wavemill.jobs.states import State
from wavemill.operations.formats import FORMATS
from wavemill.operations.requests import Operation, inputs_digest
from wavemill.rendering.latent_files import array_bytes, json_bytes
from wavemill.rendering.resources import BatchTools
from wavemill.rendering.steps import Made
from wavemill.storage.staging import JobOutputs
from wavemill.synthesis.sound import spectrograms_to_audio
from wavemill.vae.training.quality import QUANTILES, log_spectral_distance

Sounds = Mapping[str, FloatArray]  # "generated", "original"
Measured = EncodedAudio | WrittenAudio

FAR_DB = (
    6.0  # log-spectral distance; of 300 held-out recordings through fsdd-vae, 99 in 100 lie within 5.1, all within 5.4
)


_TO_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
_TO_ASCII_JSON = json.JSONEncoder(sort_keys=True)
_OF_THE_SOUND = ("method", "format", "output_rate_hz", "loudness_lufs")  # parameters that `invert` has too
_RECORDED = ("generated", "original", "latent")  # without latent_levels: that file lies beside the latent


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The files and columns of one job, ready to be written.

    Attributes
    ----------
    files : output name -> (path below the batch's folder, content, or a file that holds a large one)
    columns : of the job's row, without the paths and the time taken to write
    timings_s : how long each step took, by its name
    """

    files: Mapping[str, tuple[str, bytes | Path]]
    columns: Mapping[str, Any]
    timings_s: Mapping[str, float]


def invert_made(tools: BatchTools, results: Sequence[Made], *, gpu: str | None = None) -> list[Sounds]:
    """Invert what several jobs made, in one call; return the sounds of each job."""
    present = [_spectrograms(made) for made in results]
    spectrograms = [spectrogram for one in present for spectrogram in one.values()]
    if not spectrograms:
        return [{} for _ in results]
    sounds = iter(
        spectrograms_to_audio(
            spectrograms,
            tools.features,
            durations_s=[made.duration_s for made, one in zip(results, present, strict=True) for _ in one],
            peaks=[made.peak for made, one in zip(results, present, strict=True) for _ in one],
            are_samples=[made.is_sample for made, one in zip(results, present, strict=True) for _ in one],
            method=tools.params.method,
            gpu=gpu,
        )
    )
    return [{kind: next(sounds) for kind in one} for one in present]


def encode_made(
    tools: BatchTools, made: Made, *, forward_s: float, sounds: Sounds | None = None, invert_s: float = 0.0
) -> Encoded:
    """Encode and measure what a job made.

    It is inverted first, unless `sounds` and the time that they took, `invert_s`, are given.
    """
    started = perf_counter()
    if sounds is None:
        [sounds] = invert_made(tools, [made])
    inverted = perf_counter()
    encoded = {kind: _encode(tools, made, kind, sound) for kind, sound in sounds.items()}
    name, suffix = made.input.job.spectrogram_id, FORMATS[tools.params.format].suffix
    files: dict[str, tuple[str, bytes]] = {
        kind: (f"{kind}/{name}.{suffix}", audio.data) for kind, audio in encoded.items()
    }
    if made.latent is not None:
        files["latent_levels"] = (
            f"latents/{name}.json",
            json_bytes(made.latent, tools.features, _provenance(tools, made, "latent")),
        )
        files["latent"] = (f"latents/{name}.npy", array_bytes(made.latent))
    digests = {name: hashlib.sha256(files[name][1]).hexdigest() for name in _RECORDED if name in files}
    return Encoded(
        files=files,
        columns=columns_of(tools, made, encoded, digests),
        timings_s={
            "read": made.input.read_s,
            "forward": forward_s,
            "invert": invert_s + inverted - started,
            "write": perf_counter() - inverted,
        },
    )


def columns_of(
    tools: BatchTools, made: Made, audio: Mapping[str, Measured], digests: Mapping[str, str]
) -> dict[str, Any]:
    """Return the columns of a job's row; `digests` holds the SHA-256 of each output."""
    quality = _quality(made, audio, rate_hz=tools.features.sample_rate_hz)
    return {
        **{_digest_column(name): digest for name, digest in digests.items()},
        "inputs_sha256": inputs_digest(made.input.digests, made.input.scales),
        "quality": quality or None,
        "flags": " ".join(
            _flags(quality, over_db=far_db({} if tools.batch.model is None else tools.model.record.quality))
        )
        or None,
    }


def stage_encoded(tools: BatchTools, encoded: Encoded, *, job: ClaimedJob) -> Outcome:
    """Stage a job's files; return the outcome to record once they are in place."""
    started = perf_counter()
    outputs = JobOutputs(tools.store, job_id=job.id, fence=job.fence)
    paths = {name: outputs.stage(name, path, data) for name, (path, data) in encoded.files.items()}
    timings_s = {**encoded.timings_s, "write": encoded.timings_s["write"] + perf_counter() - started}
    return Outcome(
        job=job,
        state=State.DONE,
        columns={
            **{f"{name}_path": paths[name] for name in _RECORDED if name in paths},
            **encoded.columns,
            "timings": {f"{name}_ms": round(1e3 * seconds, 3) for name, seconds in timings_s.items()},
        },
        place=outputs.place,
        discard=outputs.discard,
    )


def _spectrograms(made: Made) -> dict[str, FloatArray]:
    spectrograms = {"generated": made.generated, "original": made.original}
    return {kind: spectrogram for kind, spectrogram in spectrograms.items() if spectrogram is not None}


def _encode(tools: BatchTools, made: Made, kind: str, sound: FloatArray) -> EncodedAudio:
    params = tools.params
    return encode(
        sound,
        tools.features.sample_rate_hz,
        form=params.format,
        output_rate_hz=params.output_rate_hz,
        loudness_lufs=params.loudness_lufs,
        comment=comment_of(tools, made, kind),
    )


def comment_of(tools: BatchTools, made: Made, kind: str) -> str:
    """Return the comment of a sound file: its provenance as JSON."""
    to_json = _TO_ASCII_JSON if FORMATS[tools.params.format].ascii_comment else _TO_JSON
    return to_json.encode(_provenance(tools, made, kind))


def _provenance(tools: BatchTools, made: Made, kind: str) -> dict[str, Any]:
    """Return an output's provenance: all that decides its samples, and nothing else.

    So an `original` has the same bytes whatever model was used beside it, and as `invert` makes it.
    """
    job = made.input.job
    inverted = {
        "id": job.spectrogram_id,
        "operation": Operation.INVERT.value,
        "params": {name: value for name, value in tools.chosen_params.items() if name in _OF_THE_SOUND},
        "inputs": made.input.digests,
        "scales": made.input.scales,
        "versions": _versions(with_model=False, with_loudness=tools.params.loudness_lufs is not None),
    }
    if kind == "original":
        return inverted
    said = {
        **inverted,
        "operation": tools.operation.value,
        "params": tools.chosen_params,
        "item": job.item,
        "drawn": made.drawn,
        "versions": _versions(
            with_model=tools.batch.model is not None, with_loudness=tools.params.loudness_lufs is not None
        ),
        "model": None if tools.batch.model is None else tools.model.name,
        "model_digest": tools.batch.model_digest,
        "precision": "mixed" if tools.mixed_precision else None,
    }
    return {key: value for key, value in said.items() if value}


@lru_cache(maxsize=4)
def _versions(*, with_model: bool, with_loudness: bool) -> dict[str, str]:
    names = ("numba", "numpy", "soundfile", *("keras",) * with_model, *("pyloudnorm", "soxr") * with_loudness)
    libraries = {name: version(name) for name in names}
    if with_model:  # the distribution of TensorFlow has several names
        libraries["tensorflow"] = str(import_module("tensorflow").__version__)
    return {"wavemill": wavemill.__version__, "python": platform.python_version(), **libraries}


def _quality(made: Made, encoded: Mapping[str, Measured], *, rate_hz: int) -> dict[str, Any]:
    quality: dict[str, Any] = {}
    for kind, audio in encoded.items():
        prefix = "" if kind == "generated" else f"{kind}_"
        quality |= {
            f"{prefix}peak": round(audio.peak, 6),
            f"{prefix}rms_dbfs": round(audio.rms_dbfs, 2),
            f"{prefix}gain": round(audio.gain, 6),
            f"{prefix}clipped": audio.clipped,
            f"{prefix}silent": audio.silent,
        }
        if audio.sample_rate_hz != rate_hz:
            quality[f"{prefix}sample_rate_hz"] = audio.sample_rate_hz
        if audio.loudness is not None:
            quality |= {f"{prefix}{name}": value for name, value in _loudness(audio.loudness).items()}
    if made.generated is not None and made.original is not None:
        distance = log_spectral_distance(made.original[None], made.generated[None])[0]
        quality["log_spectral_distance_db"] = round(float(distance), 3)
    if made.boost_db is not None:
        quality["level_boost_db"] = round(made.boost_db, 2)
    if made.drawn:
        quality["drawn"] = dict(made.drawn)
    return quality


def _loudness(loudness: Loudness) -> dict[str, Any]:
    return {
        "loudness_before_lufs": _rounded(loudness.before_lufs),
        "loudness_lufs": _rounded(loudness.after_lufs),
        "true_peak_dbtp": round(loudness.true_peak_dbtp, 2),
        "loudness_limited": loudness.limited,
    }


def _rounded(level: float | None) -> float | None:
    return None if level is None else round(level, 2)


def far_db(quality: Mapping[str, Any]) -> float:
    """Return the distance that 1 in 100 of a model's own held-out clips exceeds; `FAR_DB` if its record has none."""
    quantiles = quality.get(QUANTILES)
    value = quantiles.get("0.99") if isinstance(quantiles, Mapping) else None
    return float(value) if isinstance(value, int | float) else FAR_DB


def _flags(quality: Mapping[str, Any], *, over_db: float) -> list[Flag]:
    found = {
        Flag.SILENT: quality.get("silent") or quality.get("original_silent"),
        Flag.CLIPPED: quality.get("clipped") or quality.get("original_clipped"),
        Flag.FAR: quality.get("log_spectral_distance_db", 0.0) > over_db,
    }
    return [flag for flag, raised in found.items() if raised]


def _digest_column(name: str) -> str:
    return "sha256" if name == "generated" else f"{name}_sha256"

"""Latents on disk: `ID.npy` holds the array, `ID.json` the level and length of its sound.

The array of a clip that is longer than a frame has a row for each window, (windows, latent_dim); its
JSON holds each window's levels and first frame (`starts`), and the clip's length in frames
(`n_frames`). An array without its JSON is of one frame and gets a default level.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any, Self

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.windows import Windows
from wavemill.dataset.arrays import parse_array
from wavemill.dataset.extents import LONGEST_S, is_huge
from wavemill.errors import (
    LatentError,
    SpectrogramError,
    StorageUnavailableError,
    UnknownLatentError,
    UsageError,
)
from wavemill.files.bounded_json import parse_json
from wavemill.presets import MOST_LEVEL_DB, Features, samples_of
from wavemill.storage.errors import classified, is_missing, require_there
from wavemill.storage.locations import file_system_of, is_url
from wavemill.synthesis.clip_latents import ClipLatents
from wavemill.synthesis.from_model import DEFAULT_PEAK_DB
from wavemill.synthesis.levels import Levels
from wavemill.vae.model import Model

_LEVELS = ("peak_db", "floor_db", "energy_db")
_EXPECTED = "levels in dB (peak_db, floor_db, energy_db), duration_s and n_frames"
_MOST_BYTES = 2**26  # latents that `encode` makes are smaller; no more than this is read into memory
_ADVICE = "make latents with: wavemill submit encode"


def array_bytes(clip: ClipLatents) -> bytes:
    """Return the .npy file."""
    file = io.BytesIO()
    np.save(file, clip.array, allow_pickle=False)
    return file.getvalue()


def json_bytes(clip: ClipLatents, features: Features, provenance: dict[str, Any]) -> bytes:
    """Return the JSON file."""
    said: dict[str, Any] = {"duration_s": clip.duration_s, "provenance": provenance}
    if clip.n_frames != features.n_frames:
        said["n_frames"] = clip.n_frames
    if clip.peak is not None:
        said["peak"] = clip.peak
    if clip.is_sample:
        said["fades"] = True
    if len(clip.levels) == 1:
        said |= asdict(clip.levels[0])
    else:
        said["starts"] = clip.windows(features.n_frames).starts
        said |= {name: [getattr(level, name) for level in clip.levels] for name in _LEVELS}
    return (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()


def read_latent(folder: str, name: str, model: Model) -> tuple[ClipLatents, dict[str, str]]:
    """Read `FOLDER/NAME.npy` and its JSON, if any; return the latent, and file name -> SHA-256.

    Parameters
    ----------
    folder : path or fsspec URL

    Raises
    ------
    UnknownLatentError, LatentError
        The array is missing; its numbers are not finite or not as many as the clip's windows
        need, or its JSON is malformed.
    StorageUnavailableError
        The storage does not answer, or the whole folder is gone.
    """
    data = _read(folder, f"{name}.npy")
    if data is None:
        raise UnknownLatentError(f"{name}: there is no {folder}/{name}.npy; {_ADVICE}")
    sidecar = _read(folder, f"{name}.json")
    try:
        about = _About.of({} if sidecar is None else parse_json(sidecar), model.features)
    except (ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise LatentError(f"{name}.json: expected an object with {_EXPECTED}: {exc}; {_ADVICE}") from exc
    clip = ClipLatents(
        rows=_rows(data, name, model, n_windows=len(about.levels)),
        levels=about.levels,
        n_frames=about.n_frames,
        duration_s=about.duration_s,
        peak=about.peak,
        is_sample=about.is_sample,
    )
    contents = {f"{name}.npy": data} | ({} if sidecar is None else {f"{name}.json": sidecar})
    return clip, {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}


def _rows(data: bytes, name: str, model: Model, *, n_windows: int) -> FloatArray:
    """Return the latents in a .npy file, float32 [shape=(n_windows, latent_dim)]."""
    shape = (model.latent_dim,) if n_windows == 1 else (n_windows, model.latent_dim)
    try:
        array = parse_array(data, name=name, shapes=(shape,), advice=_ADVICE)
    except SpectrogramError as exc:
        raise LatentError(f"{exc} with model {model.name!r}") from exc
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
        rows = np.asarray(array, np.float32).reshape(n_windows, model.latent_dim)
    if not np.isfinite(rows).all():
        raise LatentError(f"{name}: expected finite float32 numbers, received NaN, infinity or larger ones; {_ADVICE}")
    return rows


@dataclass(frozen=True, kw_only=True)
class _About:
    """What the JSON file says, or the defaults."""

    levels: list[Levels]
    n_frames: int
    duration_s: float
    peak: float | None
    is_sample: bool

    @classmethod
    def of(cls, said: Mapping[str, Any], features: Features) -> Self:
        n_frames = said.get("n_frames", features.n_frames)
        if type(n_frames) is not int or n_frames < 1 or is_huge((features.n_bins, n_frames)):
            raise ValueError(f"n_frames {n_frames!r} is no length of a spectrogram")
        starts = Windows(n_frames=n_frames, size=features.n_frames).starts
        if said.get("starts", starts) != starts:
            raise ValueError(f"the windows over {n_frames} frames start at {starts}")
        duration_s = float(said.get("duration_s", samples_of(features, n_frames) / features.sample_rate_hz))
        if not 0 < duration_s <= LONGEST_S:
            raise ValueError(f"duration_s {duration_s} is no length in seconds")
        peak = None if said.get("peak") is None else float(said["peak"])
        if peak is not None and not 0 <= peak < inf:
            raise ValueError(f"peak {peak} is no highest sample")
        peaks, floors, energies = (_each(said.get(name), len(starts)) for name in _LEVELS)
        peaks_db = [DEFAULT_PEAK_DB if peak is None else peak for peak in peaks]
        return cls(
            levels=[
                Levels(peak_db=top, floor_db=top - features.range_db if floor is None else floor, energy_db=energy)
                for top, floor, energy in zip(peaks_db, floors, energies, strict=True)
            ],
            n_frames=n_frames,
            duration_s=duration_s,
            peak=peak,
            is_sample=said.get("fades") is True,
        )


def _each(level: Any, n_windows: int) -> list[float | None]:
    """Return the level of each window: one number may stand for all."""
    levels = level if isinstance(level, list) else [level] * n_windows
    if len(levels) != n_windows:
        raise ValueError(f"{len(levels)} levels were given for {n_windows} windows")
    return [None if one is None else _level(one) for one in levels]


def _level(value: Any) -> float:
    level = float(value)
    if not abs(level) <= MOST_LEVEL_DB:
        raise ValueError(f"{level} is not within {MOST_LEVEL_DB:.0f} dB of full scale")
    return level


def _read(folder: str, file: str) -> bytes | None:
    """Return the content of a file; None if its folder exists and the file does not.

    A missing file is looked for twice: its folder may have come back in between.
    """
    for _ in range(2):
        data = _read_once(f"{folder.rstrip('/')}/{file}")
        if data is not None:
            return data
        _require_folder(folder)
    return None


def _read_once(path: str) -> bytes | None:
    try:
        file_system, inner = file_system_of(path)
        data: bytes = file_system.cat_file(inner, end=_MOST_BYTES)
    except IsADirectoryError:
        return None
    except Exception as exc:
        if is_missing(exc):
            return None
        raise classified(f"cannot read {path}", exc, permanent=UsageError) from exc
    return data


def _require_folder(folder: str) -> None:
    """Raise StorageUnavailableError if a folder is missing or empty, or nothing is below a URL."""
    if not is_url(folder):
        require_there(Path(folder), "the folder of latents")
        return
    try:
        file_system, inner = file_system_of(folder)
        file_system.invalidate_cache()  # cached listings
        file_system.info(inner)
    except Exception as exc:
        if is_missing(exc):
            raise StorageUnavailableError(
                f"there is nothing below {folder}; jobs wait for them, `wavemill cancel` ends the wait"
            ) from exc
        raise classified(f"cannot read {folder}", exc, permanent=UsageError) from exc

"""Latents on disk: `ID.npy` holds the vector, `ID.json` the level and length of its sound.

An array without its JSON gets a default level and the model's full length.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.dataset.arrays import parse_array
from wavemill.errors import (
    LatentError,
    SpectrogramError,
    StorageUnavailableError,
    UnknownLatentError,
    UsageError,
)
from wavemill.files.bounded_json import parse_json
from wavemill.presets import MOST_LEVEL_DB
from wavemill.storage.errors import classified, is_missing, require_there
from wavemill.storage.locations import file_system_of, is_url
from wavemill.synthesis.from_model import DEFAULT_PEAK_DB
from wavemill.synthesis.levels import Levels
from wavemill.vae.model import Model

_NUMBERS = ("peak_db", "floor_db", "energy_db", "duration_s")
_MOST_BYTES = 2**24  # a latent is smaller; no more than this is read into memory
_ADVICE = "make latents with: wavemill submit encode"


@dataclass(frozen=True, kw_only=True)
class LatentFile:
    """A latent, float32 [shape=(latent_dim,)], with the levels and length of its sound."""

    latent: FloatArray
    levels: Levels
    duration_s: float

    def array_bytes(self) -> bytes:
        """Return the .npy file."""
        file = io.BytesIO()
        np.save(file, self.latent, allow_pickle=False)
        return file.getvalue()

    def json_bytes(self, provenance: dict[str, Any]) -> bytes:
        """Return the JSON file."""
        said = {**asdict(self.levels), "duration_s": self.duration_s, "provenance": provenance}
        return (json.dumps(said, indent=1, sort_keys=True) + "\n").encode()


def read_latent(folder: str, name: str, model: Model) -> tuple[LatentFile, dict[str, str]]:
    """Read `FOLDER/NAME.npy` and its JSON, if any; return the latent, and file name -> SHA-256.

    Parameters
    ----------
    folder : path or fsspec URL

    Raises
    ------
    UnknownLatentError, LatentError
        The array is missing; it is no finite vector of the model's length, or its JSON is
        malformed.
    StorageUnavailableError
        The storage does not answer, or the whole folder is gone.
    """
    data = _read(folder, f"{name}.npy")
    if data is None:
        raise UnknownLatentError(f"{name}: there is no {folder}/{name}.npy; {_ADVICE}")
    try:
        latent = parse_array(data, name=name, shapes=((model.latent_dim,),), advice=_ADVICE)
    except SpectrogramError as exc:
        raise LatentError(f"{exc} with model {model.name!r}") from exc
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
        latent = np.asarray(latent, np.float32)
    if not np.isfinite(latent).all():
        raise LatentError(f"{name}: expected finite float32 numbers, received NaN, infinity or larger ones; {_ADVICE}")
    sidecar = _read(folder, f"{name}.json")
    said = _numbers(name, sidecar)
    duration_s = said.pop("duration_s", model.features.duration_s)
    peak_db = said.pop("peak_db", DEFAULT_PEAK_DB)
    floor_db = said.pop("floor_db", peak_db - model.features.range_db)
    levels = Levels(peak_db=peak_db, floor_db=floor_db, energy_db=said.get("energy_db"))
    file = LatentFile(latent=latent, levels=levels, duration_s=duration_s)
    contents = {f"{name}.npy": data} | ({} if sidecar is None else {f"{name}.json": sidecar})
    return file, {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}


def _numbers(name: str, data: bytes | None) -> dict[str, float]:
    if data is None:
        return {}
    try:
        said = {key: value for key, value in parse_json(data).items() if key in _NUMBERS and value is not None}
        numbers = {key: float(value) for key, value in said.items()}
    except (ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise LatentError(f"{name}.json: expected an object with the numbers {', '.join(_NUMBERS)}: {exc}") from exc
    if not all(abs(number) <= MOST_LEVEL_DB for number in numbers.values()) or numbers.get("duration_s", 1.0) <= 0:
        raise LatentError(
            f"{name}.json: expected levels within {MOST_LEVEL_DB:.0f} dB of full scale and a length over 0, "
            f"received {numbers}"
        )
    return numbers


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

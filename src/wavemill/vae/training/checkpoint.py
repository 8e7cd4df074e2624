"""The checkpoint of a training run: one file, replaced atomically after each epoch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError, OutputError, UsageError
from wavemill.files.bounded_json import parse_json
from wavemill.vae.folder.archive import read_archive
from wavemill.vae.folder.record import TRAINING_NAME

_META, _STATE, _BEST = "meta", "state/", "best/"
# Enough for the largest network: weights, their averages, the optimiser's state and the best
# weights.
_MOST_BYTES = 2**32


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training run has come, in whole epochs."""

    epoch: int = 0  # epochs done
    best_epoch: int = 0
    best_error: float = float("inf")
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything needed to resume: the trainer's state, the best weights so far and the options."""

    progress: Progress
    state: Mapping[str, FloatArray]
    best: Mapping[str, FloatArray]
    config: Mapping[str, Any]
    features: Mapping[str, Any]


def checkpoint_file(model_dir: Path) -> Path:
    """Return the path of the checkpoint below a model folder."""
    return model_dir / TRAINING_NAME / "checkpoint.npz"


def write_checkpoint(file: Path, checkpoint: Checkpoint) -> None:
    """Replace `file` atomically; raise OutputError when it cannot be written."""
    meta = {
        "progress": asdict(checkpoint.progress),
        "config": dict(checkpoint.config),
        "features": dict(checkpoint.features),
    }
    arrays: dict[str, NDArray[Any]] = {_META: np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)}
    arrays |= {_STATE + name: array for name, array in checkpoint.state.items()}
    arrays |= {_BEST + name: array for name, array in checkpoint.best.items()}
    scratch = file.with_suffix(".tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(scratch, file)  # noqa: PTH105
    except OSError as exc:
        raise OutputError(f"{file}: the checkpoint cannot be written: {exc}") from exc


def read_checkpoint(file: Path) -> Checkpoint:
    """Read a checkpoint that `write_checkpoint` wrote.

    Raises
    ------
    UsageError
        When there is no checkpoint.
    ModelError
        When it cannot be read.
    """
    try:
        arrays = read_archive(file, most_bytes=_MOST_BYTES)
        meta = parse_json(arrays[_META].tobytes())
        return Checkpoint(
            progress=Progress(**meta["progress"]),
            state=_below(_STATE, arrays),
            best=_below(_BEST, arrays),
            config=dict(meta["config"]),
            features=dict(meta["features"]),
        )
    except FileNotFoundError as exc:
        raise UsageError(
            f"{file}: there is no training to resume or to finish; start one without --resume and --finish, "
            "or from a finished model with --init"
        ) from exc
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ModelError(f"{file}: the checkpoint cannot be read: {exc}; start without --resume") from exc


def _below(prefix: str, arrays: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

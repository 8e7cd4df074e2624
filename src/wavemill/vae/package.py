"""Save and load a model folder: JSON, arrays and digests. Loading never executes anything in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError, StorageUnavailableError
from wavemill.storage.errors import Verdict, is_missing, reason, require_there, verdict
from wavemill.text.shown import shown_lines
from wavemill.vae.folder.archive import MisfitError, Shapes, declared_bytes, read_archive
from wavemill.vae.folder.card import model_card
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.finding import find_model
from wavemill.vae.folder.record import (
    CARD_FILE,
    LATENTS_FILE,
    MOST_FILE_BYTES,
    RECORD_FILE,
    WEIGHTS_FILE,
    ModelRecord,
    read_record,
)
from wavemill.vae.folder.replacement import read_steadily
from wavemill.vae.folder.writing import write_folder
from wavemill.vae.model import Model
from wavemill.vae.network.building import Network, build_network
from wavemill.vae.network.forward import keep_operations_on_one_thread

Result = TypeVar("Result")

_MOST_WEIGHT_BYTES = MOST_FILE_BYTES
_MOST_LATENT_BYTES = 2**25  # a prior's prototypes take two megabytes
_LEAST_WEIGHT_BYTES = 2  # half precision


def save_model(
    folder: str | Path,
    record: ModelRecord,
    network: Network,
    *,
    latents: Mapping[str, NDArray[Any]] | None = None,
    half_precision: bool = False,
) -> str:
    """Write a complete model folder, replacing any previous one, and return the model's digest.

    Parameters
    ----------
    folder : the folder to write; a training in progress in its subfolder `.training` is kept
    latents : the arrays of a prior and of `wavemill.vae.latents.lengths.Lengths`
    half_precision : store weights as float16, half the size, and note that in the record's
        `training`; the network still computes in float32

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    folder = Path(folder)
    if half_precision:
        record = replace(record, training={**record.training, "weights_stored_as": "float16"})
    dtype = np.float16 if half_precision else np.float32
    write_folder(folder, lambda written: _write_files(written, record, network, latents or {}, dtype))
    return verify(folder)


def load_model(path_or_name: str | Path, *, models_dir: str | Path = "models") -> Model:
    """Verify a model folder and rebuild its network.

    This limits TensorFlow operations to one thread each, unless TensorFlow is already initialised
    or its threads are set: see `wavemill.vae.network.forward`. To train in the same process, set
    TensorFlow's threads first.

    Raises
    ------
    ModelChangedError
        When a file differs from its recorded digest.
    ModelError
        When there is no such model, or its files do not fit together.
    StorageUnavailableError
        When its disk does not answer, or disappears during loading.
    """
    folder = None
    try:
        folder = find_model(path_or_name, models_dir)
        return read_steadily(folder, _load)
    except (ModelError, OSError) as exc:
        cause = exc if isinstance(exc, OSError) else exc.__cause__
        if not isinstance(cause, OSError):
            raise
        if not is_missing(cause) and verdict(cause) is Verdict.OUTAGE:
            raise StorageUnavailableError(f"model {str(path_or_name)!r} cannot be read now: {reason(cause)}") from exc
        if folder is None or not is_missing(cause):
            raise
    require_there(folder.resolve().parent, "the folder of models")
    return read_steadily(folder, _load)  # the disk may have come back only just now


def _load(folder: Path) -> Model:
    digest = verify(folder)
    record = read_record(folder)
    n_bytes = _readable(folder / WEIGHTS_FILE, lambda file: declared_bytes(file, most_bytes=_MOST_WEIGHT_BYTES))
    keep_operations_on_one_thread()
    network = build_network(
        record.architecture,
        kind=record.kind,
        shape=record.features.shape,
        latent_dim=record.latent_dim,
        config=record.architecture_config,
        conditions=record.conditions,
        most_weights=n_bytes // _LEAST_WEIGHT_BYTES,  # the file cannot hold values for more
    )
    shapes = {name: tuple(variable.shape) for name, variable in network.variables().items()}
    set_weights(network, read_arrays(folder / WEIGHTS_FILE, shapes=shapes))
    latents = (
        read_arrays(folder / LATENTS_FILE, most_bytes=_MOST_LATENT_BYTES) if (folder / LATENTS_FILE).is_file() else {}
    )
    return Model(record, network, digest=digest, latents=latents)


def get_weights(network: Network) -> dict[str, FloatArray]:
    """Return every weight by its stable name, float32."""
    return {name: variable.numpy().astype(np.float32) for name, variable in network.variables().items()}


def set_weights(network: Network, weights: Mapping[str, FloatArray]) -> None:
    """Assign weights by name; ModelError unless every name and shape matches."""
    variables = network.variables()
    if set(weights) != set(variables):
        odd = sorted(set(weights) ^ set(variables))
        raise ModelError(f"the weights do not fit the architecture: {', '.join(odd[:4])}; train the model again")
    for name, variable in variables.items():
        if weights[name].shape != tuple(variable.shape):
            raise ModelError(
                f"weight {name}: expected shape {tuple(variable.shape)}, received {weights[name].shape}; train again"
            )
        variable.assign(weights[name])


def read_arrays(
    file: Path, *, shapes: Shapes | None = None, most_bytes: int = _MOST_WEIGHT_BYTES
) -> dict[str, FloatArray]:
    """Read an .npz as float32 arrays, never as pickles; they must match `shapes` if given."""
    arrays = _readable(file, lambda file: read_archive(file, most_bytes=most_bytes, shapes=shapes))
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def _readable(file: Path, read: Callable[[Path], Result]) -> Result:
    try:
        return read(file)
    except MisfitError as exc:
        raise ModelError(f"{file}: the weights do not fit the architecture: {exc}; train the model again") from exc
    except (OSError, ValueError) as exc:
        raise ModelError(f"{file}: cannot be read as arrays: {exc}; restore the file or train again") from exc


def _write_files(
    folder: Path, record: ModelRecord, network: Network, latents: Mapping[str, NDArray[Any]], dtype: type
) -> None:
    weights: dict[str, NDArray[Any]] = {name: array.astype(dtype) for name, array in get_weights(network).items()}
    np.savez_compressed(folder / WEIGHTS_FILE, **weights)  # type: ignore[arg-type]
    if latents:
        np.savez_compressed(folder / LATENTS_FILE, **latents)  # type: ignore[arg-type]
    (folder / RECORD_FILE).write_text(json.dumps(record.as_dict(), indent=2) + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(shown_lines(model_card(record)), encoding="utf-8")

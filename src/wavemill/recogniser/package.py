"""Save and load a recogniser's folder: JSON, arrays and digests, as for models."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wavemill.errors import ModelError
from wavemill.keras_seam import keras
from wavemill.recogniser.card import recogniser_card
from wavemill.recogniser.listening import Listening
from wavemill.recogniser.network import build_recogniser
from wavemill.recogniser.recogniser import Recogniser, RecogniserRecord
from wavemill.text.shown import shown_lines
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.record import CARD_FILE, WEIGHTS_FILE, read_json_object
from wavemill.vae.folder.record import RECOGNISER_FILE as RECORD_FILE
from wavemill.vae.folder.replacement import read_steadily
from wavemill.vae.folder.writing import write_folder
from wavemill.vae.package import read_arrays

FORMAT = 1
_MOST_SAMPLES = 2**24  # half an hour
_MOST_NUMBERS = 2**18  # per picture; a default one has 4,080
_MOST_LABELS = 2**14


def save_recogniser(folder: str | Path, record: RecogniserRecord, network: keras.Model) -> str:
    """Write a complete recogniser folder, with weights as float16, and return its digest.

    OutputError when it cannot be written.
    """
    folder = Path(folder)
    write_folder(folder, lambda written: _write_files(written, record, network), record_file=RECORD_FILE)
    return verify(folder, required=(RECORD_FILE, WEIGHTS_FILE))


def load_recogniser(folder: str | Path) -> Recogniser:
    """Verify a recogniser's folder and rebuild its network.

    Raises
    ------
    ModelChangedError
        When a file differs from its recorded digest.
    ModelError
        When there is no recogniser in `folder`, or its files do not fit together.
    """
    return read_steadily(Path(folder), _load)


def _load(folder: Path) -> Recogniser:
    if not (folder / RECORD_FILE).is_file():
        raise ModelError(
            f"{folder} holds no {RECORD_FILE}; train one with: wavemill recogniser train RECORDINGS {folder}"
        )
    digest = verify(folder, required=(RECORD_FILE, WEIGHTS_FILE))
    record = _read_record(folder / RECORD_FILE)
    network = build_recogniser(record.listening.shape, record.labels)
    shapes = {variable.path: tuple(variable.shape) for variable in network.weights}
    _set_weights(network, read_arrays(folder / WEIGHTS_FILE, shapes=shapes))
    return Recogniser(record, network, digest=digest)


def _write_files(folder: Path, record: RecogniserRecord, network: keras.Model) -> None:
    weights: dict[str, NDArray[Any]] = {w.path: np.asarray(w).astype(np.float16) for w in network.weights}
    np.savez(folder / WEIGHTS_FILE, **weights)  # type: ignore[arg-type]
    content = {"format": FORMAT, **record.as_dict()}
    (folder / RECORD_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    (folder / CARD_FILE).write_text(shown_lines(recogniser_card(record)), encoding="utf-8")


def _read_record(file: Path) -> RecogniserRecord:
    try:
        values = read_json_object(file)
        if values.pop("format") != FORMAT:
            raise ModelError(f"{file}: expected recogniser format {FORMAT}; update wavemill, or train it again")
        record = RecogniserRecord(**{**values, "listening": Listening(**values["listening"])})
        _require_sizes(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelError(f"{file}: cannot be read as a recogniser's record: {exc}; train it again") from exc
    return record


def _require_sizes(record: RecogniserRecord) -> None:
    """Raise TypeError or ValueError for invalid sizes, labels or temperatures."""
    listening = record.listening
    for name in ("sample_rate_hz", "n_samples", "n_fft", "hop_length", "n_bands"):
        number = getattr(listening, name)
        if type(number) is not int or not 0 < number <= _MOST_SAMPLES:
            raise ValueError(f"{name}: expected a whole number from 1 to {_MOST_SAMPLES}, received {number!r:.40}")
    if math.prod(listening.shape) > _MOST_NUMBERS:
        raise ValueError(f"a picture of {listening.shape[0]} x {listening.shape[1]} numbers is too large")
    if not all(
        isinstance(values, list) and all(isinstance(x, str) for x in values) for values in record.labels.values()
    ):
        raise TypeError("labels: expected lists of strings")
    if sum(map(len, record.labels.values())) > _MOST_LABELS:
        raise ValueError(f"labels: expected at most {_MOST_LABELS}")
    if set(record.temperatures) != set(record.labels):
        raise ValueError("expected a temperature for each kind of label")


def _set_weights(network: keras.Model, weights: dict[str, NDArray[np.float32]]) -> None:
    variables = {variable.path: variable for variable in network.weights}
    shapes = {path: tuple(variable.shape) for path, variable in variables.items()}
    if shapes != {path: array.shape for path, array in weights.items()}:
        raise ModelError("the recogniser's weights do not fit its record; restore the folder or train it again")
    for path, variable in variables.items():
        variable.assign(weights[path])

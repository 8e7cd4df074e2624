"""A model folder's files, and the contents of its record, `model.json`.

The producer reads records without importing NumPy or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wavemill.errors import ModelError, UsageError
from wavemill.files.bounded import NotAFileError, TooLargeError, read_file
from wavemill.files.bounded_json import MOST_BYTES as MOST_JSON_BYTES
from wavemill.files.bounded_json import parse_json
from wavemill.operations.requests import require_refine
from wavemill.presets import Features
from wavemill.vae.conditions import Conditions, conditions_as_dict, conditions_from_dict, total_width
from wavemill.vae.network.sizes import MOST_LATENTS

RECORD_FILE = "model.json"
WEIGHTS_FILE = "weights.npz"
LATENTS_FILE = "latents.npz"
DIGEST_FILE = "SHA256"
TRAINING_NAME = ".training"  # subfolder of a model's folder during training
CARD_FILE = "README.md"
# The file that marks each kind of folder. A recogniser must never be taken for a model that makes
# sound.
RECOGNISER_FILE = "recogniser.json"
RECORD_FILES = {RECORD_FILE: "a model", RECOGNISER_FILE: "a recogniser"}
FORMAT = 1
MOST_FILE_BYTES = 2**29  # per listed file: the weights of the largest network


_LEFT_OUT = ("conditions", "refine")  # of a record, where there are none


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The contents of `model.json`: enough to rebuild the network and know how it was trained."""

    name: str
    kind: str  # "vae" or "ae"
    architecture: str
    architecture_config: Mapping[str, Any]
    features: Features
    normalisation: Mapping[str, Any]  # see wavemill.vae.network.scaling
    latent_dim: int
    training: Mapping[str, Any]
    quality: Mapping[str, Any]
    code_version: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the labels that a sample can be asked for
    conditions: Conditions = ()  # what the decoder is told; a sample can be asked for these instead of `labels`
    refine: int = 0  # steps that improve encoded latents, see wavemill.vae.network.refinement

    @property
    def vector_dim(self) -> int:
        """Numbers that a clip becomes: its latents and those of the conditions."""
        return self.latent_dim + self.told_dim

    @property
    def told_dim(self) -> int:
        """Numbers that say what the decoder is told; 0 for a model without conditions."""
        return total_width(self.conditions)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, in the order of `model.json`."""
        values = {"format": FORMAT, **asdict(self), "features": self.features.as_dict()}
        told = conditions_as_dict(self.conditions)
        values["conditions"] = told
        return {name: value for name, value in values.items() if value or name not in _LEFT_OUT}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelRecord:
        """Build a record from `as_dict`'s result; ModelError if a part is missing or unsupported."""
        if values.get("format") != FORMAT:
            raise ModelError(f"expected model format {FORMAT}, received {values.get('format')!r}; update wavemill")
        fields = {key: value for key, value in values.items() if key != "format"}
        try:
            told = conditions_from_dict(fields.get("conditions", {}))
            record = cls(**{**fields, "features": Features.from_dict(fields["features"]), "conditions": told})
            _require_types(record)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as exc:
            raise ModelError(f"the model's record is incomplete: {exc}") from exc
        return record


def numbers_text(latent_dim: int, told_dim: int) -> str:
    """Say how many numbers a clip becomes."""
    parts = f" ({latent_dim} latents and {told_dim} of the labels that the decoder is told)" if told_dim else ""
    return f"{latent_dim + told_dim} numbers{parts}"


def read_record(path: str | Path) -> ModelRecord:
    """Read `model.json` of the model folder `path`, without checking any digest."""
    file = Path(path) / RECORD_FILE
    values = read_json_object(file)
    try:
        return ModelRecord.from_dict(values)
    except ModelError as exc:
        raise ModelError(f"{file}: {exc}") from exc


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a record's JSON; ModelError when it is damaged, not an object, too large or too deep."""
    try:
        values = parse_json(read_bytes(file, MOST_JSON_BYTES))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{file}: cannot be read as JSON: {exc}; restore the folder or train the model again") from exc
    if not isinstance(values, dict):
        raise ModelError(f"{file}: expected a JSON object, received {type(values).__name__}")
    return values


def read_bytes(file: Path, most_bytes: int) -> bytes:
    """Return a file's bytes; raise OSError, or ValueError when it is not a file or too large."""
    try:
        return read_file(file, most_bytes=most_bytes)
    except (NotAFileError, TooLargeError) as exc:
        raise ValueError(str(exc) or "it is no file") from exc


def _require_types(record: ModelRecord) -> None:
    """Raise TypeError or ValueError when a field does not have its declared type."""
    for name in ("name", "kind", "architecture", "code_version"):
        if not isinstance(getattr(record, name), str):
            raise TypeError(f"{name}: expected a string, received {str(getattr(record, name))[:40]}")
    for name in ("architecture_config", "normalisation", "training", "quality", "labels"):
        if not isinstance(getattr(record, name), dict):
            raise TypeError(f"{name}: expected an object, received {str(getattr(record, name))[:40]}")
    if not all(isinstance(v, list) and all(isinstance(x, str) for x in v) for v in record.labels.values()):
        raise TypeError("labels: expected lists of strings")
    if type(record.latent_dim) is not int or not 0 < record.latent_dim <= MOST_LATENTS:
        raise ValueError(f"latent_dim: expected 1 to {MOST_LATENTS}, received {str(record.latent_dim)[:40]}")
    require_refine(record.refine)

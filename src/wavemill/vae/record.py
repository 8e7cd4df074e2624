"""Read and verify a model folder's record, `model.json`. Standard library only.

The producer checks the model when a batch is submitted, without importing NumPy or TensorFlow.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wavemill.dataset.bounded import FLAGS, NotAFileError, TooLargeError, read_file, size_of
from wavemill.dataset.bounded_json import MOST_BYTES as MOST_JSON_BYTES
from wavemill.dataset.bounded_json import parse_json
from wavemill.errors import ModelChangedError, ModelError, UsageError
from wavemill.presets import Features
from wavemill.shipped import shipped_folder
from wavemill.vae.replacement import read_steadily
from wavemill.vae.sizes import MOST_LATENTS

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
_MOST_LISTING_BYTES = 2**16  # for `SHA256`; a genuine one has four lines
_REQUIRED = (RECORD_FILE, WEIGHTS_FILE)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The contents of `model.json`: enough to rebuild the network and know how it was trained."""

    name: str
    kind: str  # "vae" or "ae"
    architecture: str
    architecture_config: Mapping[str, Any]
    features: Features
    normalisation: Mapping[str, Any]  # see wavemill.vae.normalisation
    latent_dim: int
    training: Mapping[str, Any]
    quality: Mapping[str, Any]
    code_version: str
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the labels that a sample can be asked for

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, in the order of `model.json`."""
        return {"format": FORMAT, **asdict(self), "features": self.features.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelRecord:
        """Build a record from `as_dict`'s result; ModelError if a part is missing or unsupported."""
        if values.get("format") != FORMAT:
            raise ModelError(f"expected model format {FORMAT}, received {values.get('format')!r}; update wavemill")
        fields = {key: value for key, value in values.items() if key != "format"}
        try:
            record = cls(**{**fields, "features": Features.from_dict(fields["features"])})
            _require_types(record)
        except (KeyError, TypeError, ValueError, AttributeError, UsageError) as exc:
            raise ModelError(f"the model's record is incomplete: {exc}") from exc
        return record


def find_model(name_or_path: str | Path, models_dir: str | Path = "models") -> Path:
    """Return a model's folder, given its path, or its name below `models_dir` or among the shipped.

    Raises
    ------
    ModelError
        When neither is a folder with a `model.json`; the message lists the names that exist.
    """
    for folder in named_folders(name_or_path, models_dir):
        if read_steadily(folder, _holds_record):
            return folder
    for folder in named_folders(name_or_path, models_dir):
        if (folder / TRAINING_NAME).is_dir():
            raise ModelError(
                f"the training of {folder} is not finished: go on with the options that it was started with and "
                "--resume, or save the best weights so far with --finish"
            )
    names = ", ".join(folder.name for folder in known_models(models_dir)) or "none"
    raise ModelError(
        f"there is no model {str(name_or_path)!r}: expected a folder with {RECORD_FILE}, or a name under "
        f"{models_dir} (known: {names}); set WAVEMILL_MODELS to the folder of your models, or train one with: "
        "wavemill train DATASET MODEL"
    )


def named_folders(name_or_path: str | Path, models_dir: str | Path) -> list[Path]:
    """Return the folders that a name or path may mean; the first that is a model folder counts."""
    shipped = shipped_folder("models")
    return [Path(models_dir) / name_or_path, Path(name_or_path), *([shipped / name_or_path] if shipped else [])]


def known_models(models_dir: str | Path) -> list[Path]:
    """Return the model folders directly below `models_dir`, then shipped ones with other names."""
    own = list_models(models_dir)
    shipped = shipped_folder("models")
    names = {folder.name for folder in own}
    return own + [folder for folder in (list_models(shipped) if shipped else []) if folder.name not in names]


def _holds_record(folder: Path) -> bool:
    return (folder / RECORD_FILE).is_file()


def list_models(models_dir: str | Path = "models") -> list[Path]:
    """Return the model folders directly below `models_dir`, sorted by name."""
    folder = Path(models_dir)
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if (child / RECORD_FILE).is_file())


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
        values = parse_json(_read(file, MOST_JSON_BYTES))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{file}: cannot be read as JSON: {exc}; restore the folder or train the model again") from exc
    if not isinstance(values, dict):
        raise ModelError(f"{file}: expected a JSON object, received {type(values).__name__}")
    return values


def _read(file: Path, most_bytes: int) -> bytes:
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


def verify(path: str | Path, *, required: tuple[str, ...] = _REQUIRED) -> str:
    """Check every file of the model folder `path`, `required` among them, and return the model's digest.

    The digest is the SHA-256 of the file `SHA256`, which lists the SHA-256 of every other file in
    the format of `sha256sum`, so `cd MODEL && sha256sum -c SHA256` makes the same check.

    Raises
    ------
    ModelChangedError
        When a file differs from its recorded digest; the message names it.
    ModelError
        When the folder, `SHA256` or a listed file is missing or malformed.
    """
    return read_steadily(Path(path), lambda folder: _verify(folder, required))


def listed_names(folder: Path) -> list[str]:
    """Return the names of the files listed in a folder's `SHA256`; none if that cannot be read."""
    try:
        return [name for name, _ in _entries(folder, _read(folder / DIGEST_FILE, _MOST_LISTING_BYTES))]
    except (OSError, ValueError, ModelError):
        return []


def _verify(folder: Path, required: tuple[str, ...]) -> str:
    try:
        listing = _read(folder / DIGEST_FILE, _MOST_LISTING_BYTES)
    except OSError as exc:
        raise ModelError(f"{folder}: cannot read {DIGEST_FILE}: {exc.strerror}; is this a model folder?") from exc
    except ValueError as exc:
        raise ModelError(f"{folder}: cannot read {DIGEST_FILE}: {exc}; save the model again") from exc
    names = set()
    for name, expected in _entries(folder, listing):
        if sha256_of(folder / name) != expected:
            raise ModelChangedError(f"{folder / name} has changed since it was saved; restore it or train again")
        names.add(name)
    if missing := [name for name in required if name not in names]:
        raise ModelError(f"{folder / DIGEST_FILE} does not list {', '.join(missing)}; save the model again")
    return hashlib.sha256(listing).hexdigest()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as hex; ModelError when it cannot be read or is too large."""
    try:
        with os.fdopen(os.open(file, FLAGS), "rb") as stream:
            if (n_bytes := size_of(stream.fileno())) > MOST_FILE_BYTES:
                raise ModelError(f"{file}: expected at most {MOST_FILE_BYTES} bytes, received {n_bytes}")
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except NotAFileError as exc:
        raise ModelError(f"{file} is no file; restore the model folder or train the model again") from exc
    except OSError as exc:
        raise ModelError(f"{file}: {exc.strerror}; restore the model folder or train the model again") from exc


def _entries(folder: Path, listing: bytes) -> Iterator[tuple[str, str]]:
    for line in listing.decode("utf-8", errors="replace").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or not name or "/" in name or "\\" in name:
            raise ModelError(f"{folder / DIGEST_FILE}: {line[:80]!r} is not a line of sha256sum; save the model again")
        yield name, digest

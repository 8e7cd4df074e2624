"""What a model folder says about itself, read with the standard library only.

The light side checks a model when a batch is submitted; it must not pay for NumPy or TensorFlow to do so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from wavemill.errors import ModelChangedError, ModelError, UsageError
from wavemill.presets import Features
from wavemill.vae.replacement import read_steadily

RECORD_FILE = "model.json"
WEIGHTS_FILE = "weights.npz"
LATENTS_FILE = "latents.npz"
DIGEST_FILE = "SHA256"
CARD_FILE = "README.md"
# The files that tell kinds of folders apart. A recogniser must never be taken for a model that makes sound.
RECOGNISER_FILE = "recogniser.json"
RECORD_FILES = {RECORD_FILE: "a model", RECOGNISER_FILE: "a recogniser"}
FORMAT = 1
_REQUIRED = (RECORD_FILE, WEIGHTS_FILE)


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """All that `model.json` holds: enough to rebuild the network and to tell where it comes from."""

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
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)  # what can be asked of a sample

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types, in the order of `model.json`."""
        return {"format": FORMAT, **asdict(self), "features": self.features.as_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelRecord:
        """Build from what `as_dict` gave; a ModelError says what is missing or of another version."""
        if values.get("format") != FORMAT:
            raise ModelError(f"expected model format {FORMAT}, received {values.get('format')!r}; update wavemill")
        fields = {key: value for key, value in values.items() if key != "format"}
        try:
            record = cls(**{**fields, "features": Features.from_dict(fields["features"])})
        except (KeyError, TypeError, ValueError, UsageError) as exc:
            raise ModelError(f"the model's record is incomplete: {exc}") from exc
        return record


def find_model(name_or_path: str | Path, models_dir: str | Path = "models") -> Path:
    """Return the folder of a model, given its path or its name below `models_dir`.

    Raises
    ------
    ModelError
        When neither is a folder with a `model.json`; the message lists the names that exist.
    """
    for folder in (Path(models_dir) / name_or_path, Path(name_or_path)):
        if read_steadily(folder, _holds_record):
            return folder
    names = ", ".join(folder.name for folder in list_models(models_dir)) or "none"
    raise ModelError(
        f"there is no model {str(name_or_path)!r}: expected a folder with {RECORD_FILE}, or a name under "
        f"{models_dir} (there: {names}); set WAVEMILL_MODELS to the folder of your models, or train one with: "
        "wavemill train DATASET MODEL"
    )


def _holds_record(folder: Path) -> bool:
    return (folder / RECORD_FILE).is_file()


def list_models(models_dir: str | Path = "models") -> list[Path]:
    """Return the model folders directly below `models_dir`, by name."""
    folder = Path(models_dir)
    if not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if (child / RECORD_FILE).is_file())


def read_record(path: str | Path) -> ModelRecord:
    """Read `model.json` of the model folder `path`, without checking any digest."""
    file = Path(path) / RECORD_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{file}: cannot be read as JSON: {exc}; restore the folder or train the model again") from exc
    if not isinstance(values, dict):
        raise ModelError(f"{file}: expected a JSON object, received {type(values).__name__}")
    return ModelRecord.from_dict(values)


def verify(path: str | Path, *, required: tuple[str, ...] = _REQUIRED) -> str:
    """Check every file of the model folder `path`, `required` among them, and return the model's digest.

    The digest is the SHA-256 of the file `SHA256`, which in turn holds the SHA-256 of every other file as
    `sha256sum` writes it, so `cd MODEL && sha256sum -c SHA256` checks the same.

    Raises
    ------
    ModelChangedError
        When a file is not what was recorded; it is named.
    ModelError
        When the folder, `SHA256` or a listed file is missing or malformed.
    """
    return read_steadily(Path(path), lambda folder: _verify(folder, required))


def listed_names(folder: Path) -> list[str]:
    """Return the names of the files that belong to a folder by its `SHA256`; none where there is no readable one."""
    try:
        return [name for name, _ in _entries(folder, (folder / DIGEST_FILE).read_bytes())]
    except (OSError, ModelError):
        return []


def _verify(folder: Path, required: tuple[str, ...]) -> str:
    try:
        listing = (folder / DIGEST_FILE).read_bytes()
    except OSError as exc:
        raise ModelError(f"{folder}: cannot read {DIGEST_FILE}: {exc.strerror}; is this a model folder?") from exc
    names = set()
    for name, expected in _entries(folder, listing):
        if sha256_of(folder / name) != expected:
            raise ModelChangedError(f"{folder / name} has changed since it was saved; restore it or train again")
        names.add(name)
    if missing := [name for name in required if name not in names]:
        raise ModelError(f"{folder / DIGEST_FILE} does not list {', '.join(missing)}; save the model again")
    return hashlib.sha256(listing).hexdigest()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as hex; a file that cannot be read is a ModelError."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as exc:
        raise ModelError(f"{file}: {exc.strerror}; restore the model folder or train the model again") from exc


def _entries(folder: Path, listing: bytes) -> Iterator[tuple[str, str]]:
    for line in listing.decode("utf-8", errors="replace").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or not name or "/" in name or "\\" in name:
            raise ModelError(f"{folder / DIGEST_FILE}: {line[:80]!r} is not a line of sha256sum; save the model again")
        yield name, digest

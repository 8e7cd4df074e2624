"""The parameters of an operation, as they stand in `batches.params`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from wavemill.errors import UsageError

RECONSTRUCT = "reconstruct"

Format = Literal["wav", "wav24", "float", "flac"]
# Output format -> (container, subtype, suffix), in soundfile's names.
FORMATS: Mapping[str, tuple[str, str, str]] = {
    "wav": ("WAV", "PCM_16", "wav"),
    "wav24": ("WAV", "PCM_24", "wav"),
    "float": ("WAV", "FLOAT", "wav"),
    "flac": ("FLAC", "PCM_16", "flac"),
}
METHODS = ("pghi+gl", "pghi", "griffin-lim", "centre-phase", "zero-phase")


@dataclass(frozen=True, kw_only=True)
class ReconstructParams:
    """How spectrograms are reconstructed.

    Attributes
    ----------
    method : str
        Inversion, one of `METHODS`.
    seed : int or None
        Draw each latent from its posterior instead of taking the mean.
    keep_latents : bool
        Also write each latent as `latents/ID.npy`.
    format : str
        One of `FORMATS`.
    """

    method: str = METHODS[0]
    seed: int | None = None
    keep_latents: bool = False
    format: Format = "wav"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"there is no inversion method {self.method!r}; choose one of: {', '.join(METHODS)}")
        if self.format not in FORMATS:
            raise UsageError(f"there is no output format {self.format!r}; choose one of: {', '.join(FORMATS)}")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReconstructParams:
        """Build from what `as_dict` gave; a parameter of a newer version is a UsageError."""
        if unknown := set(values) - {field.name for field in fields(cls)}:
            raise UsageError(f"parameters {sorted(unknown)} are not known to this worker; update wavemill on its host")
        return cls(**values)

    def item_seed(self, spectrogram_id: str) -> int:
        """Return the seed of one item, so that its noise depends on nothing but the batch's seed and its ID."""
        digest = hashlib.sha256(f"{self.seed}:{spectrogram_id}".encode()).digest()
        return int.from_bytes(digest[:8], "big")

"""The options of a training run, with each architecture's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any

from wavemill.errors import UsageError
from wavemill.vae.conditions import MOST_CONDITIONS


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """All options of a training run; the same config and dataset give the same model."""

    kind: str = "vae"
    architecture: str = "residual"
    architecture_config: dict[str, Any] = field(default_factory=dict)
    latent_dim: int = 128
    objective: str = "calibrated"
    beta: float = 0.5  # weight of the KL; 1 is the evidence lower bound
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    schedule: str = "cosine"  # after a short warm-up; or "constant"
    average_decay: float = 0.998  # moving average of the weights, per step; 0 for none
    augment: bool = True
    colour_db: float = 3.0  # standard deviation of the random equaliser with which clips with numbers are augmented
    validation_fraction: float = 0.1
    validation_label: str | None = None  # such as "index=5,6,7,8,9": hold these out instead of a random fraction
    # Stop after this many epochs without a better validation error, with the best epoch's weights.
    # 0 trains to the end and keeps the last weights; then the held-out spectrograms decide nothing,
    # and figures measured on them are unbiased.
    patience: int = 25
    # Share of the clips that are decoded from their posterior's mean, as in reconstruction. A
    # decoder of thousands of latents that only sees noisy ones comes to rely on the noise:
    # fsdd-hifi's error was 0.00036 with noise and 0.00051 without.
    noiseless_share: float = 0.0
    conditions: list[str] = field(default_factory=list)  # labels that the decoder is told
    # Share of the clips that are decoded with their own labels; the others with what the encoder
    # predicts, as clips without labels are.
    told_share: float = 0.7
    max_minutes: float | None = None  # stop at the end of the epoch that is nearest; the learning rate falls in time
    added_share: float = 0.2  # share of each epoch that comes from added datasets
    init: str | None = None  # name and digest of the model whose weights training started from
    seed: int = 0

    def __post_init__(self) -> None:
        checks = {
            "kind": self.kind in ("vae", "ae"),
            "objective": self.objective in ("course", "calibrated", "distance"),
            "schedule": self.schedule in ("cosine", "constant"),
            "latent_dim": self.latent_dim > 0,
            "epochs": self.epochs > 0,
            "batch_size": self.batch_size > 0,
            "learning_rate": self.learning_rate > 0,
            "beta": self.beta >= 0,
            "average_decay": 0 <= self.average_decay < 1,
            "colour_db": self.colour_db >= 0,
            "validation_fraction": 0 < self.validation_fraction < 1,
            "patience": self.patience >= 0,
            "noiseless_share": 0 <= self.noiseless_share < 1,
            "conditions": len(set(self.conditions)) == len(self.conditions) <= MOST_CONDITIONS,
            "told_share": 0 <= self.told_share <= 1,
            "max_minutes": self.max_minutes is None or self.max_minutes > 0,
            "added_share": 0 < self.added_share < 1,
            "seed": self.seed >= 0,
        }
        if wrong := [name for name, right in checks.items() if not right]:
            received = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            raise UsageError(f"training cannot be done with {received}")

    @classmethod
    def for_architecture(
        cls, architecture: str, *, shape: tuple[int, int] | None = None, **changes: Any
    ) -> TrainingConfig:
        """Return the architecture's defaults, updated with those `changes` that are not None.

        Parameters
        ----------
        shape : (n_bins, n_frames), optional
            Of the spectrograms. It decides the size of a latent that is laid out along them; a
            `latent_dim` is rounded to what they allow.
        """
        recipe = dict(_RECIPES.get(architecture, {}))
        chosen = {name: value for name, value in changes.items() if value is not None}
        if shape is not None and architecture in _NUMBERS_A_CELL:
            n_cells = _cells(architecture, shape, chosen.get("architecture_config", {}))
            wanted = chosen.get("latent_dim", n_cells * _NUMBERS_A_CELL[architecture])
            chosen["latent_dim"] = n_cells * max(1, round(wanted / n_cells))
        return replace(cls(architecture=architecture, **recipe), **chosen)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON types."""
        return asdict(self)


def _cells(architecture: str, shape: tuple[int, int], sizes: Mapping[str, Any]) -> int:
    """Return the number of cells that have their own numbers in the latent."""
    if architecture == "spatial":
        return ceil(shape[0] / SPATIAL_STEP) * ceil(shape[1] / SPATIAL_STEP)
    return ceil(shape[1] / int(sizes.get("frames", SPECTRA_STEP)))


SPECTRA_STEP = 8  # a latent of `spectra` has `SPECTRA_NUMBERS` for each step of 8 frames
SPECTRA_NUMBERS = 20
SPATIAL_STEP = 8  # a spatial latent has `SPATIAL_CHANNELS` numbers for each patch of 8 bins x 8 frames
SPATIAL_CHANNELS = 16
_NUMBERS_A_CELL = {"spatial": SPATIAL_CHANNELS, "spectra": SPECTRA_NUMBERS}
_RECIPES: dict[str, dict[str, Any]] = {
    "course": {
        "objective": "course",
        "beta": 1.0,
        "epochs": 150,
        "batch_size": 64,
        "learning_rate": 5e-4,
        "schedule": "constant",
        "average_decay": 0.0,
        "augment": False,
    },
    "spatial": {"latent_dim": 4096, "beta": 0.1, "batch_size": 16, "noiseless_share": 0.5},
    "spectra": {
        "latent_dim": 480,
        "objective": "distance",
        "batch_size": 16,
        "learning_rate": 2e-3,
        "noiseless_share": 0.25,
    },
}

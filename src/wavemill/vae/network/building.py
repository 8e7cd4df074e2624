"""A network: an encoder and a decoder of one architecture, built with fresh weights.

Axis letters: B batch, F frequency bins, T frames, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from wavemill.errors import ModelError
from wavemill.keras_seam import keras, keras_defaults
from wavemill.vae.conditions import Conditions
from wavemill.vae.network.architectures import ARCHITECTURES, Config, Tensor
from wavemill.vae.network.sizes import MOST_WEIGHTS, require_buildable

PRIOR_LOG_VARIANCE_RANGE = (-8.0, 4.0)  # to which what a prior returns is limited


@dataclass(frozen=True, kw_only=True)
class Network:
    """An encoder (B, F, T, 1) -> mean and log variance, (B, D) each, and a decoder (B, D) -> (B, F, T, 1).

    The encoder of kind `ae` has no log variance. With conditions, the encoder also predicts each of
    them as logits of its choices, (B, choices); the decoder takes the conditions' numbers after the
    latents; and a prior turns these numbers, (B, K), into mean and log variance of the latents.
    """

    encoder: keras.Model
    decoder: keras.Model
    prior: keras.Model | None = None
    conditions: Conditions = ()

    def encode(self, x: Tensor, *, training: bool) -> list[Tensor]:
        """Return the encoder's outputs as a list, even if Keras returns one bare output."""
        outputs = self.encoder(x, training=training)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]

    def variables(self) -> dict[str, Any]:
        """Return all variables by name; names and order are the same in every build."""
        parts = [("encoder", self.encoder), ("decoder", self.decoder)]
        parts += [("prior", self.prior)] if self.prior else []
        return {f"{part}/{variable.path}": variable for part, model in parts for variable in model.variables}

    def trainable_variables(self) -> list[Any]:
        """Return the variables that an optimiser updates, the encoder's first."""
        own = [*self.encoder.trainable_variables, *self.decoder.trainable_variables]
        return [*own, *self.prior.trainable_variables] if self.prior else own


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The outputs of an encoder by name."""

    mean: Tensor  # (B, D)
    log_variance: Tensor | None  # (B, D); None for a plain autoencoder
    logits: Sequence[Tensor] = ()  # (B, choices) for each condition
    predicted: Tensor | None = None  # (B, K), the conditions' numbers

    @classmethod
    def of(cls, network: Network, outputs: Sequence[Tensor]) -> Self:
        """Name what `network`'s encoder returned."""
        mean, *rest = outputs
        *heads, predicted = rest if network.conditions else [*rest, None]
        n_logits = len(network.conditions)
        return cls(
            mean=mean,
            log_variance=heads[0] if len(heads) > n_logits else None,
            logits=heads[len(heads) - n_logits :],
            predicted=predicted,
        )


@keras_defaults()
def build_network(
    architecture: str,
    *,
    kind: str,
    shape: tuple[int, int],
    latent_dim: int,
    config: Config | None = None,
    conditions: Conditions = (),
    most_weights: int = MOST_WEIGHTS,
) -> Network:
    """Build a network with fresh weights.

    Parameters
    ----------
    architecture : a key of `ARCHITECTURES`
    kind : "vae" or "ae"
    shape : (n_bins, n_frames)
    latent_dim : int > 0
    config : sizes that replace the architecture's defaults
    conditions : labels that the decoder is told
    most_weights : upper limit for the number of weights

    Raises
    ------
    ModelError
        For an unknown architecture, kind or size.
    """
    family = ARCHITECTURES.get(architecture)
    if family is None:
        raise ModelError(f"there is no architecture {architecture!r}; choose one of: {', '.join(ARCHITECTURES)}")
    if kind not in ("vae", "ae"):
        raise ModelError(f"there is no model kind {kind!r}; choose vae or ae")
    if unknown := set(config or {}) - set(family.defaults):
        raise ModelError(f"architecture {architecture!r} has no setting {', '.join(sorted(unknown))}")
    if conditions and family.prior is None:
        able = ", ".join(name for name, other in ARCHITECTURES.items() if other.prior)
        raise ModelError(f"architecture {architecture!r} cannot be conditioned on labels; choose one of: {able}")
    sizes = {**family.defaults, **(config or {})}
    require_buildable(
        architecture,
        kind=kind,
        shape=shape,
        latent_dim=latent_dim,
        config=sizes,
        conditions=conditions,
        most_weights=most_weights,
    )
    told = (conditions,) if conditions else ()
    return Network(
        encoder=family.encoder(shape, kind, latent_dim, sizes, *told),
        decoder=family.decoder(shape, latent_dim, sizes, *told),
        prior=family.prior(latent_dim, sizes, conditions) if family.prior and conditions else None,
        conditions=conditions,
    )

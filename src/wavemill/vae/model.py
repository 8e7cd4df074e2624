"""A trained model for users: spectrograms in dB to latents, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.duration import sounding_s
from wavemill.errors import SpectrogramError, UsageError
from wavemill.labels import Labels
from wavemill.presets import Features
from wavemill.vae.folder.record import ModelRecord
from wavemill.vae.latents.prior import TEMPERATURE, Prior, SampledLatents
from wavemill.vae.network.building import Network
from wavemill.vae.network.forward import Forward
from wavemill.vae.network.scaling import db_to_network, network_to_db


class Model:
    """A network with its record.

    The same spectrogram gives the same bytes in any batch (see `Forward`).
    `wavemill.vae.package.load_model` builds it.
    """

    def __init__(
        self,
        record: ModelRecord,
        network: Network,
        *,
        digest: str,
        latents: Mapping[str, FloatArray] | None = None,
    ) -> None:
        self.record, self.network, self.digest = record, network, digest
        self.prior = Prior.from_arrays(latents or {})
        self._encode = Forward(network.encoder)
        self._decode = Forward(network.decoder)

    @property
    def name(self) -> str:
        """The name that the model was saved under."""
        return self.record.name

    @property
    def kind(self) -> str:
        """`vae` or `ae`."""
        return self.record.kind

    @property
    def features(self) -> Features:
        """The feature parameters that input spectrograms must have."""
        return self.record.features

    @property
    def latent_dim(self) -> int:
        """Numbers per latent vector."""
        return self.record.latent_dim

    def warm_up(self) -> None:
        """Compile encoder and decoder now, so that the first job is not slow."""
        self.reconstruct(np.zeros((1, *self.features.shape), np.float32))

    def encode(self, db: FloatArray, *, seeds: Sequence[int] | None = None) -> FloatArray:
        """Encode spectrograms: return the posterior mean, or one sample for each seed.

        Parameters
        ----------
        db : float32 [shape=(batch, n_bins, n_frames)], in dB, finite
        seeds : one integer >= 0 per item, optional
            Each item's noise comes from its own seed, so it does not depend on the batch.
            UsageError for a plain autoencoder, which has no posterior to sample.

        Returns
        -------
        float32 [shape=(batch, latent_dim)]
        """
        mean, log_variance = self.posterior(db)
        if seeds is None:
            return mean
        if log_variance is None:
            raise UsageError(
                f"model {self.name!r} is a plain autoencoder and has no posterior to sample; omit the seeds"
            )
        if len(seeds) != len(db):
            raise UsageError(f"expected one seed for each of {len(db)} spectrograms, received {len(seeds)}")
        noise = seeded_noise(seeds, self.latent_dim)
        return np.asarray(mean + np.exp(log_variance / 2) * noise, dtype=np.float32)

    def posterior(self, db: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Return the latents' mean and log variance, (batch, latent_dim) each.

        The log variance of a plain autoencoder is None.

        Parameters
        ----------
        db : float32 [shape=(batch, n_bins, n_frames)], in dB, finite
        """
        self._check(db)
        x = db_to_network(db, dict(self.record.normalisation))[..., None]  # (B, F, T) -> (B, F, T, 1)
        mean, *log_variance = self._encode(x)
        return mean, log_variance[0] if log_variance else None

    def decode(self, latents: FloatArray, *, peak_db: FloatArray, floor_db: FloatArray | None = None) -> FloatArray:
        """Decode latents to spectrograms.

        Parameters
        ----------
        latents : float32 [shape=(batch, latent_dim)]
        peak_db : float32 [shape=(batch,)]
            Level of a network output of 1.
        floor_db : float32 [shape=(batch,)], optional
            Level of silence; by default `features.range_db` below the peak.

        Returns
        -------
        float32 [shape=(batch, n_bins, n_frames)], in dB
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim or len(peak_db) != len(latents):
            raise UsageError(
                f"expected latents (batch, {self.latent_dim}) and as many peaks, "
                f"received {latents.shape} and {len(peak_db)}"
            )
        peak_db = np.asarray(peak_db, np.float32)
        floor_db = (
            peak_db - np.float32(self.features.range_db) if floor_db is None else np.asarray(floor_db, np.float32)
        )
        (x,) = self._decode(latents)
        return network_to_db(x[..., 0], dict(self.record.normalisation), peak_db=peak_db, floor_db=floor_db)

    def reconstruct(self, db: FloatArray, *, seeds: Sequence[int] | None = None) -> tuple[FloatArray, FloatArray]:
        """Encode and decode at each spectrogram's level; return (spectrograms in dB, latents)."""
        latents = self.encode(db, seeds=seeds)
        levels = {"peak_db": db.max(axis=(1, 2)), "floor_db": db.min(axis=(1, 2))}
        return self.decode(latents, **levels), latents

    def sample_latents(
        self, seeds: Sequence[int], *, labels: Labels | None = None, temperature: float | None = None
    ) -> SampledLatents:
        """Draw new latents from the prior that was fitted to the training latents, one for each seed.

        Parameters
        ----------
        seeds : integers >= 0
            Each item depends on its own seed and not on the batch.
        labels : such as {"digit": "7"} or {"digit": "7", "speaker": "george"}; by default, any
            labels
        temperature : float >= 0, optional
            Distance from the middle of a label: 0 is the middle itself, 1 is between neighbouring
            prototypes. Prototypes are means, so 1 is less varied than the training set: `fsdd-vae`
            reaches 0.58 of the standard deviation of its takes.

        Raises
        ------
        UsageError
            When the model does not know a label, or has no prior.
        """
        prior = self._required_prior()
        if not len(seeds):
            raise UsageError("expected at least one seed, received none")
        heat = TEMPERATURE if temperature is None else temperature
        latents, peak_db, carried = prior.draw(seeds, labels=labels or {}, temperature=heat)
        duration_s = sounding_s(self.decode(latents, peak_db=peak_db), self.features)
        return SampledLatents(latents=latents, peak_db=peak_db, duration_s=duration_s, labels=carried)

    def vary_latents(self, latents: FloatArray, *, seeds: Sequence[int], strength: float) -> FloatArray:
        """Move each latent in a random direction, by the usual distance of takes of one label.

        Parameters
        ----------
        latents : float32 [shape=(batch, latent_dim)]
        seeds : one integer >= 0 per item
        strength : float >= 0
            0 changes nothing; 1 moves by the distance between two takes of one word by one speaker
            (root mean square over all words and speakers).

        Returns
        -------
        float32 [shape=(batch, latent_dim)]
        """
        if len(seeds) != len(latents):
            raise UsageError(f"expected one seed for each of {len(latents)} latents, received {len(seeds)}")
        return np.asarray(latents + np.float32(strength) * self._required_prior().noise(seeds), np.float32)

    def _required_prior(self) -> Prior:
        if self.prior is None:
            raise UsageError(f"model {self.name!r} holds no statistics of its latents to draw from; train it again")
        return self.prior

    def _check(self, db: FloatArray) -> None:
        if db.ndim != 3 or db.shape[1:] != self.features.shape:
            raise SpectrogramError(
                f"model {self.name!r} takes float32 spectrograms (batch, {self.features.n_bins}, "
                f"{self.features.n_frames}) in dB, received {db.dtype} {db.shape}; build the dataset with the "
                "model's features: wavemill dataset build AUDIO_DIR DATASET --features MODEL/model.json"
            )
        if not np.isfinite(db).all():
            raise SpectrogramError("a spectrogram holds NaN or infinite values; rebuild the dataset")


def seeded_noise(seeds: Sequence[int], latent_dim: int) -> FloatArray:
    """Return standard normal noise, float32 [shape=(len(seeds), latent_dim)], each row from its own seed."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).standard_normal(latent_dim, np.float32) for seed in seeds]
    return np.stack(rows)

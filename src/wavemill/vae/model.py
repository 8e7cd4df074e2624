"""A trained model for users: spectrograms in dB to latents, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.duration import sounding_s
from wavemill.errors import SpectrogramError, UsageError
from wavemill.labels import Labels
from wavemill.operations.requests import require_refine
from wavemill.presets import Features
from wavemill.vae.folder.record import ModelRecord
from wavemill.vae.latents.conditional import TEMPERATURE as CONDITIONAL_TEMPERATURE
from wavemill.vae.latents.conditional import ConditionalPrior
from wavemill.vae.latents.lengths import Lengths
from wavemill.vae.latents.prior import TEMPERATURE, Prior, SampledLatents
from wavemill.vae.network.building import PRIOR_LOG_VARIANCE_RANGE, Encoded, Network
from wavemill.vae.network.forward import Forward
from wavemill.vae.network.refinement import Refinement
from wavemill.vae.network.scaling import db_to_network, network_to_db
from wavemill.vae.told import over_numbers, told


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
        self.prior: Prior | ConditionalPrior | None = (
            ConditionalPrior.from_arrays(latents or {}, record.conditions, record.latent_dim)
            if record.conditions
            else Prior.from_arrays(latents or {})
        )
        self.lengths = Lengths.from_arrays(latents or {})
        self._encode = Forward(network.encoder)
        self._decode = Forward(network.decoder)
        self._expect = Forward(network.prior) if network.prior else None
        self._refine = Refinement(network.decoder, latent_dim=record.latent_dim)

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
        """Numbers per latent vector; the last `told_dim` of them are those of the conditions."""
        return self.record.vector_dim

    @property
    def told_dim(self) -> int:
        """Numbers that say what the decoder is told; 0 for a model without conditions."""
        return self.record.told_dim

    def warm_up(self) -> None:
        """Compile encoder and decoder now, so that the first job is not slow."""
        self.reconstruct(np.zeros((1, *self.features.shape), np.float32))

    def encode(
        self,
        db: FloatArray,
        *,
        seeds: Sequence[int] | None = None,
        labels: Sequence[Labels] | None = None,
        refine: int | None = None,
    ) -> FloatArray:
        """Encode spectrograms: return the posterior mean, refined, or one sample for each seed.

        Parameters
        ----------
        db : float32 [shape=(batch, n_bins, n_frames)], in dB, finite
        seeds : one integer >= 0 per item, optional
            Each item's noise comes from its own seed, so it does not depend on the batch.
            UsageError for a plain autoencoder, which has no posterior to sample.
        labels : one mapping per item, optional
            What a conditioned model's decoder shall be told. The encoder predicts what is missing
            or was not learnt.
        refine : int from 0 to 100, optional
            Steps that move the latents until they draw the spectrogram more closely (`Refinement`).
            None: as many as the record says, and none with seeds.

        Returns
        -------
        float32 [shape=(batch, latent_dim)]
        """
        self._check(db)
        require_refine(refine)
        if labels is not None and len(labels) != len(db):
            raise UsageError(f"expected the labels of each of {len(db)} spectrograms, received {len(labels)}")
        x = self._scaled(db)
        outputs = Encoded.of(self.network, self._encode(x))
        latents = outputs.mean if seeds is None else self._drawn(outputs, seeds)
        if outputs.predicted is not None:
            conditions = self.record.conditions
            own = told(conditions, labels or [{}] * len(db))
            numbers = np.where(over_numbers(own.known, conditions) > 0, own.numbers, outputs.predicted)
            latents = np.concatenate([latents, numbers], axis=1).astype(np.float32)
        steps = (self.record.refine if seeds is None else 0) if refine is None else refine
        return self._refine(x, latents, steps=steps) if steps else latents

    def posterior(self, db: FloatArray) -> tuple[FloatArray, FloatArray | None]:
        """Return the latents' mean and log variance, (batch, latent_dim - told_dim) each.

        The log variance of a plain autoencoder is None.

        Parameters
        ----------
        db : float32 [shape=(batch, n_bins, n_frames)], in dB, finite
        """
        self._check(db)
        outputs = Encoded.of(self.network, self._encode(self._scaled(db)))
        return outputs.mean, outputs.log_variance

    def _scaled(self, db: FloatArray) -> FloatArray:
        return db_to_network(db, dict(self.record.normalisation))[..., None]  # (B, F, T) -> (B, F, T, 1)

    def _drawn(self, outputs: Encoded, seeds: Sequence[int]) -> FloatArray:
        if outputs.log_variance is None:
            raise UsageError(
                f"model {self.name!r} is a plain autoencoder and has no posterior to sample; omit the seeds"
            )
        if len(seeds) != len(outputs.mean):
            raise UsageError(f"expected one seed for each of {len(outputs.mean)} spectrograms, received {len(seeds)}")
        noise = seeded_noise(seeds, self.record.latent_dim)
        return np.asarray(outputs.mean + np.exp(outputs.log_variance / 2) * noise, dtype=np.float32)

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

    def reconstruct(
        self,
        db: FloatArray,
        *,
        seeds: Sequence[int] | None = None,
        labels: Sequence[Labels] | None = None,
        refine: int | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Encode and decode at each spectrogram's level; return (spectrograms in dB, latents)."""
        latents = self.encode(db, seeds=seeds, labels=labels, refine=refine)
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
            labels. A conditioned model takes any combination of what it knows, and numbers between
            those that it was trained on.
        temperature : float >= 0, optional
            Distance from the middle of a label: 0 is the middle itself, 1 is between neighbouring
            prototypes. Prototypes are means, so 1 is less varied than the training set: `fsdd-vae`
            reaches 0.58 of the standard deviation of its takes. In a conditioned model, 1 is as
            varied as the training set.

        Raises
        ------
        UsageError
            When the model does not know a label, or has no prior.
        """
        prior = self._required_prior()
        if not len(seeds):
            raise UsageError("expected at least one seed, received none")
        if isinstance(prior, ConditionalPrior):
            return self._sampled(prior, seeds, labels or {}, temperature)
        heat = TEMPERATURE if temperature is None else temperature
        latents, peak_db, carried = prior.draw(seeds, labels=labels or {}, temperature=heat)
        return self._ended(latents, peak_db, carried, seeds)

    def _sampled(
        self, prior: ConditionalPrior, seeds: Sequence[int], labels: Labels, temperature: float | None
    ) -> SampledLatents:
        heat = CONDITIONAL_TEMPERATURE if temperature is None else temperature
        drawn = prior.draw(seeds, labels=labels, temperature=heat)
        mean, _ = self.expected_latents(drawn.numbers)
        latents = np.concatenate([mean + drawn.noise, drawn.numbers], axis=1).astype(np.float32)
        return self._ended(latents, drawn.peak_db, drawn.labels, seeds)

    def _ended(
        self, latents: FloatArray, peak_db: FloatArray, labels: tuple[Labels, ...], seeds: Sequence[int]
    ) -> SampledLatents:
        """Return drawn latents with the lengths of their sounds."""
        duration_s = sounding_s(self.decode(latents, peak_db=peak_db), self.features)
        if self.lengths is not None:
            duration_s = self.lengths.ending(duration_s, labels, seeds, frame_s=self.features.duration_s)
        return SampledLatents(latents=latents, peak_db=peak_db, duration_s=duration_s, labels=labels)

    def expected_latents(self, numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and log variance of the latents of clips with these conditions, (B, K) -> (B, D) each."""
        if self._expect is None:
            raise UsageError(f"model {self.name!r} is not conditioned on labels")
        mean, log_variance = self._expect(numbers)
        return mean, np.clip(log_variance, *PRIOR_LOG_VARIANCE_RANGE)

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

    def _required_prior(self) -> Prior | ConditionalPrior:
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

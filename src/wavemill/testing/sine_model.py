"""`SineModel`: a fake model whose sounds are sums of sines. Needs no TensorFlow and no training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wavemill.arrays import FloatArray
from wavemill.errors import SpectrogramError, UsageError
from wavemill.labels import Labels
from wavemill.operations.requests import HOTTEST
from wavemill.presets import DEFAULT_PRESET, Features, preset
from wavemill.vae.latents.prior import SampledLatents

_LABEL = "sine"
_PEAK_DB = 20.0  # an amplitude of about 0.18 of full scale with a window of 256
_SIDE_DB = 6.0  # a sine in the middle of a bin is 6 dB softer in the two bins beside it: Hann window
_POSTERIOR_DEVIATION = 0.02
_STEP = 0.1  # how far `vary_latents` moves at strength 1
_TEMPERATURE = 1.0
_SIDE_LEVEL = 0.5  # loudest other sine of a sample at temperature 1


class SineModel:
    """Stands in for `wavemill.vae.model.Model` in tests of code that uses a model.

    Each number of a latent is the level of one sine: 0 is the floor (silence), 1 the peak. Encoding
    reads the levels back, so a latent whose greatest number is 1 survives `encode(decode())`. Seeds
    work as in a trained model: each item depends on its own seed and not on the batch.

    Parameters
    ----------
    features : Features, optional
        Of kind `stft-db`; by default those of the default preset.
    latent_dim : int > 0
        Number of sines.

    Raises
    ------
    UsageError
        The features are of another kind, or have too few bins for so many sines.

    Examples
    --------
    >>> generator = SoundGenerator(SineModel())
    >>> generator.decode(np.eye(8, dtype=np.float32)[:1])[0]  # a tone of 437.5 Hz
    >>> generator.sample([1, 2], labels={"sine": "3"}).audio
    """

    def __init__(self, features: Features | None = None, *, latent_dim: int = 8) -> None:
        self.features = features or preset(DEFAULT_PRESET)
        self.latent_dim = latent_dim
        if self.features.kind != "stft-db":
            raise UsageError(f"SineModel takes features of kind 'stft-db', received {self.features.kind!r}")
        most = self.features.n_bins // 4  # so that sines do not overlap
        if not 0 < latent_dim <= most:
            raise UsageError(f"expected 1 to {most} sines for {self.features.n_bins} bins, received {latent_dim}")
        self._bins = (np.arange(1, latent_dim + 1) * self.features.n_bins) // (latent_dim + 1)

    @property
    def frequencies_hz(self) -> list[float]:
        """The frequency of each sine."""
        return [float(k) * self.features.sample_rate_hz / self.features.n_fft for k in self._bins]

    @property
    def labels(self) -> dict[str, list[str]]:
        """The labels that `sample_latents` takes: which sine is the loudest."""
        return {_LABEL: [str(k) for k in range(self.latent_dim)]}

    @property
    def told_dim(self) -> int:
        """None of the numbers are labels."""
        return 0

    def encode(
        self,
        db: FloatArray,
        *,
        seeds: Sequence[int] | None = None,
        labels: Sequence[Labels] | None = None,  # noqa: ARG002  a conditioned model needs them
        refine: int | None = None,  # noqa: ARG002  there is nothing to improve
    ) -> FloatArray:
        """Read each sine's level from spectrograms; with seeds, add a little noise to it.

        Parameters
        ----------
        db : float32 [shape=(batch, n_bins, n_frames)], in dB, finite
        seeds : one integer >= 0 per item, optional

        Returns
        -------
        float32 [shape=(batch, latent_dim)], in [0, 1] without seeds
            All zeros for a spectrogram that is constant.
        """
        self._check(db)
        floor_db, peak_db = db.min(axis=(1, 2)), db.max(axis=(1, 2))  # (B, F, T) -> (B,)
        range_db = np.where(peak_db > floor_db, peak_db - floor_db, np.float32(1))
        levels_db = db[:, self._bins].max(axis=2)  # (B, F, T) -> (B, D)
        latents = (levels_db - floor_db[:, None]) / range_db[:, None]
        if seeds is None:
            return np.asarray(latents, np.float32)
        return np.asarray(latents + np.float32(_POSTERIOR_DEVIATION) * self._noise(seeds, len(db)), np.float32)

    def decode(self, latents: FloatArray, *, peak_db: FloatArray, floor_db: FloatArray | None = None) -> FloatArray:
        """Make spectrograms of steady sines.

        Parameters
        ----------
        latents : float32 [shape=(batch, latent_dim)]
            Limited to [0, 1].
        peak_db : float32 [shape=(batch,)]
            Level of a sine whose number is 1.
        floor_db : float32 [shape=(batch,)], optional
            Level of a sine whose number is 0 and of all other bins; by default `features.range_db`
            below the peak.

        Returns
        -------
        float32 [shape=(batch, n_bins, n_frames)], in dB
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim or len(peak_db) != len(latents):
            raise UsageError(
                f"expected latents (batch, {self.latent_dim}) and as many peaks, "
                f"received {latents.shape} and {len(peak_db)}"
            )
        peak = np.asarray(peak_db, np.float32)[:, None]  # (B, 1)
        floor = peak - np.float32(self.features.range_db) if floor_db is None else np.asarray(floor_db)[:, None]
        levels = floor + np.clip(latents, 0, 1) * (peak - floor)  # (B, D), in dB
        bins = np.repeat(np.asarray(floor, np.float32), self.features.n_bins, axis=1)  # (B, F)
        for offset in (-1, 1):
            bins[:, self._bins + offset] = np.maximum(floor, levels - _SIDE_DB)
        bins[:, self._bins] = levels
        return np.repeat(bins[:, :, None], self.features.n_frames, axis=2)  # (B, F) -> (B, F, T)

    def sample_latents(
        self, seeds: Sequence[int], *, labels: Labels | None = None, temperature: float | None = None
    ) -> SampledLatents:
        """Draw one loudest sine for each seed, and softer others.

        Parameters
        ----------
        seeds : integers >= 0
        labels : {"sine": "3"} for a given loudest sine; by default, any
        temperature : float >= 0, optional
            0 draws the loudest sine alone.
        """
        heat = _TEMPERATURE if temperature is None else temperature
        if not len(seeds):
            raise UsageError("expected at least one seed, received none")
        if not 0 <= heat <= HOTTEST:
            raise UsageError(f"expected a temperature from 0 to {HOTTEST:g}, received {heat}")
        choices = self._choices(labels or {})
        latents = np.zeros((len(seeds), self.latent_dim), np.float32)
        loudest = []
        for row, seed in zip(latents, seeds, strict=True):
            rng = _rng(seed)
            loudest.append(choices[int(rng.integers(len(choices)))])
            row[:] = np.minimum(rng.random(self.latent_dim, np.float32) * np.float32(_SIDE_LEVEL * heat), 1)
            row[loudest[-1]] = 1
        return SampledLatents(
            latents=latents,
            peak_db=np.full(len(seeds), _PEAK_DB, np.float32),
            duration_s=np.full(len(seeds), self.features.duration_s, np.float32),
            labels=tuple({_LABEL: str(k)} for k in loudest),
        )

    def vary_latents(self, latents: FloatArray, *, seeds: Sequence[int], strength: float) -> FloatArray:
        """Add noise to latents (batch, latent_dim), one seed per item; strength 0 changes nothing."""
        return np.asarray(latents + np.float32(strength * _STEP) * self._noise(seeds, len(latents)), np.float32)

    def _choices(self, labels: Labels) -> list[int]:
        known = self.labels[_LABEL]
        if set(labels) - {_LABEL} or labels.get(_LABEL, known[0]) not in known:
            raise UsageError(
                f"nothing was learnt under the label {', '.join(f'{k}={v}' for k, v in labels.items())}; "
                f"the model's labels are {_LABEL}: {', '.join(known)}"
            )
        return [int(labels[_LABEL])] if labels else list(range(self.latent_dim))

    def _noise(self, seeds: Sequence[int], n_items: int) -> FloatArray:
        if len(seeds) != n_items:
            raise UsageError(f"expected one seed for each of {n_items} items, received {len(seeds)}")
        return np.stack([_rng(seed).standard_normal(self.latent_dim, np.float32) for seed in seeds])

    def _check(self, db: FloatArray) -> None:
        if db.ndim != 3 or db.shape[1:] != self.features.shape:
            raise SpectrogramError(
                f"SineModel takes float32 spectrograms (batch, {self.features.n_bins}, {self.features.n_frames}) "
                f"in dB, received {db.dtype} {db.shape}"
            )
        if not np.isfinite(db).all():
            raise SpectrogramError("a spectrogram holds NaN or infinite values")


def _rng(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed))

from __future__ import annotations

import numpy as np

from wavemill.vae.latents import RANK, latent_statistics


def test_each_label_has_its_own_gaussian() -> None:
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(60, 5)).astype(np.float32)
    labels = [{"digit": str(i % 3), "speaker": "ann" if i < 5 else "ben"} for i in range(60)]
    statistics = latent_statistics(latents, labels)
    chosen = latents[1::3]
    assert statistics["digit=1/count"] == 20
    np.testing.assert_allclose(statistics["digit=1/mean"], chosen.mean(axis=0), atol=1e-6)
    factor, residual = statistics["digit=1/factor"], statistics["digit=1/residual"]
    np.testing.assert_allclose(factor.T @ factor + np.diag(residual), np.cov(chosen.T), atol=1e-5)
    np.testing.assert_allclose(statistics["all/std"], latents.std(axis=0), atol=1e-6)
    assert not [name for name in statistics if name.startswith("speaker=ann")], "five are too few for a distribution"


def test_many_dimensions_are_kept_as_a_few_directions_with_the_right_variance() -> None:
    latents = np.random.default_rng(1).normal(size=(500, 100)).astype(np.float32)
    statistics = latent_statistics(latents, [{}] * 500, variances=np.full((500, 100), 0.5, np.float32))
    factor, residual = statistics["all/factor"], statistics["all/residual"]
    assert factor.shape == (RANK, 100)
    variance = (factor**2).sum(axis=0) + residual
    np.testing.assert_allclose(variance, latents.var(axis=0, ddof=1), rtol=1e-4)
    np.testing.assert_allclose(statistics["posterior_variance"], 0.5)

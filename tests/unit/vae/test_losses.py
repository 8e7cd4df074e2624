from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from wavemill.vae.training.losses import energy_weighted_error, kl_divergence, squared_error, total_loss


def test_the_kl_divergence_agrees_with_numerical_integration() -> None:
    mean, log_variance = [0.7, -1.2], [0.4, -2.0]

    def kl(m: float, v: float) -> float:
        q = norm(m, np.exp(v / 2))
        return float(quad(lambda x: q.pdf(x) * (q.logpdf(x) - norm.logpdf(x)), -8, 8)[0])

    ours = kl_divergence(np.float32([mean]), np.float32([log_variance])).numpy()
    np.testing.assert_allclose(ours, [sum(map(kl, mean, log_variance))], rtol=1e-5)


def test_the_courses_loss_is_a_million_times_the_mean_square_plus_the_kl() -> None:
    x = np.zeros((2, 4, 4, 1), np.float32)
    y = np.full_like(x, 0.01)
    loss = total_loss("course", squared_error(x, y), np.float32([3, 5]), beta=1.0, n_values=16)
    assert float(loss) == pytest.approx(1e6 * 1e-4 + 4)


def test_an_error_where_it_is_loud_weighs_more() -> None:
    loud, quiet = np.ones((1, 2, 2, 1), np.float32), np.zeros((1, 2, 2, 1), np.float32)
    ratio = energy_weighted_error(loud, loud - 0.1) / energy_weighted_error(quiet, quiet + 0.1)
    assert float(ratio[0]) == pytest.approx(1.3 / 0.3, rel=1e-4)


def test_the_calibrated_loss_is_the_gaussian_likelihood_at_its_best_variance() -> None:
    error, n_values = 0.04, 50
    variances = np.linspace(0.001, 0.2, 4000)
    likelihoods = 0.5 * np.log(variances) + error / (2 * variances) - 0.5
    ours = total_loss("calibrated", np.float32([error]), np.float32([10]), beta=0.5, n_values=n_values)
    assert float(ours) == pytest.approx(likelihoods.min() + 0.5 * 10 / n_values, abs=1e-4)

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from wavemill.arrays import FloatArray
from wavemill.errors import ModelError, UsageError
from wavemill.vae.latents.lengths import Lengths
from wavemill.vae.latents.prior import Prior, items_to_fit
from wavemill.vae.latents.prototypes import TAKES
from wavemill.vae.package import load_model, save_model

CENTRES = {("1", "ann"): 10.0, ("1", "ben"): 20.0, ("2", "ann"): 30.0, ("2", "ben"): 40.0}
SPREAD = np.array([[2.0, 1.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.1]])


def takes(n_each: int = 100) -> tuple[FloatArray, FloatArray, list[dict[str, str]]]:
    """Latents in four far clouds of one shape, the level 10 times the first latent."""
    rng = np.random.default_rng(0)
    clouds = [centre + rng.normal(size=(n_each, 3)) @ SPREAD for centre in CENTRES.values()]
    latents = np.concatenate(clouds).astype(np.float32)
    labels = [{"digit": d, "speaker": s} for d, s in CENTRES for _ in range(n_each)]
    return latents, -100 + latents[:, 0], labels


def fitted(n_each: int = 100) -> Prior:
    latents, peak_db, labels = takes(n_each)
    return Prior.fit(latents, peak_db=peak_db, labels=labels)


def test_a_sample_comes_from_where_its_labels_lie() -> None:
    for (digit, speaker), centre in CENTRES.items():
        wanted = {"digit": digit, "speaker": speaker}
        latents, _, carried = fitted().draw(range(1_000), labels=wanted, temperature=1.0)
        assert set(map(str, carried)) == {str(wanted)}
        np.testing.assert_allclose(latents.mean(axis=0), centre, atol=1.0)
        ratio = latents.std(axis=0) / takes()[0][:100].std(axis=0)
        assert 0.4 < ratio.min() < ratio.max() < 1, "between takes, and not where the odd ones lie"


def test_one_label_draws_every_combination_that_carries_it_alike() -> None:
    latents, _, carried = fitted().draw(range(1_000), labels={"digit": "2"}, temperature=0.1)
    assert {labels["digit"] for labels in carried} == {"2"}
    assert abs(np.mean([labels["speaker"] == "ann" for labels in carried]) - 0.5) < 0.05
    assert latents.min() > 25
    _, _, carried = fitted().draw(range(1_000), labels={}, temperature=1.0)
    assert {len([c for c in carried if (c["digit"], c["speaker"]) == pair]) // 100 for pair in CENTRES} == {2}


def test_the_level_belongs_to_the_latent_it_is_drawn_with_and_stays_within_what_was_heard() -> None:
    latents, peak_db, _ = fitted().draw(range(200), labels={"digit": "1", "speaker": "ben"}, temperature=1.0)
    np.testing.assert_allclose(peak_db, -100 + latents[:, 0], atol=0.2)
    _, hot, _ = fitted().draw(range(200), labels={}, temperature=10.0)
    heard = takes()[1]
    assert heard.min() - 0.01 <= hot.min() < hot.max() <= heard.max() + 0.01


def test_nothing_drawn_is_a_training_take() -> None:
    latents, _, _ = fitted().draw(range(300), labels={}, temperature=1.0)
    nearest = np.abs(latents[:, None] - takes()[0][None]).max(axis=2).min(axis=1)
    assert nearest.min() > 0
    assert np.median(nearest) > 0.02


def test_the_temperature_scales_the_distance_from_the_middle() -> None:
    options = {"digit": "1", "speaker": "ann"}
    middle, half, whole = (fitted().draw([7], labels=options, temperature=heat)[0] for heat in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(half - middle, (whole - middle) / 2, atol=1e-5)
    assert np.abs(whole - middle).max() > 0.02


def test_a_seed_gives_the_same_bytes_whatever_stands_beside_it() -> None:
    prior = fitted()
    together = prior.draw([5, 6, 7], labels={}, temperature=1.0)
    for i, seed in enumerate([5, 6, 7]):
        alone = prior.draw([seed], labels={}, temperature=1.0)
        assert np.array_equal(alone[0][0], together[0][i])
        assert alone[1][0] == together[1][i]
        assert alone[2][0] == together[2][i]
    assert not np.array_equal(together[0][0], together[0][1])


@pytest.mark.parametrize(
    "labels", [{"digit": "7"}, {"accent": "welsh"}, {"digit": "1", "speaker": "eve"}], ids=lambda labels: str(labels)
)
def test_an_unknown_label_is_refused_with_those_there_are(labels: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"digit: 1, 2; speaker: ann, ben"):
        fitted().draw([1], labels=labels, temperature=1.0)


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_that_means_nothing_is_refused(temperature: float) -> None:
    with pytest.raises(UsageError, match="temperature"):
        fitted().draw([1], labels={}, temperature=temperature)


def test_without_labels_the_clouds_are_found() -> None:
    latents, peak_db, labels = takes()
    prior = Prior.fit(latents, peak_db=peak_db, labels=[{} for _ in labels])
    drawn, _, carried = prior.draw(range(400), labels={}, temperature=1.0)
    nearest = np.abs(drawn.mean(axis=1)[:, None] - np.array(list(CENTRES.values()))).min(axis=1)
    assert np.quantile(nearest, 0.95) < 5, "one Gaussian over all would put most of them between the clouds"
    assert drawn.min() < 12
    assert drawn.max() > 38
    assert set(map(str, carried)) == {"{}"}
    with pytest.raises(UsageError, match="without labels"):
        prior.draw([1], labels={"digit": "1"}, temperature=1.0)


def test_a_label_of_its_own_for_nearly_every_item_is_passed_over() -> None:
    latents, peak_db, labels = takes()
    named = [{**item, "file": str(i)} for i, item in enumerate(labels)]
    prior = Prior.fit(latents, peak_db=peak_db, labels=named)
    assert prior.labels == {"digit": ["1", "2"], "speaker": ["ann", "ben"]}


@pytest.mark.parametrize("n_items", [1, 2, 3])
def test_a_handful_of_items_still_makes_a_prior(n_items: int) -> None:
    latents, peak_db, labels = (part[:n_items] for part in takes())
    for carried in (labels, [{}] * n_items):
        drawn, _, _ = Prior.fit(latents, peak_db=peak_db, labels=carried).draw([1, 2], labels={}, temperature=1.0)
        assert np.isfinite(drawn).all()
        assert np.abs(drawn - latents.mean(axis=0)).max() < 20


def test_a_difference_is_as_great_as_that_of_takes() -> None:
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(2, 100, 30)).astype(np.float32) + np.array([[[0]], [[50]]], np.float32)
    apart = np.concatenate([np.linalg.norm(g[:, None] - g[None], axis=2)[np.triu_indices(100, 1)] for g in groups])
    labels = [{"digit": str(i // 100)} for i in range(200)]
    prior = Prior.fit(groups.reshape(200, 30), peak_db=np.full(200, -6, np.float32), labels=labels)
    noise = prior.noise(range(3_000))
    rms, rms_of_takes = (np.sqrt(np.mean(np.square(x))) for x in (np.linalg.norm(noise, axis=1), apart))
    assert rms == pytest.approx(rms_of_takes, rel=0.05)


def test_a_model_from_before_the_spread_was_measured_varies_as_it_did() -> None:
    prior = fitted()
    arrays = prior.arrays()
    about = json.loads(arrays["prior/about"].tobytes())
    spread = about.pop("spread")
    assert spread > 1.02
    old = Prior.from_arrays({**arrays, "prior/about": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    kept = Prior.from_arrays(arrays)
    assert old is not None
    assert kept is not None
    np.testing.assert_allclose(kept.noise([1, 2]), np.float32(spread) * old.noise([1, 2]), rtol=1e-5)


def test_a_single_take_is_never_kept_as_it_is() -> None:
    latents, peak_db, labels = takes(6)
    alone = np.array([[77, 78, 79]], np.float32)
    prior = Prior.fit(
        np.concatenate([alone, latents]),
        peak_db=np.concatenate([[-3], peak_db]).astype(np.float32),
        labels=[{"digit": "3", "speaker": "ann"}, *labels],
    )
    assert prior.left_out == ({"digit": "3", "speaker": "ann"},)
    assert prior.labels["digit"] == ["1", "2"]
    points = prior.arrays()["prior/points"][:, :3].astype(np.float32)
    assert np.abs(points[:, None] - np.concatenate([alone, latents])[None]).max(axis=2).min() > 0.01
    assert {labels["digit"] for labels in prior.draw(range(50), labels={}, temperature=1.0)[2]} == {"1", "2"}


def test_of_a_large_set_as_many_items_of_each_group_are_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wavemill.vae.latents.prior.MOST_ITEMS", 100)
    latents, peak_db, labels = takes(100)
    more = [*labels, {"digit": "1", "speaker": "ann"}]
    chosen = items_to_fit(more, 3)
    assert sorted(chosen.tolist()) == chosen.tolist()
    assert [int(np.sum((chosen >= first) & (chosen < first + 100))) for first in (100, 200, 300)] == [25, 25, 25]
    assert len(chosen) == 100
    assert chosen.tolist() != list(range(25))
    assert np.array_equal(chosen, items_to_fit(more, 3))
    assert len(items_to_fit(labels[:100], 3)) == 100
    assert len(items_to_fit(labels, 2**23)) == 4 * TAKES, "few of large latents, but enough for a prototype of each"
    small = Prior.fit(latents, peak_db=peak_db, labels=labels)
    assert len(small.arrays()["prior/points"]) == 4 * (25 // TAKES)


def test_a_model_keeps_its_prior(model_dir: Path, tmp_path: Path) -> None:
    model = load_model(model_dir)
    prior = fitted()
    save_model(tmp_path / "again", model.record, model.network, latents=prior.arrays())
    kept = load_model(tmp_path / "again").prior
    assert kept is not None
    ours, theirs = (p.draw(range(50), labels={}, temperature=1.0) for p in (prior, kept))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=2e-3, atol=0.02)
    assert ours[2] == theirs[2]


def test_a_damaged_prior_is_refused() -> None:
    arrays = {name: array for name, array in fitted().arrays().items() if name != "prior/points"}
    with pytest.raises(ModelError, match="cannot be read"):
        Prior.from_arrays(arrays)


def test_a_model_draws_latents_levels_and_lengths(model_dir: Path) -> None:
    model = load_model(model_dir)
    drawn = model.sample_latents(range(20), labels={"digit": "3"})
    assert drawn.latents.shape == (20, model.latent_dim)
    assert drawn.peak_db.shape == drawn.duration_s.shape == (20,)
    assert 0 < drawn.duration_s.min() <= drawn.duration_s.max() <= model.features.n_samples / 8_000
    assert [labels["digit"] for labels in drawn.labels] == ["3"] * 20
    alone = model.sample_latents([11], labels={"digit": "3"})
    assert np.array_equal(alone.latents[0], drawn.latents[11])
    assert (alone.duration_s[0], alone.peak_db[0]) == (drawn.duration_s[11], drawn.peak_db[11])


def test_a_model_with_lengths_ends_samples_that_are_longer(model_dir: Path, tmp_path: Path) -> None:
    model = load_model(model_dir)
    lengths = Lengths(quantiles=np.full((1, 21), 0.02, np.float32))
    latents = model.prior.arrays() | lengths.arrays()
    save_model(tmp_path / "ending", model.record, model.network, latents=latents)
    drawn = load_model(tmp_path / "ending").sample_latents([1, 2])
    np.testing.assert_allclose(drawn.duration_s, 0.02)
    np.testing.assert_array_equal(drawn.latents, model.sample_latents([1, 2]).latents)


def test_a_variation_keeps_its_distance_and_depends_on_its_seed_alone(model_dir: Path) -> None:
    model = load_model(model_dir)
    latents = np.zeros((2, model.latent_dim), np.float32)
    assert np.array_equal(model.vary_latents(latents, seeds=[1, 2], strength=0), latents)
    varied = model.vary_latents(latents, seeds=[1, 2], strength=1.0)
    assert np.array_equal(model.vary_latents(latents[:1], seeds=[2], strength=1.0)[0], varied[1])
    many = model.vary_latents(np.zeros((500, model.latent_dim), np.float32), seeds=range(500), strength=1.0)
    assert 0.6 < many.std() < 1.4, "the spread of what the model was fitted to is 1"


def test_a_model_without_a_prior_says_so(model_dir: Path, tmp_path: Path) -> None:
    model = load_model(model_dir)
    save_model(tmp_path / "bare", model.record, model.network)
    with pytest.raises(UsageError, match="train it again"):
        load_model(tmp_path / "bare").sample_latents([1])

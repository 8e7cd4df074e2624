from __future__ import annotations

import numpy as np

from wavemill.vae.conditions import conditions_of
from wavemill.vae.latents.conditional import ConditionalPrior
from wavemill.vae.network.building import build_network
from wavemill.vae.told import told
from wavemill.vae.training.fitting import not_sampled, refine_prior

LABELS = [
    {"instrument": name, "pitch": pitch, "player": "ann", "index": str(pitch)}
    for name in ("cello", "violin")
    for pitch in range(40, 60)
]


def test_the_prior_learns_where_the_latents_of_labels_lie() -> None:
    conditions = conditions_of(["instrument", "pitch"], LABELS)
    sizes = {"width": 8, "embedding": 4, "hidden": 32}
    network = build_network("spectra", kind="vae", shape=(8, 16), latent_dim=4, config=sizes, conditions=conditions)
    numbers, _ = told(conditions, LABELS)
    latents = np.stack([numbers[:, 0], (numbers[:, 2] - 50) / 10, numbers[:, 1], np.zeros(len(LABELS))], axis=1)

    def distance() -> float:
        return float(np.square(np.asarray(network.prior(numbers)[0]) - latents).mean())

    before = distance()
    refine_prior(network, numbers, latents.astype(np.float32), seed=0)
    assert distance() < 0.1 * before


def test_labels_that_cannot_be_sampled_are_named_with_the_reason() -> None:
    conditions = conditions_of(["instrument", "pitch"], LABELS)
    prior = ConditionalPrior.fit(
        conditions, np.ones((len(LABELS), 4), np.float32), peak_db=np.zeros(len(LABELS), np.float32), labels=LABELS
    )
    assert not_sampled(prior, LABELS) == {
        "labels_not_sampled": {
            "index": "it only numbers the takes",
            "player": "the decoder is not told it; add --condition player",
        }
    }

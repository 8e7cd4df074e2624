"""The forward pass against Keras's own `predict` of the same network, each with the threads that suit it."""

from __future__ import annotations

import numpy as np

from benchmarks.bare_loop import random_db
from benchmarks.loop import bare_loop
from benchmarks.plan import Plan
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from wavemill.vae.network.scaling import db_to_network
from wavemill.vae.package import load_model

_AT_ONCE = 64


def measure(plan: Plan) -> list[Row]:
    """Clips a second through encoder and decoder, 64 at once and one at a time."""
    model = load_model(plan.model, models_dir=plan.models_dir)
    db = random_db(_AT_ONCE, model.features.shape)

    def predict(clips: np.ndarray, batch_size: int) -> None:
        x = db_to_network(clips, dict(model.record.normalisation))[..., None]
        latents = model.network.encoder.predict(x, batch_size=batch_size, verbose=0)
        mean = latents[0] if isinstance(latents, list | tuple) else latents
        model.network.decoder.predict(mean, batch_size=batch_size, verbose=0)

    with bare_loop(plan, plan.dataset(4)) as loop:  # a worker's threads; this process has TensorFlow's defaults
        seconds = medians_s(
            {
                "our forward pass": lambda: loop("forward", _AT_ONCE),
                "predict, batches of 32": lambda: predict(db, 32),
                "our forward pass of one": lambda: loop("forward", 1),
                "predict of one": lambda: predict(db[:1], 1),
            },
            plan.sizes.rounds,
        )
    return [
        Row.of_rates(
            f"forward pass, {_AT_ONCE} clips",
            _AT_ONCE / seconds["our forward pass"],
            "clips/s",
            "Keras predict, batches of 32",
            _AT_ONCE / seconds["predict, batches of 32"],
        ),
        Row.of_times(
            "forward pass, one clip",
            seconds["our forward pass of one"],
            "Keras predict of one",
            seconds["predict of one"],
        ),
    ]

"""Write a few held-out clips as sound: as they are, and as the model reconstructs them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavemill.errors import OutputError
from wavemill.vae.model import Model
from wavemill.vae.training.batches import SpectrogramSource
from wavemill.vae.training.quality import sound

MOST_EXAMPLES = 4


def examples_folder(model_dir: Path) -> Path:
    """Return the folder of a model's examples, which lies beside the model's own."""
    return model_dir.parent / f"{model_dir.name}.examples"


def write_examples(model: Model, source: SpectrogramSource, held_out: NDArray[np.int64], folder: Path) -> None:
    """Write pairs `1-original.wav`, `1-reconstruction.wav` of held-out clips, spread evenly.

    Both are inverted from spectrograms, so that they differ by the model alone.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    chosen = held_out[np.linspace(0, len(held_out) - 1, min(len(held_out), MOST_EXAMPLES)).round().astype(int)]
    db = source.read_db(chosen)
    every_label = source.labels
    reconstructed, _ = model.reconstruct(db, labels=[every_label[i] for i in chosen])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for kind, spectrograms in (("original", db), ("reconstruction", reconstructed)):
            for number, samples in enumerate(sound(spectrograms, model.features), start=1):
                soundfile.write(folder / f"{number}-{kind}.wav", samples, model.features.sample_rate_hz)
    except (OSError, soundfile.SoundFileError) as exc:
        raise OutputError(f"{folder}: the examples cannot be written: {exc}") from exc

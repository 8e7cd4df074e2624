"""The same kernels in a loop, with no queue: `python -m benchmarks.bare_loop DATASET MODEL OUTPUT MIXED`.

A process of its own on one thread, with TensorFlow set up as a worker's child has it. It reads lines such as
"render 0 64" or "forward 0 64" from standard input, does so for the clips from the first number to before the second,
and answers "done". There is no claim, no digest, no quality figure, no provenance, no renaming and no row.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wavemill_worker.devices import configure_tensorflow

if TYPE_CHECKING:  # TensorFlow is not to be imported before it is set up
    from wavemill.dataset.index import Dataset, Entry
    from wavemill.synthesis.from_model import SourceClip
    from wavemill.vae.model import Model

_PART = 32  # clips in one forward pass, as in a worker


def main() -> None:
    """Warm up, say so, and render on demand."""
    dataset_dir, model_dir, output, mixed = sys.argv[1:]
    configure_tensorflow(1)
    from wavemill.dataset.index import Dataset
    from wavemill.vae.network.forward import use_mixed_precision
    from wavemill.vae.package import load_model

    if int(mixed):
        use_mixed_precision()
    model = load_model(model_dir)
    model.warm_up()
    Path(output).mkdir(parents=True, exist_ok=True)
    with Dataset.open(dataset_dir) as dataset:
        ids = list(dataset.ids())
        loop = Loop(dataset, model, Path(output))
        print("ready", flush=True)
        for line in sys.stdin:
            what, *numbers = line.split()
            first, last = map(int, numbers)
            if what == "render":
                loop.render(ids[first:last])
            elif first < last:
                model.reconstruct(random_db(last - first, model.features.shape))
            print("done", flush=True)


@lru_cache(maxsize=4)
def random_db(n: int, shape: tuple[int, int]) -> np.ndarray:
    """Return spectrograms in dB; what is in them costs the network nothing."""
    return np.random.default_rng(0).uniform(-60, 20, (n, *shape)).astype(np.float32)


class Loop:
    """Reads, reconstructs and writes clips, one after the other: threads would only take the core from each other."""

    def __init__(self, dataset: Dataset, model: Model, output: Path) -> None:
        self._dataset, self._model, self._output = dataset, model, output

    def render(self, ids: Sequence[str]) -> None:
        """Reconstruct clips and write both sounds of each."""
        entries = self._dataset.get_many(ids)
        for first in range(0, len(ids), _PART):
            self._make(first, [self._load(entries[spectrogram_id]) for spectrogram_id in ids[first : first + _PART]])

    def _load(self, entry: Entry) -> SourceClip:
        from wavemill.dataset.decibels import read_db
        from wavemill.synthesis.from_model import SourceClip

        return SourceClip(spectrogram=read_db(self._dataset, entry), duration_s=entry.duration_s)

    def _make(self, first: int, sources: Sequence[SourceClip]) -> None:
        from wavemill.audio.encoding import encode
        from wavemill.synthesis import from_model
        from wavemill.synthesis.sound import spectrograms_to_audio

        features = self._model.features
        made = from_model.reconstruct(self._model, sources).spectrograms
        for number, (source, generated) in enumerate(zip(sources, made, strict=True), first):
            both = np.stack([generated, source.spectrogram])
            sounds = spectrograms_to_audio(both, features, durations_s=[source.duration_s] * 2)
            for kind, sound in zip(("generated", "original"), sounds, strict=True):
                data = encode(sound, features.sample_rate_hz).data
                (self._output / f"{number}-{kind}.wav").write_bytes(data)


if __name__ == "__main__":
    main()

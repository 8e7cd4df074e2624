"""The same kernels in a loop, with no queue: `python -m benchmarks.bare_loop DATASET MODEL OUTPUT THREADS`.

A process of its own, with TensorFlow set up as a worker's child has it. It reads lines such as "render 64" or
"forward 64" from standard input, does so, and answers "done". Reading, forward passes, inversion and writing overlap as
they do in a worker; there is no claim, no digest, no quality figure, no provenance, no renaming and no row.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wavemill_worker.devices import configure_tensorflow

if TYPE_CHECKING:  # TensorFlow is not to be imported before it is set up
    from wavemill.dataset.index import Dataset
    from wavemill.vae.model import Model

_PART = 16  # clips in one forward pass, as in a worker


def main() -> None:
    """Warm up, say so, and render on demand."""
    dataset_dir, model_dir, output, threads = sys.argv[1:]
    configure_tensorflow(int(threads))
    from wavemill.dataset.index import Dataset
    from wavemill.vae.package import load_model

    model = load_model(model_dir)
    model.warm_up()
    Path(output).mkdir(parents=True, exist_ok=True)
    with Dataset.open(dataset_dir) as dataset, ThreadPoolExecutor(max(2, int(threads))) as pool:
        ids = list(dataset.ids())
        print("ready", flush=True)
        for line in sys.stdin:
            what, number = line.split()
            if what == "forward":
                model.reconstruct(random_db(int(number), model.features.shape))
            else:
                render(ids[: int(number)], dataset, model, Path(output), pool)
            print("done", flush=True)


@lru_cache(maxsize=4)
def random_db(n: int, shape: tuple[int, int]) -> np.ndarray:
    """Return spectrograms in dB; what is in them costs the network nothing."""
    return np.random.default_rng(0).uniform(-60, 20, (n, *shape)).astype(np.float32)


def render(ids: Sequence[str], dataset: Dataset, model: Model, output: Path, pool: ThreadPoolExecutor) -> None:
    """Reconstruct the clips and write both sounds of each."""
    from wavemill import synthesis
    from wavemill.audio.features import denormalise
    from wavemill.audio.wav import encode
    from wavemill.dataset.arrays import read_spectrogram
    from wavemill.generation import spectrograms_to_audio

    entries = dataset.get_many(ids)

    def load(spectrogram_id: str) -> synthesis.Source:
        entry = entries[spectrogram_id]
        db = denormalise(read_spectrogram(dataset, entry), entry.min_db, entry.max_db)
        return synthesis.Source(spectrogram=db, duration_s=entry.duration_s)

    def write(number: int, source: synthesis.Source, generated: np.ndarray) -> None:
        both = np.stack([generated, source.spectrogram])
        sounds = spectrograms_to_audio(both, model.features, durations_s=[source.duration_s] * 2)
        for kind, sound in zip(("generated", "original"), sounds, strict=True):
            (output / f"{number}-{kind}.wav").write_bytes(encode(sound, model.features.sample_rate_hz).data)

    loading = [pool.submit(load, spectrogram_id) for spectrogram_id in ids]
    writing = []
    for first in range(0, len(ids), _PART):
        sources = [future.result() for future in loading[first : first + _PART]]
        made = synthesis.reconstruct(model, sources).spectrograms
        writing += [pool.submit(write, first + i, *pair) for i, pair in enumerate(zip(sources, made, strict=True))]
    for future in writing:
        future.result()


if __name__ == "__main__":
    main()

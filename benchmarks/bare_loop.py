"""The same kernels in a loop, with no queue: `python -m benchmarks.bare_loop DATASET MODEL OUTPUT THREADS`.

A process of its own, with TensorFlow set up as a worker's child has it. It reads lines such as "render 64" or
"forward 64" from standard input, does so, and answers "done". Reading, forward passes, inversion and writing overlap as
they do in a worker; there is no claim, no digest, no quality figure, no provenance, no renaming and no row.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wavemill_worker.devices import configure_tensorflow

if TYPE_CHECKING:  # TensorFlow is not to be imported before it is set up
    from wavemill.dataset.index import Dataset, Entry
    from wavemill.synthesis import Source
    from wavemill.vae.model import Model

_PART = 16  # clips in one forward pass, as in a worker
_FILE_THREADS = 8


def main() -> None:
    """Warm up, say so, and render on demand."""
    dataset_dir, model_dir, output, threads = sys.argv[1:]
    configure_tensorflow(int(threads))
    from wavemill.dataset.index import Dataset
    from wavemill.vae.package import load_model

    model = load_model(model_dir)
    model.warm_up()
    Path(output).mkdir(parents=True, exist_ok=True)
    with Dataset.open(dataset_dir) as dataset:
        ids = list(dataset.ids())
        loop = Loop(dataset, model, Path(output), int(threads))
        print("ready", flush=True)
        for line in sys.stdin:
            what, number = line.split()
            if what == "forward":
                model.reconstruct(random_db(int(number), model.features.shape))
            else:
                loop.render(ids[: int(number)])
            print("done", flush=True)


@lru_cache(maxsize=4)
def random_db(n: int, shape: tuple[int, int]) -> np.ndarray:
    """Return spectrograms in dB; what is in them costs the network nothing."""
    return np.random.default_rng(0).uniform(-60, 20, (n, *shape)).astype(np.float32)


class Loop:
    """Reads, reconstructs and writes clips: one thread for each core, others that wait for the disk."""

    def __init__(self, dataset: Dataset, model: Model, output: Path, threads: int) -> None:
        self._dataset, self._model, self._output = dataset, model, output
        self._cores = ThreadPoolExecutor(threads)
        self._files = ThreadPoolExecutor(_FILE_THREADS)

    def render(self, ids: Sequence[str]) -> None:
        """Reconstruct clips and write both sounds of each."""
        entries = self._dataset.get_many(ids)
        loading = [self._files.submit(self._load, entries[spectrogram_id]) for spectrogram_id in ids]
        parts = [(first, loading[first : first + _PART]) for first in range(0, len(loading), _PART)]
        for writing in list(self._cores.map(lambda part: self._make(*part), parts)):
            for future in writing:
                future.result()

    def _load(self, entry: Entry) -> Source:
        from wavemill.audio.features import denormalise
        from wavemill.dataset.arrays import read_spectrogram
        from wavemill.synthesis import Source

        db = denormalise(read_spectrogram(self._dataset, entry), entry.min_db, entry.max_db)
        return Source(spectrogram=db, duration_s=entry.duration_s)

    def _make(self, first: int, loading: Sequence[Future[Source]]) -> list[Future[int]]:
        from wavemill import synthesis
        from wavemill.audio.wav import encode
        from wavemill.generation import spectrograms_to_audio

        features, writing = self._model.features, []
        sources = [future.result() for future in loading]
        made = synthesis.reconstruct(self._model, sources).spectrograms
        for number, (source, generated) in enumerate(zip(sources, made, strict=True), first):
            both = np.stack([generated, source.spectrogram])
            sounds = spectrograms_to_audio(both, features, durations_s=[source.duration_s] * 2)
            for kind, sound in zip(("generated", "original"), sounds, strict=True):
                data = encode(sound, features.sample_rate_hz).data
                writing.append(self._files.submit((self._output / f"{number}-{kind}.wav").write_bytes, data))
        return writing


if __name__ == "__main__":
    main()

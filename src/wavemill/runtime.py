"""What a worker keeps open between chunks: models, datasets, output folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Row

from wavemill.dataset.index import Dataset
from wavemill.errors import ModelChangedError, PresetMismatchError
from wavemill.generation import SoundGenerator
from wavemill.jobs.claims import ClaimedJob
from wavemill.requests import ReconstructParams
from wavemill.storage import OutputStore, open_store
from wavemill.vae.model import Model
from wavemill.vae.package import load_model

FloatArray = npt.NDArray[np.float32]


class Runtime:
    """Opens each thing once; the few last used stay open."""

    def __init__(self, models_dir: Path) -> None:
        self._models_dir = models_dir
        self.model: Callable[[str, str], Model] = lru_cache(maxsize=2)(self._load_model)
        self.dataset: Callable[[str], Dataset] = lru_cache(maxsize=8)(Dataset.open)
        self.store: Callable[[str], OutputStore] = lru_cache(maxsize=8)(open_store)

    def _load_model(self, name_or_path: str, digest: str) -> Model:
        model = load_model(name_or_path, models_dir=self._models_dir)
        if model.digest != digest:
            raise ModelChangedError(
                f"model {name_or_path!r} on this worker has digest {model.digest[:12]}, the batch was submitted with "
                f"{digest[:12]}: put the same model on every worker, or submit again"
            )
        model.warm_up()
        return model

    def tools(self, batch: Row[Any]) -> BatchTools:
        """Open what a batch needs, or raise what is wrong with all of it."""
        return BatchTools(self, batch)


class BatchTools:
    """One batch's dataset, model, parameters and output folder."""

    def __init__(self, runtime: Runtime, batch: Row[Any]) -> None:
        self.params = ReconstructParams.from_dict(batch.params)
        self.dataset = runtime.dataset(batch.dataset)
        model = runtime.model(batch.model, batch.model_digest)
        if model.features != self.dataset.features:
            raise PresetMismatchError(
                f"model {batch.model!r} takes the features {model.features}, the dataset {batch.dataset} holds "
                f"{self.dataset.features}: build the dataset with --preset {model.features.preset}"
            )
        self.generator = SoundGenerator(model, method=self.params.method)
        self.store = runtime.store(f"{batch.output.rstrip('/')}/{batch.id}")

    def decode(self, jobs: Sequence[ClaimedJob], spectrograms: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Pass spectrograms (B, F, T) in dB through the model; returns theirs and the latents (B, D)."""
        seeds = None if self.params.seed is None else [self.params.item_seed(job.spectrogram_id) for job in jobs]
        return self.generator.model.reconstruct(spectrograms, seeds=seeds)

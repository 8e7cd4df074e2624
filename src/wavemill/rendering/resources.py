"""What a worker keeps open between chunks: models, datasets, output folders."""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Row

from wavemill.dataset.files import require_dataset_there
from wavemill.dataset.index import Dataset, Entry
from wavemill.dataset.manifest import INDEX_NAME
from wavemill.errors import DatasetError, ModelError, ModelNotHereError, PresetMismatchError, UsageError
from wavemill.feature_options import mismatch
from wavemill.operations.requests import DecodeParams, Operation, params_from_row
from wavemill.presets import Features
from wavemill.storage.locations import batch_root
from wavemill.storage.staging import OutputStore
from wavemill.storage.stores import open_store
from wavemill.vae.folder.by_digest import folders_of_digest, stated_digest
from wavemill.vae.model import Model
from wavemill.vae.network.forward import use_mixed_precision
from wavemill.vae.package import load_model

T = TypeVar("T")

_MOST_MODELS = 2  # kept open


class Runtime:
    """Opens models, datasets and stores once each, and keeps the last used ones open.

    Parameters
    ----------
    mixed_precision : bool
        See `wavemill.vae.network.forward.use_mixed_precision`; it holds for the whole process.
    """

    def __init__(self, models_dir: Path, *, mixed_precision: bool = False) -> None:
        self._models_dir = models_dir
        self.mixed_precision = mixed_precision
        if mixed_precision:
            use_mixed_precision()
        self._models: OrderedDict[str, Model] = OrderedDict()  # by digest; the last used at the end
        self._dataset: Callable[[str, object], Dataset] = lru_cache(maxsize=8)(
            lambda path, _identity: Dataset.open(path)
        )
        self.store: Callable[..., OutputStore] = lru_cache(maxsize=8)(open_store)

    def model(self, name_or_path: str, digest: str) -> Model:
        """Return the model with that digest, whatever its name below the models' folder.

        Raises
        ------
        ModelNotHereError
            This worker does not have it, or its copy is damaged; another worker may have an intact copy.
        """
        if digest not in self._models:
            while len(self._models) >= _MOST_MODELS:
                self._models.popitem(last=False)
                _free()
            self._models[digest] = self._load_model(name_or_path, digest)
        self._models.move_to_end(digest)
        return self._models[digest]

    def _load_model(self, name_or_path: str, digest: str) -> Model:
        damage: ModelError | None = None
        for folder in folders_of_digest(digest, name_or_path, self._models_dir):
            try:
                model = load_model(folder.resolve())
            except ModelError as exc:
                damage = exc
                continue
            if model.digest == digest:  # otherwise it was replaced while it was loaded
                model.warm_up()
                gc.freeze()  # the garbage collector need not walk TensorFlow's million objects
                return model
        if damage is not None:
            raise ModelNotHereError(f"its copy of model {name_or_path!r} is damaged: {damage}") from damage
        raise ModelNotHereError(_lacking(name_or_path, digest, self._models_dir))

    def dataset(self, path: str) -> Dataset:
        """Return a dataset; open it once, and again after it was replaced.

        Raises
        ------
        DatasetError
            There is none in that folder.
        StorageUnavailableError
            The folder is gone, as on a disk that is not mounted.
        """
        try:
            return self._opened_dataset(path)
        except DatasetError:
            require_dataset_there(Path(path))
        return self._opened_dataset(path)  # it may have come back just now

    def _opened_dataset(self, path: str) -> Dataset:
        try:
            index = (Path(path) / INDEX_NAME).stat()
        except OSError:
            return Dataset.open(path)  # raises an error that says what is wrong
        # While the index is open, its inode number is not given to another file.
        return self._dataset(path, (index.st_dev, index.st_ino))

    def tools(self, batch: Row[Any]) -> BatchTools:
        """Open what a batch needs; raise an error that concerns all of its jobs."""
        return BatchTools(self, batch)


def _lacking(name_or_path: str, digest: str, models_dir: Path) -> str:
    named = stated_digest(models_dir / name_or_path) or stated_digest(Path(name_or_path))
    other = "" if named is None else f" (the model of that name there has digest {named[:12]})"
    return (
        f"model {name_or_path!r} with digest {digest[:12]}, which the batch needs, is not in "
        f"{models_dir}{other}: copy it there, under any name"
    )


def _free() -> None:
    """Free a dropped model: it is full of cycles, and frozen objects are never collected."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class BatchTools:
    """One batch's operation, parameters and store, and the dataset, model or latents it uses."""

    def __init__(self, runtime: Runtime, batch: Row[Any]) -> None:
        self.batch = batch
        self.mixed_precision = runtime.mixed_precision
        self.params = params_from_row(batch.operation, batch.params)
        self.operation = Operation(batch.operation)
        self.store = runtime.store(batch_root(batch.output, batch.id), must_exist=batch.done > 0)
        self._dataset = None if batch.dataset is None else runtime.dataset(batch.dataset)
        self._model = None if batch.model is None else runtime.model(batch.model, batch.model_digest)
        if self._dataset and self._model and self._model.features != self._dataset.features:
            raise PresetMismatchError(
                f"{batch.dataset} does not fit model {batch.model!r}: it has "
                f"{mismatch(self._model.features, self._dataset.features, source='the model.json of that model')}"
            )

    @property
    def dataset(self) -> Dataset:
        """The dataset; UsageError if the batch has none."""
        return _present(self._dataset, "dataset", self.operation)

    @property
    def model(self) -> Model:
        """The model; UsageError if the batch has none."""
        return _present(self._model, "model", self.operation)

    @property
    def model_quality(self) -> Mapping[str, Any]:
        """The figures in the model's record; none without a model."""
        return {} if self._model is None else self._model.record.quality

    @property
    def features(self) -> Features:
        """How the spectrograms of this batch are turned into sound."""
        return self.dataset.features if self._model is None else self._model.features

    @property
    def latents(self) -> str:
        """Folder or URL from which `decode` reads its latents."""
        assert isinstance(self.params, DecodeParams)  # no other operation asks
        return self.params.latents

    @cached_property
    def chosen_params(self) -> dict[str, Any]:
        """The parameters that decide the samples; `keep_latents` and the latents' folder do not."""
        return {
            name: value
            for name, value in self.params.as_dict().items()
            if value is not None and name not in {"keep_latents", "latents"}
        }

    def entries(self, spectrogram_ids: list[str]) -> dict[str, Entry]:
        """Look up the spectrograms of a whole chunk in the index at once."""
        return self.dataset.get_many(spectrogram_ids) if spectrogram_ids else {}


def _present(thing: T | None, what: str, operation: Operation) -> T:
    if thing is None:
        raise UsageError(
            f"the batch's operation {operation.value!r} needs a {what}, but its row has none; submit again"
        )
    return thing

"""The operations that can be submitted, and the checks that come before anything is queued.

Does not import TensorFlow: models and datasets are checked by their records and indexes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypedDict, TypeVar, Unpack

from wavemill import contract
from wavemill.dataset.index import Dataset
from wavemill.errors import PresetMismatchError, UsageError
from wavemill.jobs.submit import BatchRequest, NewJob
from wavemill.operations.requests import (
    FORMATS,
    DecodeParams,
    EncodeParams,
    InterpolateParams,
    InvertParams,
    Operation,
    Params,
    ReconstructParams,
    SampleParams,
    VaryParams,
    require_plain_text,
)
from wavemill.places import expanded
from wavemill.presets import Features
from wavemill.settings import Settings
from wavemill.storage.locations import is_url, require_known_scheme
from wavemill.vae.record import ModelRecord, find_model, read_record, verify
from wavemill_producer.ids import Checked, checked_ids, interpolation_jobs, plain_jobs, sample_jobs, variation_jobs

R = TypeVar("R")
_HEADER_BYTES = 1_000  # the file header with the provenance


class Options(TypedDict, total=False):
    """The arguments that every operation takes besides its own.

    Attributes
    ----------
    output : str or Path, required
        Folder as the workers see it, or an fsspec URL; outputs are written below OUTPUT/BATCH/.
    name : str, for people
    priority : int, 0 to 9; 9 goes first
    progress : callable, called with the number of jobs written so far
    key : str
        Idempotency key: the same key returns the same batch, even to two producers at once. The
        same key with another request is an error.
    reuse : bool
        Copy outputs that an earlier batch made from the same inputs and still has, instead of
        rendering them again.
    """

    output: str | Path
    name: str | None
    priority: int
    progress: Callable[[int], None]
    key: str | None
    reuse: bool


@dataclass(frozen=True, kw_only=True)
class Order:
    """A batch to submit. `new_jobs` is a stream; reading it checks the IDs."""

    request: BatchRequest
    new_jobs: Iterable[NewJob]
    checked: Checked
    bytes_per_job: int
    progress: Callable[[int], None]
    reuse: bool


class Orders(ABC, Generic[R]):
    """The operations. Each builds an `Order` and hands it to the subclass's `_take`.

    They raise UsageError, InvalidIdError, UnknownSpectrogramError, DatasetError, ModelError or
    DatabaseUnavailableError, and then nothing is queued. A broker that is down raises nothing: the
    jobs are safe in the table, and their messages are sent when the broker is back.

    `dataset` and `model` are folders as the workers see them; `model` may be a name below
    `WAVEMILL_MODELS`. IDs are streamed; a duplicate ID is queued once. With `check_ids`, an ID that
    is not in the dataset's index refuses the whole batch; without it, only that ID's job fails.
    """

    settings: Settings
    counts_unknown = False  # True: count unknown IDs instead of refusing the batch

    @abstractmethod
    def _take(self, order: Order) -> R: ...

    def reconstruct(
        self,
        ids: Iterable[str],
        *,
        dataset: str | Path,
        model: str | Path,
        params: ReconstructParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue one job per ID: sound through the model, and the original spectrogram inverted."""
        return self._from_ids(
            Operation.RECONSTRUCT, ids, dataset, model, params or ReconstructParams(), check_ids, options, n_sounds=2
        )

    def encode(
        self,
        ids: Iterable[str],
        *,
        dataset: str | Path,
        model: str | Path,
        params: EncodeParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue one job per ID: latents in `latents/ID.npy`, level and length in `latents/ID.json`."""
        return self._from_ids(
            Operation.ENCODE, ids, dataset, model, params or EncodeParams(), check_ids, options, n_sounds=0
        )

    def invert(
        self,
        ids: Iterable[str],
        *,
        dataset: str | Path,
        params: InvertParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue one job per ID: its spectrogram turned into sound without a model."""
        return self._from_ids(
            Operation.INVERT, ids, dataset, None, params or InvertParams(), check_ids, options, n_sounds=1
        )

    def vary(
        self,
        ids: Iterable[str],
        *,
        dataset: str | Path,
        model: str | Path,
        count: int = 4,
        params: VaryParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue `count` jobs per ID, each for a sound near it in the model's latent space."""
        checked = self._checked()
        with Dataset.open(_expanded(dataset)) as opened:
            known = checked_ids(ids, dataset=opened if check_ids else None, checked=checked)
            jobs = variation_jobs(known, count)
            return self._order(Operation.VARY, jobs, opened, model, params or VaryParams(), options, checked=checked)

    def interpolate(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        dataset: str | Path,
        model: str | Path,
        steps: int = 5,
        params: InterpolateParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue `steps` jobs per pair of IDs: the sounds from one to the other."""
        checked = self._checked()
        with Dataset.open(_expanded(dataset)) as opened:
            jobs = interpolation_jobs(pairs, steps, dataset=opened if check_ids else None, checked=checked)
            return self._order(
                Operation.INTERPOLATE, jobs, opened, model, params or InterpolateParams(), options, checked=checked
            )

    def sample(
        self, count: int, *, model: str | Path, params: SampleParams | None = None, **options: Unpack[Options]
    ) -> R:
        """Queue `count` jobs, each a new sound."""
        params = params or SampleParams()
        _require_labels(read_record(find_model(_expanded(model), self.settings.models)), params.labels)
        jobs = sample_jobs(count, labels=params.labels, seed=params.seed)
        return self._order(Operation.SAMPLE, jobs, None, model, params, options)

    def decode(self, names: Iterable[str], *, model: str | Path, params: DecodeParams, **options: Unpack[Options]) -> R:
        """Queue one job per name: the sound of the latents in `params.latents`/NAME.npy."""
        checked = self._checked()
        jobs = plain_jobs(checked_ids(names, dataset=None, checked=checked))
        return self._order(Operation.DECODE, jobs, None, model, params, options, checked=checked)

    def _checked(self) -> Checked:
        return Checked(counts_unknown=self.counts_unknown)

    def _from_ids(
        self,
        operation: Operation,
        ids: Iterable[str],
        dataset: str | Path,
        model: str | Path | None,
        params: Params,
        check_ids: bool,
        options: Options,
        *,
        n_sounds: int,
    ) -> R:
        checked = self._checked()
        with Dataset.open(_expanded(dataset)) as opened:
            jobs = plain_jobs(checked_ids(ids, dataset=opened if check_ids else None, checked=checked))
            return self._order(operation, jobs, opened, model, params, options, checked=checked, n_sounds=n_sounds)

    def _order(
        self,
        operation: Operation,
        new_jobs: Iterable[NewJob],
        dataset: Dataset | None,
        model: str | Path | None,
        params: Params,
        options: Options,
        *,
        checked: Checked | None = None,
        n_sounds: int = 1,
    ) -> R:
        _require_known(options)
        priority = options.get("priority", contract.DEFAULT_PRIORITY)
        if priority not in contract.PRIORITIES:
            raise UsageError(
                f"priority {priority}: expected 0 to {contract.PRIORITIES.stop - 1}, the highest goes first"
            )
        checked_model = None if model is None else _check_model(self.settings, model, dataset)
        if checked_model and checked_model.kind == "ae" and isinstance(params, ReconstructParams | EncodeParams):
            _require_no_posterior(params)
        request = BatchRequest(
            operation=operation.value,
            dataset=None if dataset is None else str(dataset.path.resolve()),
            model=None if checked_model is None else checked_model.name,
            model_digest=None if checked_model is None else checked_model.digest,
            output=_output(options["output"], dataset),
            params=params.as_dict(),
            name=options.get("name"),
            priority=priority,
            chunk_size=self.settings.chunk_size,
            max_attempts=self.settings.max_attempts,
            key=options.get("key"),
        )
        require_plain_text(vars(request))
        if options.get("reuse"):
            _require_reusable(operation, params)
        features = checked_model.features if checked_model else _features(dataset)
        return self._take(
            Order(
                request=request,
                new_jobs=new_jobs,
                checked=checked or Checked(),
                bytes_per_job=n_sounds * (FORMATS[params.format].sample_bytes * features.n_samples + _HEADER_BYTES),
                progress=options.get("progress", lambda _: None),
                reuse=options.get("reuse", False),
            )
        )


@dataclass(frozen=True, kw_only=True)
class _CheckedModel:
    """A verified model: the name that workers look it up by, its kind, digest and features."""

    name: str
    kind: str
    digest: str
    features: Features


def _check_model(settings: Settings, model: str | Path, dataset: Dataset | None) -> _CheckedModel:
    folder = find_model(_expanded(model), settings.models)
    digest, record = verify(folder), read_record(folder)
    if dataset is not None and record.features != dataset.features:
        raise PresetMismatchError(
            f"model {str(model)!r} was trained on preset {record.features.preset!r} ({record.features.shape}), "
            f"{dataset.path} holds {dataset.features.preset!r} ({dataset.features.shape}); build the dataset with: "
            f"wavemill dataset build --preset {record.features.preset}"
        )
    is_named = folder.resolve() == (settings.models / str(model)).resolve()
    name = str(model) if is_named else str(folder.resolve())
    return _CheckedModel(name=name, kind=record.kind, digest=digest, features=record.features)


def _require_reusable(operation: Operation, params: Params) -> None:
    if operation in {Operation.ENCODE, Operation.DECODE} or params.keep_latents:
        raise UsageError("--reuse copies neither latents nor sounds made from latents: omit --reuse, or --keep-latents")


def _require_no_posterior(params: Params) -> None:
    if params.seed is not None:
        raise UsageError("a plain autoencoder has no posterior to draw from: omit --sample (the seed)")


def _features(dataset: Dataset | None) -> Features:
    assert dataset is not None  # every operation has a model or a dataset
    return dataset.features


def _require_labels(record: ModelRecord, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if value not in record.labels.get(key, ()):
            known = "; ".join(f"{k}={'|'.join(values)}" for k, values in record.labels.items()) or "none"
            raise UsageError(f"model {record.name!r} cannot sample {key}={value}; labels that it knows: {known}")


def _require_known(options: Options) -> None:
    """Refuse options that a caller without a type checker has misspelt, misplaced or left out."""
    if unknown := sorted(options.keys() - Options.__annotations__.keys()):
        raise UsageError(
            f"there is no option {', '.join(unknown)}; settings of the operation go into `params`, such as "
            f"SampleParams(labels=...); other options: {', '.join(Options.__annotations__)}"
        )
    if "output" not in options:
        raise UsageError("expected an `output`: the folder or URL below which OUTPUT/BATCH/ is written")


def _expanded(path: str | Path) -> Path:
    try:
        return expanded(path)
    except ValueError as exc:
        raise UsageError(str(exc)) from exc


def _output(output: str | Path, dataset: Dataset | None) -> str:
    if not str(output):
        raise UsageError("--output is empty; expected a folder, such as out, or a URL")
    if is_url(str(output)):
        require_known_scheme(str(output))
        return str(output)
    folder = _expanded(output).resolve()
    if dataset is not None and folder.is_relative_to(dataset.path.resolve()):
        raise UsageError(f"--output {folder} lies inside the dataset {dataset.path}; choose a folder beside it")
    for place in (folder, *folder.parents):
        if place.is_dir():
            break
        if place.exists():
            raise UsageError(f"--output {folder}: {place} is a file, not a folder")
    return str(folder)

"""`Submitter`: the operations that can be submitted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Generic, TypeVar, Unpack

from sqlalchemy import Row

from wavemill import contract
from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.jobs.submit import BatchRequest, NewJob
from wavemill.operations.requests import (
    DecodeParams,
    EncodeParams,
    InterpolateParams,
    InvertParams,
    Operation,
    Params,
    ReconstructParams,
    SampleParams,
    VaryParams,
    params_from_row,
    params_kind,
    require_plain_text,
)
from wavemill.settings import Settings
from wavemill.vae.folder.finding import find_model
from wavemill.vae.folder.record import read_record
from wavemill_producer.checks import (
    check_model,
    checked_output,
    expanded_path,
    require_labels,
    require_no_posterior,
    require_reusable,
)
from wavemill_producer.ids import (
    Checked,
    checked_ids,
    interpolation_jobs,
    plain_jobs,
    sample_jobs,
    variation_jobs,
)
from wavemill_producer.job_sources import GivenId, GivenPair, JobSources, with_dataset
from wavemill_producer.sizes import sound_bytes
from wavemill_producer.submission import Options, Submission, require_known

R = TypeVar("R")


class Submitter(ABC, Generic[R]):
    """The operations. Each checks its arguments, builds a `Submission` and passes it to the subclass's `_accept`.

    They raise UsageError, InvalidIdError, UnknownSpectrogramError, DatasetError, ModelError or
    DatabaseUnavailableError, and then nothing is queued. A broker that is down raises nothing: the
    jobs are safe in the table, and their messages are sent when the broker is back.

    `dataset` and `model` are folders as the workers see them; `model` may be a name below
    `WAVEMILL_MODELS`. IDs are streamed; a duplicate ID is queued once. With `check_ids`, an ID that
    is not in the dataset's index refuses the whole batch; without it, only that ID's job fails.

    An ID may be a mapping such as `{"id": "7_theo_3", "custom_id": "order-19", "metadata": {"speaker": "theo"}}`, and
    a pair one with `from` and `to` in place of `id`. Both values come back with every job made from it. Samples have no
    ID to carry them: give the batch a name or tags.

    A `Job` may stand for the ID that it was made from, such as `batch.jobs(where=["rating>=4"])`, with its `custom_id`
    and `metadata`. Then the dataset is that of its batch, unless another is named. `interpolate` takes jobs of
    interpolations for their pairs, `decode` jobs for the latents that they wrote.
    """

    settings: Settings
    counts_unknown = False  # True: count unknown IDs instead of refusing the batch

    @abstractmethod
    def _accept(self, submission: Submission) -> R: ...

    @abstractmethod
    def _status_of(self, batch_id: str) -> Mapping[str, Any]: ...

    def reconstruct(
        self,
        ids: Iterable[GivenId],
        *,
        dataset: str | Path | None = None,
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
        ids: Iterable[GivenId],
        *,
        dataset: str | Path | None = None,
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
        ids: Iterable[GivenId],
        *,
        dataset: str | Path | None = None,
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
        ids: Iterable[GivenId],
        *,
        dataset: str | Path | None = None,
        model: str | Path,
        count: int = 4,
        params: VaryParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue `count` jobs per ID, each for a sound near it in the model's latent space."""
        checked = self._checked()
        dataset, ids, sources = with_dataset(ids, dataset, self._status_of)
        with Dataset.open(expanded_path(dataset)) as opened:
            known = checked_ids(ids, dataset=opened if check_ids else None, checked=checked, named=sources.id_of)
            jobs = variation_jobs(known, count)
            return self._submit(Operation.VARY, jobs, opened, model, params or VaryParams(), options, checked=checked)

    def interpolate(
        self,
        pairs: Iterable[GivenPair],
        *,
        dataset: str | Path | None = None,
        model: str | Path,
        steps: int = 5,
        params: InterpolateParams | None = None,
        check_ids: bool = True,
        **options: Unpack[Options],
    ) -> R:
        """Queue `steps` jobs per pair of IDs: the sounds from one to the other."""
        checked = self._checked()
        dataset, pairs, sources = with_dataset(pairs, dataset, self._status_of)
        with Dataset.open(expanded_path(dataset)) as opened:
            known = opened if check_ids else None
            jobs = interpolation_jobs(pairs, steps, dataset=known, checked=checked, named=sources.pair_of)
            return self._submit(
                Operation.INTERPOLATE, jobs, opened, model, params or InterpolateParams(), options, checked=checked
            )

    def sample(
        self, count: int, *, model: str | Path, params: SampleParams | None = None, **options: Unpack[Options]
    ) -> R:
        """Queue `count` jobs, each a new sound."""
        params = params or SampleParams()
        require_labels(read_record(find_model(expanded_path(model), self.settings.models)), params.labels)
        jobs = sample_jobs(count, labels=params.labels, seed=params.seed)
        return self._submit(Operation.SAMPLE, jobs, None, model, params, options)

    def decode(
        self, names: Iterable[GivenId], *, model: str | Path, params: DecodeParams, **options: Unpack[Options]
    ) -> R:
        """Queue one job per name: the sound of the latents in `params.latents`/NAME.npy."""
        checked = self._checked()
        named = JobSources(self._status_of).latents_of
        jobs = plain_jobs(checked_ids(names, dataset=None, checked=checked, named=named))
        return self._submit(Operation.DECODE, jobs, None, model, params, options, checked=checked)

    def again(
        self,
        earlier: Row[Any],
        new_jobs: Iterable[NewJob],
        *,
        model: str | Path | None = None,
        changes: Mapping[str, Any],
        **options: Unpack[Options],
    ) -> R:
        """Queue jobs of an earlier batch, a row of `batches`, with another model or with changed parameters."""
        operation = Operation(earlier.operation)
        known = {one.name for one in fields(params_kind(operation))}
        if unknown := sorted(changes.keys() - known):
            raise UsageError(f"{operation} has no {unknown[0]}; it has: {', '.join(sorted(known))}")
        if model is not None and earlier.model is None:
            raise UsageError(f"{operation} uses no model: omit the model")
        params = params_from_row(operation, {**earlier.params, **changes})
        chosen = earlier.model if model is None else model
        if isinstance(params, SampleParams):
            require_labels(read_record(find_model(expanded_path(chosen), self.settings.models)), params.labels)
        if earlier.dataset is None:
            return self._submit(operation, new_jobs, None, chosen, params, options)
        with Dataset.open(Path(earlier.dataset)) as dataset:
            return self._submit(operation, new_jobs, dataset, chosen, params, options)

    def _checked(self) -> Checked:
        return Checked(counts_unknown=self.counts_unknown)

    def _from_ids(
        self,
        operation: Operation,
        ids: Iterable[GivenId],
        dataset: str | Path | None,
        model: str | Path | None,
        params: Params,
        check_ids: bool,
        options: Options,
        *,
        n_sounds: int,
    ) -> R:
        checked = self._checked()
        dataset, ids, sources = with_dataset(ids, dataset, self._status_of)
        with Dataset.open(expanded_path(dataset)) as opened:
            known = checked_ids(ids, dataset=opened if check_ids else None, checked=checked, named=sources.id_of)
            jobs = plain_jobs(known)
            return self._submit(operation, jobs, opened, model, params, options, checked=checked, n_sounds=n_sounds)

    def _submit(
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
        require_known(options)
        priority = options.get("priority", contract.DEFAULT_PRIORITY)
        if priority not in contract.PRIORITIES:
            raise UsageError(
                f"priority {priority}: expected 0 to {contract.PRIORITIES.stop - 1}, the highest goes first"
            )
        checked_model = None if model is None else check_model(self.settings, model, dataset)
        if checked_model and checked_model.kind == "ae" and isinstance(params, ReconstructParams | EncodeParams):
            require_no_posterior(params)
        request = BatchRequest(
            operation=operation.value,
            dataset=None if dataset is None else str(dataset.path.resolve()),
            model=None if checked_model is None else checked_model.name,
            model_digest=None if checked_model is None else checked_model.digest,
            output=checked_output(options["output"], dataset),
            params=params.as_dict(),
            name=options.get("name"),
            priority=priority,
            chunk_size=self.settings.chunk_size,
            max_attempts=self.settings.max_attempts,
            key=options.get("key"),
            tags=options.get("tags") or {},
            webhook_url=self._webhook(options.get("webhook_url")),
        )
        require_plain_text(vars(request))
        if options.get("reuse"):
            require_reusable(operation, params)
        return self._accept(
            Submission(
                request=request,
                new_jobs=new_jobs,
                checked=checked or Checked(),
                bytes_per_job=n_sounds * sound_bytes(dataset, checked_model, params),
                progress=options.get("progress", lambda _: None),
                reuse=options.get("reuse", False),
            )
        )

    def _webhook(self, url: str | None) -> str | None:
        if url is not None and not self.settings.webhook_secret:
            raise UsageError(
                "a webhook needs the secret that signs its calls: set WAVEMILL_WEBHOOK_SECRET here, and where the "
                "workers or the page run, to whsec_ and 32 random bytes in base64"
            )
        return url

"""Jobs given in place of IDs: what they were made from is made again, or listened to with another model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from wavemill.errors import UsageError
from wavemill.operations.named_ids import About, NamedId, NamedPair, named_id, named_pair
from wavemill.operations.requests import Operation, source_ids
from wavemill.storage.locations import batch_root
from wavemill_producer.job import Job

if TYPE_CHECKING:
    from wavemill_producer.batch import Batch

T = TypeVar("T")
GivenId = str | Mapping[str, Any] | Job
GivenPair = tuple[str, str] | Mapping[str, Any] | Job
_NOTHING: Any = object()
StatusOf = Callable[[str], Mapping[str, Any]]  # a batch's ID -> its status


class JobSources:
    """Turns jobs into the IDs that they were made from, with what their callers said about them.

    Parameters
    ----------
    dataset : str or None
        The dataset in which all jobs' IDs must lie; None if the caller has named one.
    """

    def __init__(self, status_of: StatusOf, *, dataset: str | None = None) -> None:
        self._status_of = status_of
        self._dataset = dataset
        self._batches: dict[str, Mapping[str, Any]] = {}

    def id_of(self, given: GivenId) -> NamedId:
        """Return an ID, or that of the one spectrogram that a job was made from; UsageError for other jobs."""
        if not isinstance(given, Job):
            return named_id(given)
        sources = self._sources(given)
        if len(sources) != 1:
            raise UsageError(
                f"job {given.id} has {len(sources)} sources; jobs of interpolations can be interpolated again"
            )
        return NamedId(sources[0], _about(given))

    def pair_of(self, given: GivenPair) -> NamedPair:
        """Return a pair, or both ends of the interpolation that a job belongs to; UsageError for other jobs."""
        if not isinstance(given, Job):
            return named_pair(given)
        sources = self._sources(given)
        if len(sources) != 2:
            raise UsageError(
                f"job {given.id} was made from one clip; interpolation needs jobs of interpolations, or pairs"
            )
        return NamedPair(*sources, _about(given))

    def latents_of(self, given: GivenId) -> NamedId:
        """Return a name, or that of the latents that a job has written; UsageError for a job without any."""
        if not isinstance(given, Job):
            return named_id(given)
        if given.latent_path is None:
            raise UsageError(f"job {given.id} has no latents: submit `encode`, or other operations with --keep-latents")
        return NamedId(given.spectrogram_id, _about(given))

    def _sources(self, job: Job) -> tuple[str, ...]:
        batch = self._batch_of(job)
        operation = Operation(batch["operation"])
        sources = source_ids(operation, job.spectrogram_id, job.item or {})
        if not sources:
            raise UsageError(
                f"job {job.id} is of the operation {operation}, which reads no dataset, so there is no spectrogram "
                f"to use again; make a dataset of its sounds: wavemill dataset build --from-batch {batch['id']}"
            )
        if self._dataset is not None and batch["dataset"] != self._dataset:
            raise UsageError(
                f"job {job.id} is of the dataset {batch['dataset']}, jobs before it of {self._dataset}; take jobs of "
                "one dataset, or name the dataset"
            )
        return sources

    def _batch_of(self, job: Job) -> Mapping[str, Any]:
        if job.batch_id not in self._batches:
            self._batches[job.batch_id] = self._status_of(job.batch_id)
        return self._batches[job.batch_id]


def with_dataset(
    given: Iterable[T], dataset: str | Path | None, status_of: StatusOf
) -> tuple[str | Path, Iterable[T], JobSources]:
    """Return the dataset, all that is given, and its sources; without a dataset, the first job's is taken."""
    if dataset is not None:
        return dataset, given, JobSources(status_of)
    iterator = iter(given)
    first = next(iterator, _NOTHING)
    if first is _NOTHING:
        raise UsageError("there is nothing to do: no IDs were given")
    if not isinstance(first, Job):
        raise UsageError("expected a dataset, the folder of the spectrograms, or jobs in place of IDs")
    found = status_of(first.batch_id)["dataset"]
    sources = JobSources(status_of, dataset=found)
    if found is None:
        sources.id_of(first)  # says why it cannot be used
    every: Iterable[Any] = chain([first], iterator)
    return found, every, sources


def matching_jobs(batch: Batch, where: Sequence[str]) -> Iterator[Job]:
    """Return the jobs of a batch that meet all conditions; UsageError if there are none."""
    jobs = batch.jobs(where=where)
    first = next(jobs, None)
    if first is None:
        raise UsageError(
            f"no job of batch {batch.id} meets {' and '.join(where)}" if where else f"batch {batch.id} is empty"
        )
    return chain([first], jobs)


def latents_folder(batch: Batch) -> str:
    """Return the folder or URL in which a batch writes its latents."""
    return f"{batch_root(batch.status()['output'], batch.id)}/latents"


def _about(job: Job) -> About:
    return About(job.custom_id, job.metadata)

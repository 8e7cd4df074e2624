"""The Python API: submit batches and query their state."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeVar

from celery import Celery
from sqlalchemy import RowMapping

from wavemill import contract
from wavemill.errors import BrokerUnavailableError, DatabaseUnavailableError
from wavemill.jobs import queries, refusals
from wavemill.jobs.database import Database
from wavemill.jobs.filters import conditions_of
from wavemill.jobs.migrate import ensure
from wavemill.jobs.outbox import publish_due
from wavemill.jobs.patience import answers_within, day_if_none
from wavemill.jobs.ratings import rate
from wavemill.jobs.readiness import require_rights
from wavemill.jobs.reuse import reuse_outputs
from wavemill.jobs.sorting import order_in
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.jobs.workers import supervisor_count, troubles
from wavemill.settings import Settings
from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import shown
from wavemill.transport import message_count, sender
from wavemill_producer.batch import Batch
from wavemill_producer.dry_run import DryRun
from wavemill_producer.inputs import input_digests
from wavemill_producer.job import Job
from wavemill_producer.job_labels import labels_of_jobs
from wavemill_producer.notebook import progress_html, table_html, text
from wavemill_producer.pages import pages_of_jobs, pages_of_matching_jobs
from wavemill_producer.submission import Submission
from wavemill_producer.submitter import Submitter
from wavemill_producer.waiting import PATIENCE_S, repeat

T = TypeVar("T")

logger = logging.getLogger(__name__)


_REPR_S = 1.0  # a notebook must not hang because the table is away
_SHOWN = 5  # batches in a notebook


class Producer(Submitter[Batch]):
    """Submits batches. Holds one connection to the table, and one to the broker while it publishes.

    The operations are those of `Submitter`; each returns a `Batch`.

    Examples
    --------
    >>> with Producer.from_env() as producer:
    ...     batch = producer.reconstruct(ids, dataset="data/fsdd", model="fsdd-vae", output="out")
    ...     batch.wait()

    Parameters
    ----------
    patience_s : float or None
        How long to retry while the table does not answer, before raising; None: for ever. Only
        calls that are safe to repeat are retried: queries, cancel, pause, resume, and a submission
        of which nothing was written.
    """

    def __init__(self, settings: Settings, *, patience_s: float | None = PATIENCE_S) -> None:
        self.settings = settings
        self._patience_s = patience_s
        self.database = Database(settings.sqlalchemy_url, silence_s=settings.silence_s)
        self.database.labels_of = labels_of_jobs
        self._repeat(lambda: ensure(self.database))
        self._app = Celery("wavemill-producer", **contract.app_arguments(settings.celery_broker_url))
        self._send = sender(self._app)

    def __repr__(self) -> str:
        broker = without_secrets(self.settings.celery_broker_url)
        return shown(f"<Producer table {self.database.name}, broker {broker}>")

    def _repr_html_(self) -> str:
        """Show the newest batches and the living workers in a notebook."""
        where = f"<p>{text(self)}</p>"
        try:
            newest, living = self._shown_soon()
        except DatabaseUnavailableError as exc:
            return f"{where}<p>{text(exc)}</p>"
        columns = ("worker", "device", "jobs done", "jobs/s")
        names = ("id", "device", "jobs_done", "jobs_per_second")
        cells = [[text(row[name]) for name in names] for row in living]
        workers = table_html(columns, cells) if cells else "<p>no worker is alive; start one: wavemill worker</p>"
        return where + "".join(progress_html(status) for status in newest) + workers

    def _shown_soon(self) -> tuple[list[dict[str, Any]], list[RowMapping]]:
        """Return the newest batches and the living workers, or raise soon."""
        with answers_within(_REPR_S):
            newest = queries.list_batches(self.database, limit=_SHOWN)
            return newest, queries.list_workers(self.database, alive_within_s=self.settings.lease_s)

    @classmethod
    def from_env(cls, *, patience_s: float | None = PATIENCE_S) -> Self:
        """Make a producer from the `WAVEMILL_*` variables."""
        return cls(Settings.from_env(), patience_s=patience_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._app.close()
        self.database.close()

    @property
    def dry_run(self) -> DryRun:
        """The same operations, which check and count but queue nothing: `producer.dry_run.reconstruct(...)`."""
        return DryRun(self.settings, self.database)

    def _accept(self, submission: Submission) -> Batch:
        self._repeat(lambda: require_rights(self.database, on_primary=True))
        batch_id, _ = write_batch(
            self.database,
            submission.request,
            submission.new_jobs,
            progress=submission.progress,
            patience_s=day_if_none(self._patience_s),
        )
        if submission.checked.duplicates:
            logger.warning(
                "%d duplicate IDs were left out; each ID is queued once",
                submission.checked.duplicates,
                extra={"batch": batch_id},
            )
        if submission.reuse:
            self._reuse(batch_id, submission)
        self.announce(batch_id)
        return self._batch(batch_id)

    def _status_of(self, batch_id: str) -> dict[str, Any]:
        return self._repeat(lambda: queries.batch_status(self.database, batch_id))

    def _reuse(self, batch_id: str, submission: Submission) -> None:
        worker_id = f"{self.settings.worker_name}/reuse/{os.getpid()}-{secrets.token_hex(3)}"
        try:
            with input_digests(submission.request) as digests:
                reuse_outputs(self.database, batch_id, input_digests=digests, worker_id=worker_id)
        except DatabaseUnavailableError as exc:  # don't raise: the batch is already committed
            logger.warning(
                "%s. Batch %s is queued; outputs that were not copied yet are rendered",
                exc,
                batch_id,
                extra={"batch": batch_id},
            )

    def _batch(self, batch_id: str) -> Batch:
        return Batch(
            self.database,
            batch_id,
            announce=self.announce,
            extra_attempts=self.settings.max_attempts,
            patience_s=self._patience_s,
        )

    def _repeat(self, action: Callable[[], T]) -> T:
        return repeat(action, for_s=self._patience_s)

    def batch(self, id_or_name: str) -> Batch:
        """Return the batch with that ID, or with that name.

        Raises
        ------
        NotFoundError
            There is no such batch.
        UsageError
            Several batches have that name.
        """
        return self._batch(self._repeat(lambda: queries.find_batch(self.database, id_or_name)))

    def batches(
        self, *, limit: int = 20, tags: Mapping[str, str] | None = None, before: str | None = None
    ) -> list[dict[str, Any]]:
        """Return the statuses of the newest batches, or of those that have all `tags`, newest first.

        `before` is the ID of the last batch of the page before.
        """
        return self._repeat(lambda: queries.list_batches(self.database, limit=limit, tags=tags, before=before))

    def jobs(
        self,
        *,
        batch_id: str | None = None,
        state: State | None = None,
        flag: str | None = None,
        where: Sequence[str] = (),
        sort: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Yield jobs of one batch or of all, in the order of their IDs or of a field.

        Parameters
        ----------
        flag : str, optional
            One of `wavemill.jobs.flags.Flag`.
        where : sequence of str
            Conditions that all must hold, such as `rating>=4` or `id=7_*`; see `wavemill.jobs.filters`.
        sort : str, optional
            A field of `wavemill.jobs.filters`, after a minus for the largest first; at most 4,000 jobs, see
            `wavemill.jobs.sorting`.
        after : int
            Only jobs with a higher ID; with `sort`, how many jobs to skip.
        """
        if batch_id is not None:
            batch_id = self.batch(batch_id).id
        if where or sort is not None:
            rows = pages_of_matching_jobs(
                self.database,
                self._patience_s,
                batch_id=batch_id,
                conditions=conditions_of(where, state=state, flag=flag),
                order=None if sort is None else order_in(sort),
                after=after,
                limit=limit,
            )
            return (Job(dict(row)) for row in rows)
        every = pages_of_jobs(
            self.database, self._patience_s, batch_id=batch_id, state=state, flag=flag, after=after, limit=limit
        )
        return (Job(row._asdict()) for row in every)

    def rate(self, job_ids: Sequence[int], rating: int | None) -> int:
        """Rate jobs' sounds from 1 to 5, or None to take their ratings away; return how many jobs there were."""
        return self._repeat(lambda: rate(self.database, job_ids, rating))

    def job(self, job_id: int) -> dict[str, Any]:
        """Return one job with its batch's request and every attempt; NotFoundError if there is none."""
        return self._repeat(lambda: queries.get_job(self.database, job_id))

    def find_job(self, spectrogram_id: str, *, batch_id: str | None = None) -> dict[str, Any]:
        """Return the newest job of a spectrogram, as `job` does; NotFoundError if there is none."""
        if batch_id is not None:
            batch_id = self.batch(batch_id).id
        job_id = self._repeat(lambda: queries.find_job(self.database, spectrogram_id, batch_id=batch_id))
        return self.job(job_id)

    def workers(self) -> list[RowMapping]:
        """Return the workers whose heartbeat is fresh."""
        alive_within_s = self.settings.lease_s
        return self._repeat(lambda: queries.list_workers(self.database, alive_within_s=alive_within_s))

    def refused_models(self) -> list[dict[str, Any]]:
        """Return the models that living workers lack, and how many open batches need each."""
        return self._repeat(lambda: refusals.refused_models(self.database, alive_within_s=self.settings.lease_s))

    def supervisor_count(self) -> int:
        """Return how many supervisors live: each keeps workers running on its host."""
        return self._repeat(lambda: supervisor_count(self.database, alive_within_s=self.settings.lease_s))

    def troubles(self) -> list[str]:
        """Return a sentence for each living supervisor or worker that reports a problem."""
        return self._repeat(lambda: troubles(self.database, alive_within_s=self.settings.lease_s))

    def all_left(self) -> dict[str, Any]:
        """Return what is left of all batches together: `jobs_left`, `jobs_per_second`, `eta_s`."""
        return self._repeat(lambda: queries.all_left(self.database))

    def announce(self, batch_id: str) -> None:
        """Publish a batch's due messages. If a server is down, a reaper does it later."""
        try:
            room = self.settings.max_messages - message_count(self._app)
            publish_due(self.database, self._send, batch_id=batch_id, at_most=room)
        except BrokerUnavailableError as exc:
            logger.warning(
                "%s. Batch %s is safe in the table and is sent when the broker is back",
                exc,
                batch_id,
                extra={"batch": batch_id},
            )
        except DatabaseUnavailableError as exc:  # don't raise: the batch is already committed
            logger.warning(
                "%s. Batch %s is already committed and is sent when the table is back",
                exc,
                batch_id,
                extra={"batch": batch_id},
            )

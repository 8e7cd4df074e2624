"""The Python API: submit batches and ask where they stand."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from celery import Celery
from sqlalchemy import Row, RowMapping

from wavemill import contract
from wavemill.dataset.index import Dataset
from wavemill.errors import BrokerUnavailableError, PresetMismatchError, UsageError
from wavemill.jobs import control, queries
from wavemill.jobs.database import Database
from wavemill.jobs.migrate import ensure
from wavemill.jobs.outbox import publish_due
from wavemill.jobs.states import BatchState, State
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill.requests import RECONSTRUCT, ReconstructParams
from wavemill.settings import Settings
from wavemill.storage import is_url
from wavemill.transport import sender
from wavemill.vae.record import find_model, read_record, verify
from wavemill_producer.ids import Checked, checked_ids

logger = logging.getLogger(__name__)

FINISHED = frozenset({BatchState.DONE, BatchState.FAILED, BatchState.CANCELLED})


class Batch:
    """A batch in the table; `id` is all that it takes to find it again."""

    def __init__(self, producer: Producer, batch_id: str) -> None:
        self._producer = producer
        self._database = producer.database
        self.id = batch_id

    def status(self) -> dict[str, Any]:
        """Return what `wavemill status BATCH --json` prints."""
        return queries.batch_status(self._database, self.id)

    def wait(
        self,
        *,
        timeout_s: float | None = None,
        poll_s: float = 0.5,
        progress: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> BatchState:
        """Wait until every job is final; TimeoutError after `timeout_s`. `progress` sees each status."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            status = self.status()
            progress(status)
            if status["state"] in FINISHED:
                return BatchState(status["state"])
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"batch {self.id} is {status['state']} after {timeout_s} s: {status['counts']}")
            time.sleep(poll_s)

    def jobs(self, *, state: State | str | None = None, after: int = 0, limit: int | None = None) -> Iterator[Row[Any]]:
        """Yield the batch's jobs, a page at a time from the table; columns are attributes."""
        chosen = None if state is None else State(state)
        return queries.list_jobs(self._database, batch_id=self.id, state=chosen, after=after, limit=limit)

    def cancel(self) -> int:
        """Cancel what is not done; return how many jobs were still queued."""
        return control.cancel_batch(self._database, self.id)

    def pause(self) -> None:
        """Start no more of its jobs."""
        control.pause_batch(self._database, self.id)

    def resume(self) -> None:
        """Go on after a pause."""
        control.resume_batch(self._database, self.id)
        self._producer.announce(self.id)

    def retry(self, *, only_failed: bool = False) -> int:
        """Queue failed jobs again, and cancelled ones unless `only_failed`; return how many."""
        states = [State.FAILED] if only_failed else [State.FAILED, State.CANCELLED]
        extra = self._producer.settings.max_attempts
        count = control.retry_batch(self._database, self.id, states=states, extra_attempts=extra)
        self._producer.announce(self.id)
        return count


class Producer:
    """Submits batches; holds one connection to the table, and one to the broker while it publishes.

    Examples
    --------
    >>> with Producer.from_env() as producer:
    ...     batch = producer.reconstruct(ids, dataset="data/fsdd", model="fsdd-vae", output="out")
    ...     batch.wait()
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.database = Database(settings.sqlalchemy_url)
        ensure(self.database)
        self._app = Celery("wavemill-producer", set_as_current=False)
        self._app.conf.update(contract.celery_settings(settings.celery_broker_url))
        self._send = sender(self._app)

    @classmethod
    def from_env(cls) -> Self:
        """Make one from the `WAVEMILL_*` variables."""
        return cls(Settings.from_env())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._app.close()
        self.database.close()

    def reconstruct(
        self,
        ids: Iterable[str],
        *,
        dataset: str | Path,
        model: str | Path,
        output: str | Path,
        params: ReconstructParams | None = None,
        name: str | None = None,
        priority: int = contract.DEFAULT_PRIORITY,
        check_ids: bool = True,
        progress: Callable[[int], None] = lambda _: None,
    ) -> Batch:
        """Queue one job for each spectrogram ID.

        Parameters
        ----------
        ids : iterable of str
            Streamed. An ID that comes twice is queued once; with `check_ids`, one that the dataset's index does not
            have refuses the whole batch, without it that job alone fails.
        dataset, model, output : str or Path
            Folders as the workers see them; `model` may be a name below `WAVEMILL_MODELS`; `output` may be an fsspec
            URL. Outputs are written to OUTPUT/BATCH/generated and OUTPUT/BATCH/original.
        priority : int, 0 to 9
            9 goes first.
        progress : callable
            Called with the number of jobs written so far.

        Raises
        ------
        UsageError, InvalidIdError, UnknownSpectrogramError, DatasetError, ModelError
            Nothing was queued.
        DatabaseUnavailableError
            Nothing was queued. A broker that is down is no error: the rows are safe and go out when it is back.
        """
        with Dataset.open(dataset) as opened:
            request = self._request(
                opened, model=model, output=output, params=params or ReconstructParams(), name=name, priority=priority
            )
            checked = Checked()
            streamed = checked_ids(ids, dataset=opened if check_ids else None, checked=checked)
            batch_id, _ = write_batch(self.database, request, streamed, progress=progress)
        if checked.duplicates:
            logger.warning("%d IDs came more than once; each is queued once", checked.duplicates)
        self.announce(batch_id)
        return Batch(self, batch_id)

    def check(
        self,
        ids: Iterable[str],
        *,
        dataset: str | Path,
        model: str | Path,
        output: str | Path,
        params: ReconstructParams | None = None,
        name: str | None = None,
        priority: int = contract.DEFAULT_PRIORITY,
        check_ids: bool = True,
    ) -> dict[str, Any]:
        """Check all that `reconstruct` checks and say what it would queue, but queue nothing.

        `output_bytes` is an upper bound for 16-bit sound: every clip at its full length, twice.
        """
        with Dataset.open(dataset) as opened:
            request = self._request(
                opened, model=model, output=output, params=params or ReconstructParams(), name=name, priority=priority
            )
            checked = Checked()
            total = sum(1 for _ in checked_ids(ids, dataset=opened if check_ids else None, checked=checked))
            return {
                "total": total,
                "duplicates": checked.duplicates,
                "chunks": -(-total // request.chunk_size),
                "output_bytes": total * 2 * 2 * opened.features.n_samples,
            }

    def _request(
        self,
        dataset: Dataset,
        *,
        model: str | Path,
        output: str | Path,
        params: ReconstructParams,
        name: str | None,
        priority: int,
    ) -> BatchRequest:
        if priority not in contract.PRIORITIES:
            raise UsageError(
                f"priority {priority}: expected 0 to {contract.PRIORITIES.stop - 1}, the highest goes first"
            )
        model_name, digest = self._check_model(model, dataset)
        return BatchRequest(
            operation=RECONSTRUCT,
            dataset=str(dataset.path.resolve()),
            model=model_name,
            model_digest=digest,
            output=str(output) if is_url(str(output)) else str(_output_folder(output)),
            params=params.as_dict(),
            name=name,
            priority=priority,
            chunk_size=self.settings.chunk_size,
            max_attempts=self.settings.max_attempts,
        )

    def batch(self, batch_id: str) -> Batch:
        """Return the batch of that ID; NotFoundError if there is none."""
        queries.batch_status(self.database, batch_id)
        return Batch(self, batch_id)

    def batches(self, *, limit: int = 20) -> list[dict[str, Any]]:
        """Return the newest batches' statuses, newest first."""
        return queries.list_batches(self.database, limit=limit)

    def jobs(
        self, *, batch_id: str | None = None, state: State | None = None, after: int = 0, limit: int | None = None
    ) -> Iterator[Row[Any]]:
        """Yield jobs of one batch or of all, in the order of their IDs."""
        if batch_id is not None:
            self.batch(batch_id)
        return queries.list_jobs(self.database, batch_id=batch_id, state=state, after=after, limit=limit)

    def job(self, job_id: int) -> dict[str, Any]:
        """Return one job with its batch's request and every attempt; NotFoundError if there is none."""
        return queries.get_job(self.database, job_id)

    def workers(self) -> list[RowMapping]:
        """Return the workers whose heartbeat is fresh."""
        return queries.list_workers(self.database, alive_within_s=self.settings.lease_s)

    def announce(self, batch_id: str) -> None:
        """Publish a batch's due messages; if the broker is down, a worker's reaper does it later."""
        try:
            publish_due(self.database, self._send, batch_id=batch_id)
        except BrokerUnavailableError as exc:
            logger.warning("%s. Batch %s is safe in the table and goes out when the broker is back", exc, batch_id)

    def _check_model(self, model: str | Path, dataset: Dataset) -> tuple[str, str]:
        """Return the model's name as workers look it up, and its digest."""
        folder = find_model(model, self.settings.models)
        digest, record = verify(folder), read_record(folder)
        if record.features != dataset.features:
            raise PresetMismatchError(
                f"model {str(model)!r} was trained on preset {record.features.preset!r} ({record.features.shape}), "
                f"{dataset.path} holds {dataset.features.preset!r} ({dataset.features.shape}); build the dataset with: "
                f"wavemill dataset build --preset {record.features.preset}"
            )
        is_named = folder.resolve() == (self.settings.models / str(model)).resolve()
        return (str(model) if is_named else str(folder.resolve())), digest


def _output_folder(output: str | Path) -> Path:
    folder = Path(output).resolve()
    for place in (folder, *folder.parents):
        if place.is_dir():
            return folder
        if place.exists():
            raise UsageError(f"--output {folder}: {place} is a file, not a folder")
    return folder

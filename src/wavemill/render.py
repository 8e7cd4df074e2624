"""One chunk, end to end: claim, read, generate, write, measure, record."""

from __future__ import annotations

import logging
import threading
from time import perf_counter

from wavemill.chunk_worker import ChunkWorker
from wavemill.jobs.claims import Claim
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.pipeline import Pipeline
from wavemill.runtime import Runtime
from wavemill.settings import Settings

logger = logging.getLogger(__name__)


class Renderer(ChunkWorker):
    """Renders chunks, one at a time, for one worker process.

    Parameters
    ----------
    n_threads : int > 0
        Sub-batches at the same time, each on one core.
    """

    def __init__(
        self, database: Database, settings: Settings, *, worker_id: str, n_threads: int, stop: threading.Event
    ) -> None:
        super().__init__(database, settings, worker_id=worker_id, stop=stop)
        self._runtime = Runtime(settings.models, mixed_precision=settings.mixed_precision)
        self._pipeline = Pipeline(n_threads, ordered_to_stop=self._ordered_to_stop, failure=self._failure)

    def close(self) -> None:
        """End the threads."""
        self._pipeline.close()

    def _work(self, claim: Claim) -> list[Outcome]:
        started = perf_counter()
        try:
            tools = self._runtime.tools(claim.batch)
            outcomes = self._pipeline.outcomes(claim, tools)
        except Exception as exc:  # whatever it is: said in the table at once, not "worker-lost" when the lease ends
            logger.error("batch %s cannot be rendered: %s", claim.batch.id, exc)  # noqa: TRY400  said in the table
            return [self._failure(job, exc, elsewhere_may_help=True) for job in claim.jobs]
        logger.info("batch %s: %d jobs in %.2f s", claim.batch.id, len(outcomes), perf_counter() - started)
        return outcomes

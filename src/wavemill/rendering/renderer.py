"""`Renderer`: the worker that renders chunks, from claim to record."""

from __future__ import annotations

import logging
import threading
from time import perf_counter

import numpy as np

from wavemill.errors import DatabaseUnavailableError, ModelError, ModelNotHereError, OutageError
from wavemill.jobs.claims import Claim
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.refusals import refuse, why_no_worker_can, withdraw
from wavemill.jobs.states import State
from wavemill.presets import DEFAULT_PRESET, preset
from wavemill.rendering.chunk_worker import ChunkWorker
from wavemill.rendering.pipeline import Pipeline
from wavemill.rendering.resources import Runtime
from wavemill.settings import Settings
from wavemill.synthesis.levels import Levels, restore_energy
from wavemill.synthesis.sound import spectrograms_to_audio

logger = logging.getLogger(__name__)

_LEASES_TO_WAIT = 3  # for another worker that has the model; one that died has restarted by then


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
        self._pipeline = Pipeline(
            n_threads,
            ordered_state=self._ordered_state,
            failure=self._failure,
            on_sub_batch=lambda n_jobs: self.meter.sub_batch(n_jobs),
        )

    def close(self) -> None:
        """End the threads."""
        self._pipeline.close()

    def _work(self, claim: Claim) -> list[Outcome]:
        started = perf_counter()
        try:
            tools = self._runtime.tools(claim.batch)
            self._accept(claim.batch.model_digest)
            outcomes = self._pipeline.run(claim, tools)
        except ModelNotHereError as exc:
            return self._refuse(claim, exc)
        except Exception as exc:  # recorded now: otherwise it would be "worker-lost" when the lease ends
            if not isinstance(exc, OutageError):  # an outage is logged once, not for each chunk
                logger.error("batch %s cannot be rendered: %s", claim.batch.id, exc)  # noqa: TRY400  the table has it
            return [self._failure(job, exc, elsewhere_may_help=True) for job in claim.jobs]
        logger.info("batch %s: %d jobs in %.2f s", claim.batch.id, len(outcomes), perf_counter() - started)
        return outcomes

    def _refuse(self, claim: Claim, exc: ModelNotHereError) -> list[Outcome]:
        """Leave a claim to workers that have its model; fail it if none of them is alive."""
        digest = claim.batch.model_digest

        def ask() -> str | None:
            refuse(self._database, self._worker_id, digest, str(exc))
            wait_s = _LEASES_TO_WAIT * self._settings.lease_s
            return why_no_worker_can(self._database, digest, wait_s, asked_by=self._worker_id)

        try:
            sentence = self._while_database_is_gone(ask)
        except DatabaseUnavailableError:  # told to stop while waiting for the database
            sentence = None
        if sentence is None:
            if not self._refused.discard(digest):
                logger.warning("batch %s is left to other workers: %s", claim.batch.id, exc)
            self._refused.add(digest)
            return [
                Outcome(job=job, state=State.QUEUED, error_code=exc.code, error=str(exc), blame=False)
                for job in claim.jobs
            ]
        self._refused.add(digest, ask_again=True)  # so that the rest of the batch fails soon too
        logger.error("batch %s cannot be rendered: %s", claim.batch.id, sentence)
        code = exc.__cause__.code if isinstance(exc.__cause__, ModelError) else exc.code
        return [Outcome(job=job, state=State.FAILED, error_code=code, error=sentence) for job in claim.jobs]

    def _accept(self, digest: str | None) -> None:
        """Withdraw the refusal of a model that has arrived."""
        if digest is not None and self._refused.discard(digest):
            self._while_database_is_gone(lambda: withdraw(self._database, self._worker_id, digest))
            logger.warning("model %s is available now", digest[:12])


def warm_up() -> None:
    """Compile every loop that a job needs, so that the first job is not slower than the others.

    Numba keeps the machine code on disk: this takes 20 s at the first start on a machine, then 1 s.
    """
    features = preset(DEFAULT_PRESET)
    slope_db = np.linspace(0, -60, features.n_bins, dtype=np.float32)[:, None]  # (F, 1)
    spectrogram = np.tile(slope_db, features.n_frames)  # (F, T)
    spectrogram, _ = restore_energy(spectrogram - 20, Levels.of(spectrogram, features), features)
    spectrograms_to_audio(spectrogram[None], features)

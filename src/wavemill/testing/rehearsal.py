"""A device for tests of the queue: real processes, claims and files, but no computing.

`wavemill worker --devices rehearsal:0.01` sleeps 0.01 s per job. It needs neither a model nor
TensorFlow. Tests use it to kill workers thousands of times, and benchmarks to run more workers than
there are cores.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from time import sleep
from typing import Any

from wavemill.dataset.files import require_dataset_there
from wavemill.errors import UnknownSpectrogramError, UsageError
from wavemill.jobs.claims import Claim, ClaimedJob
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.states import State
from wavemill.rendering.chunk_worker import ChunkWorker
from wavemill.settings import Settings
from wavemill.storage.locations import batch_root
from wavemill.storage.staging import JobOutputs, OutputStore
from wavemill.storage.stores import open_store

_NAME = "rehearsal"
_LONGEST_S = 3_600
_SUB_BATCH = 16  # jobs between two checks of whether to stop, as many as in a forward pass


class RehearsalWorker(ChunkWorker):
    """Reads each job's input and writes a file with the worker, the job and the attempt.

    Each attempt writes different bytes, so that a test can tell from the digest which attempt wrote
    a file.
    """

    def __init__(self, *arguments: Any, seconds_per_job: float, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._seconds_per_job = seconds_per_job

    def _work(self, claim: Claim) -> list[Outcome]:
        store = open_store(batch_root(claim.batch.output, claim.batch.id), must_exist=claim.batch.done > 0)
        outcomes: list[Outcome] = []
        for start in range(0, len(claim.jobs), _SUB_BATCH):
            part = claim.jobs[start : start + _SUB_BATCH]
            if state := self._ordered_state(claim):
                outcomes += [Outcome(job=job, state=state) for job in part]
                continue
            outcomes += [self._outcome(store, claim, job) for job in part]
            sleep(self._seconds_per_job * len(part))
        return outcomes

    def _outcome(self, store: OutputStore, claim: Claim, job: ClaimedJob) -> Outcome:
        outputs = JobOutputs(store, job_id=job.id, fence=job.fence)
        try:
            said = f"{claim.worker_id} {job.id} {job.attempt} {_digest_of_input(claim, job)}\n".encode()
            path = outputs.stage("generated", f"generated/{job.spectrogram_id}.wav", said)
        except Exception as exc:  # one bad item must not fail the others
            return self._failure(job, exc)
        columns = {"generated_path": path, "sha256": hashlib.sha256(said).hexdigest()}
        return Outcome(job=job, state=State.DONE, columns=columns, place=outputs.place, discard=outputs.discard)


def _digest_of_input(claim: Claim, job: ClaimedJob) -> str:
    path = Path(claim.batch.dataset) / "spectrograms" / f"{job.spectrogram_id}.npy"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as exc:
        require_dataset_there(Path(claim.batch.dataset))
        raise UnknownSpectrogramError(f"{job.spectrogram_id}: there is no file {path}") from exc


class Rehearsal:
    """The kind of device that computes nothing: `rehearsal`, or `rehearsal:SECONDS` for each job."""

    def check(self, device: str) -> None:
        """Raise UsageError if the seconds are not a number from 0 to 3,600."""
        _seconds_per_job(device)

    def chunk_worker(
        self, device: str, database: Database, settings: Settings, *, worker_id: str, stop: threading.Event
    ) -> RehearsalWorker:
        """Build the worker that sleeps."""
        seconds_per_job = _seconds_per_job(device)
        return RehearsalWorker(database, settings, worker_id=worker_id, stop=stop, seconds_per_job=seconds_per_job)


def _seconds_per_job(device: str) -> float:
    text = device.partition(":")[2]
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _LONGEST_S:
        raise UsageError(f"--devices {device}: expected 0 to {_LONGEST_S:,} seconds per job, as in {_NAME}:0.01")
    return seconds


REHEARSAL = Rehearsal()

"""Takes the jobs of a chunk from inputs to staged outputs, in sub-batches that overlap.

One thread per core runs forward pass, inversion and encoding of a sub-batch; all three release the
GIL. Other threads read ahead and write behind, so that no core waits for a disk. They too take a
whole sub-batch at a time, because handing over a job costs more than reading it. A GPU inverts a
sub-batch in one call; if that keeps failing, the CPU takes over for some minutes. None of this has
ever run on a GPU.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter
from typing import TypeAlias

from wavemill.dataset.index import Entry
from wavemill.errors import PermanentError
from wavemill.inversion.gpu import first_gpu
from wavemill.jobs.claims import Claim, ClaimedJob
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.states import State
from wavemill.rendering.breaker import Breaker
from wavemill.rendering.huge_jobs import render_huge
from wavemill.rendering.outputs import Encoded, Sounds, encode_made, invert_made, stage_encoded
from wavemill.rendering.resources import BatchTools
from wavemill.rendering.steps import AnyOperation, Input, Made, operation_of
from wavemill.rendering.threads import Threads
from wavemill.storage.locations import is_remote
from wavemill.vae.network.forward import BATCH

logger = logging.getLogger(__name__)

Failure: TypeAlias = Callable[[ClaimedJob, Exception], Outcome]
_Loading: TypeAlias = "Future[_Loaded]"
_Encoded: TypeAlias = tuple[ClaimedJob, Encoded]

_FILE_THREADS = 8  # they wait for disks and networks, and use next to no CPU


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    claim: Claim
    tools: BatchTools
    operation: AnyOperation


@dataclass(kw_only=True)
class _Loaded:
    """The inputs that were read, and the outcomes of jobs whose inputs could not be."""

    inputs: list[Input] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)


@dataclass(kw_only=True)
class _SubBatch:
    """The outcomes of some jobs, and the writes that are still under way."""

    outcomes: list[Outcome] = field(default_factory=list)
    writing: list[Future[list[Outcome]]] = field(default_factory=list)


class Pipeline:
    """The threads of one worker process.

    Parameters
    ----------
    n_threads : int > 0
        Sub-batches at the same time.
    ordered_state : called before each sub-batch
        Returns the state for the rest of the chunk, or None to continue.
    failure : returns the outcome of a job that raised
    on_sub_batch : called with the number of jobs of each sub-batch that is rendered
    """

    def __init__(
        self,
        n_threads: int,
        *,
        ordered_state: Callable[[Claim], State | None],
        failure: Failure,
        on_sub_batch: Callable[[int], None],
    ) -> None:
        self._n_threads = n_threads
        self._ordered_state = ordered_state
        self._failure = failure
        self._on_sub_batch = on_sub_batch
        self._gpu_breaker = Breaker("inversion on the GPU", instead="the CPU takes over")
        self._cores = Threads(n_threads, thread_name_prefix="core")
        # Encoding is many short steps that each take the GIL: beside a forward pass, two threads
        # encode fewer clips than one.
        self._encoding = threading.Lock()
        self._files = Threads(_FILE_THREADS, thread_name_prefix="files")

    def run(self, claim: Claim, tools: BatchTools) -> list[Outcome]:
        """Do the jobs of a claim and return their outcomes; raise an error that concerns all."""
        chunk = _Chunk(claim=claim, tools=tools, operation=operation_of(tools))
        entries = tools.entries([ID for job in claim.jobs for ID in chunk.operation.source_ids(job)])
        size = sub_batch_size(len(claim.jobs), self._n_threads)
        jobs = [claim.jobs[start : start + size] for start in range(0, len(claim.jobs), size)]
        loading = [self._files.submit(self._load, chunk, part, entries) for part in jobs]
        parts = list(self._cores.map(lambda part, loaded: self._sub_batch(chunk, part, loaded), jobs, loading))
        written = [outcome for part in parts for one in part.writing for outcome in one.result()]
        return [*[outcome for part in parts for outcome in part.outcomes], *written]

    def close(self) -> None:
        """Wait for the work under way, and end the threads."""
        self._cores.shutdown()
        self._files.shutdown()

    def _load(self, chunk: _Chunk, jobs: Sequence[ClaimedJob], entries: Mapping[str, Entry]) -> _Loaded:
        loaded = _Loaded()
        for job in jobs:
            try:
                loaded.inputs.append(chunk.operation.load(job, entries))
            except Exception as exc:  # a bad job fails alone
                loaded.failed.append(self._failure(job, exc))
        return loaded

    def _sub_batch(self, chunk: _Chunk, jobs: Sequence[ClaimedJob], loading: _Loading) -> _SubBatch:
        if state := self._ordered_state(chunk.claim):
            return _SubBatch(outcomes=[Outcome(job=job, state=state) for job in jobs])
        self._on_sub_batch(len(jobs))
        loaded = loading.result()
        done = _SubBatch(outcomes=loaded.failed)
        usual = [one for one in loaded.inputs if one.huge is None]
        encoded = self._make(chunk, usual, done.outcomes) if usual else []
        encoded += [made for one in loaded.inputs if one.huge for made in self._render_huge(chunk, one, done.outcomes)]
        # Object stores: one task a job, so that uploads overlap.
        parts = [[one] for one in encoded] if is_remote(chunk.claim.batch.output) else [encoded]
        done.writing = [self._files.submit(self._stage, chunk, part) for part in parts]
        return done

    def _make(self, chunk: _Chunk, inputs: Sequence[Input], failed: list[Outcome]) -> list[_Encoded]:
        started = perf_counter()
        try:
            results = chunk.operation.make(inputs)
        except Exception as exc:
            if len(inputs) == 1:
                failed.append(self._failure(inputs[0].job, exc))
                return []
            logger.warning("a sub-batch of %d jobs failed; rendering them one by one: %s", len(inputs), exc)
            # A bad job fails alone.
            return [encoded for one in inputs for encoded in self._make(chunk, [one], failed)]
        made_at = perf_counter()
        sounds = self._invert_on_gpu(chunk.tools, results)
        seconds = {
            "forward_s": (made_at - started) / len(inputs),
            "invert_s": (perf_counter() - made_at) / len(inputs),
        }
        done = []
        with self._encoding:
            for made, given in zip(results, sounds, strict=True):
                try:
                    encoded = encode_made(chunk.tools, made, sounds=given, **seconds)
                except Exception as exc:  # a bad job fails alone
                    failed.append(self._failure(made.input.job, exc))
                else:
                    done.append((made.input.job, encoded))
        return done

    def _render_huge(self, chunk: _Chunk, one: Input, failed: list[Outcome]) -> list[_Encoded]:
        """Return the one job, rendered; or none, and its failure in `failed`."""
        try:
            return [(one.job, render_huge(chunk.tools, chunk.operation, one))]
        except Exception as exc:  # a bad job fails alone
            failed.append(self._failure(one.job, exc))
            return []

    def _invert_on_gpu(self, tools: BatchTools, results: Sequence[Made]) -> Sequence[Sounds | None]:
        """Return the sounds of each job, or None for each if the CPU must invert one by one."""
        gpu = self._gpu
        if gpu is None or not self._gpu_breaker.allows():
            return [None] * len(results)
        try:
            sounds = invert_made(tools, results, gpu=gpu)
        except PermanentError:  # one job is bad; the CPU inverts one by one and finds it
            return [None] * len(results)
        except Exception as exc:  # a GPU without memory left, or a broken one
            self._gpu_breaker.failed(exc)
            return [None] * len(results)
        self._gpu_breaker.worked()
        return sounds

    @cached_property
    def _gpu(self) -> str | None:
        return first_gpu()

    def _stage(self, chunk: _Chunk, encoded: Sequence[_Encoded]) -> list[Outcome]:
        outcomes = []
        for job, one in encoded:
            try:
                outcomes.append(stage_encoded(chunk.tools, one, job=job))
            except Exception as exc:  # a bad job fails alone
                outcomes.append(self._failure(job, exc))
        return outcomes


def sub_batch_size(n_jobs: int, n_threads: int) -> int:
    """Return how many jobs a sub-batch gets: at most `BATCH`, and about as many for each core."""
    rounds = -(-n_jobs // (BATCH * n_threads))
    return -(-n_jobs // (rounds * n_threads))

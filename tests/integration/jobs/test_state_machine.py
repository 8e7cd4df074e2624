"""Random histories of a batch; after each step the table must be sound."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, update
from support.batches import Outgoing, all_done, audit, failed, finish, job_rows, retried, submit

from wavemill.errors import UsageError
from wavemill.jobs.claims import Claim, ClaimedJob, claim_next, renew_leases
from wavemill.jobs.control import cancel_batch, ordered_state, pause_batch, resume_batch, retry_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.outbox import publish_due, recall_lost, restore_missing_chunks
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.schema import batches, chunks
from wavemill.jobs.states import FINAL, MOVES, State

_N_JOBS = 12
_FATES = ("done", "failed", "retry", "wait out", "give back")
_SOME_FATES = st.lists(st.sampled_from(_FATES), min_size=_N_JOBS, max_size=_N_JOBS)


def _outcome(job: ClaimedJob, fate: str, placed: list[int]) -> Outcome:
    if fate == "failed" or (fate == "retry" and job.attempt >= job.max_attempts):
        return failed(job)
    if fate == "retry":
        return retried(job)
    if fate == "wait out":
        return Outcome(job=job, state=State.QUEUED, error_code="storage-unavailable", error="full", blame=False)
    if fate == "give back":
        return Outcome(job=job, state=State.QUEUED)
    return Outcome(job=job, state=State.DONE, place=lambda: placed.append(job.id))


class BatchHistory(RuleBasedStateMachine):
    """Workers that live, die and come back; messages that are lost, doubled and late; a user who changes his mind."""

    held = Bundle("held")

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        with database.transaction() as connection:
            connection.execute(delete(batches))  # and with them their jobs, attempts and chunks
        self.outgoing = Outgoing()
        self.placed: list[int] = []
        self.before: dict[int, str] = {}
        self.n_claims = 0

    @initialize(chunk_size=st.sampled_from([1, 4, 12]), max_attempts=st.integers(1, 3))
    def begin(self, chunk_size: int, max_attempts: int) -> None:
        self.batch_id = submit(self.database, _N_JOBS, chunk_size=chunk_size, max_attempts=max_attempts)

    @rule()
    def publish(self) -> None:
        publish_due(self.database, self.outgoing)

    @rule(present=st.booleans())
    def recall(self, present: bool) -> None:
        waiting = {(self.batch_id, *pair) for pair in self.outgoing.ranges} if present else set()
        recall_lost(self.database, waiting, grace_s=-1)

    @rule()
    def restore(self) -> None:
        assert restore_missing_chunks(self.database) == 0  # nothing here loses a chunk

    @rule(target=held, dies=st.booleans())
    def deliver(self, dies: bool) -> object:
        """A message arrives: any that was ever sent, however late, however often."""
        if not self.outgoing.messages:
            self.publish()
        if not self.outgoing.messages:
            return multiple()
        self.n_claims += 1
        lease_s = -1.0 if dies else 60.0
        claims = claim_next(self.database, worker_id=f"w{self.n_claims}", lease_s=lease_s)
        return claims[0] if claims else multiple()

    @rule(claim=held)
    def heartbeat(self, claim: Claim) -> None:
        renew_leases(self.database, [claim], lease_s=60.0)

    @rule(claim=consumes(held), fates=_SOME_FATES)
    def end_a_chunk(self, claim: Claim, fates: list[str]) -> None:
        """Also of a worker that was taken for dead."""
        outcomes = [_outcome(job, fate, self.placed) for job, fate in zip(claim.jobs, fates, strict=False)]
        moved = finish(self.database, claim, outcomes)
        assert finish(self.database, claim, all_done(claim, place=lambda: self.placed.append(-1))) == (
            len(claim.jobs) - len(outcomes)
        )
        assert moved <= len(claim.jobs)

    @rule(claim=consumes(held), fates=_SOME_FATES)
    def cancel_amid_work(self, claim: Claim, fates: list[str]) -> None:
        """Of its own, because chance seldom brings the two together; the worker has not looked meanwhile."""
        cancel_batch(self.database, self.batch_id)
        self.end_a_chunk(claim, fates)

    @rule()
    def sweep(self) -> None:
        reclaim_expired(self.database)

    @rule()
    def cancel(self) -> None:
        cancel_batch(self.database, self.batch_id)
        assert ordered_state(self.database, self.batch_id) is State.CANCELLED

    @rule()
    def pause(self) -> None:
        with suppress(UsageError):  # cancelled or finished
            pause_batch(self.database, self.batch_id)

    @rule()
    def resume(self) -> None:
        with suppress(UsageError):
            resume_batch(self.database, self.batch_id)

    @rule(only_failed=st.booleans())
    def retry(self, only_failed: bool) -> None:
        states = [State.FAILED] if only_failed else [State.FAILED, State.CANCELLED]
        retry_batch(self.database, self.batch_id, states=states, extra_attempts=2)

    @invariant()
    def the_table_is_sound(self) -> None:
        if not hasattr(self, "batch_id"):
            return
        audit(self.database, self.batch_id)
        rows = job_rows(self.database, self.batch_id)
        for row in rows:
            before = State(self.before.get(row.id, "queued"))
            # One step may queue a job and no more; only DONE is for ever.
            assert row.state == before or State(row.state) in MOVES[before], (row.seq, before, row.state)
        self.before = {row.id: row.state for row in rows}
        done = sorted(row.id for row in rows if row.state == State.DONE)
        assert sorted(self.placed) == done  # placed once each, and nothing else

    def teardown(self) -> None:
        """Whatever happened: who sweeps, sends and works long enough gets every job into a final state."""
        if hasattr(self, "batch_id"):
            with suppress(UsageError):
                resume_batch(self.database, self.batch_id)
            for _ in range(3):
                self._work()
            # What a living worker holds stays its own.
            assert {State(state) for state in self.before.values()} <= FINAL | {State.RUNNING}

    def _work(self) -> None:
        reclaim_expired(self.database)
        inbox = Outgoing()
        publish_due(self.database, inbox)
        recall_lost(self.database, set(), grace_s=-1)
        with self.database.transaction() as connection:
            connection.execute(update(chunks).values(available_at=now()))
        for _ in inbox.messages:
            for claim in claim_next(self.database, worker_id="last", lease_s=60):
                finish(self.database, claim, all_done(claim))
        rows = job_rows(self.database, self.batch_id)
        self.before = {row.id: row.state for row in rows}


def test_no_history_leaves_the_table_unsound(database: Database) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: BatchHistory(database),
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.reuse, Phase.generate],  # 30 steps can be read; to find fewer takes minutes
        ),
    )

"""Actions on all jobs that match a filter: a page at a time, each page once, whoever runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.batches import audit, chunk_ranges, claim, failed, finish, job_rows, new_jobs, request, states, submit

from wavemill.errors import NotFoundError, OutputError
from wavemill.jobs import bulk, bulk_changes, bulk_files
from wavemill.jobs.bulk import Action, Surroundings, bulk_status, run, start, take_next
from wavemill.jobs.claims import claim_next
from wavemill.jobs.control import cancel_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.filters import parse
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.management_schema import bulk_actions
from wavemill.jobs.matching import count_matching
from wavemill.jobs.queries import batch_status
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch

RETRY = {"extra_attempts": 2}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few jobs be more than a page."""
    monkeypatch.setattr(bulk, "_PAGE", 5)


def failing(database: Database, n_jobs: int) -> str:
    """Return a batch of which every second job has failed, and the others are done."""
    batch_id = submit(database, n_jobs, chunk_size=n_jobs)
    claimed = claim(database, batch_id, 0, n_jobs - 1)
    outcomes = [failed(job) if job.seq % 2 else Outcome(job=job, state=State.DONE) for job in claimed.jobs]
    finish(database, claimed, outcomes)
    return batch_id


def done(
    database: Database, action: Action, where: list[str], *, batch_id: str | None, **params: Any
) -> dict[str, Any]:
    """Run an action to its end."""
    action_id = start(database, action, batch_id=batch_id, where=where, params=params, is_mine=True)
    status = run(database, action_id)
    assert status["state"] == "done", status["error"]
    return status


def test_retry_queues_those_that_match(database: Database) -> None:
    batch_id = failing(database, 24)
    announced: list[str] = []
    action_id = start(database, Action.RETRY, batch_id=batch_id, where=["id=set/1*"], params=RETRY, is_mine=True)
    status = run(database, action_id, Surroundings(announce=announced.append))
    assert (status["state"], status["changed"], status["total"]) == ("done", 6, 11)  # set/1, set/10 to set/19
    assert states(database, batch_id)["queued"] == [1, 11, 13, 15, 17, 19]
    assert announced == [batch_id] * 2, "after the first of three pages, and at the end"
    audit(database, batch_id)


def test_a_cancelled_batch_is_taken_back_for_those_that_match(database: Database) -> None:
    batch_id = submit(database, 20)
    cancel_batch(database, batch_id, budget_s=0)
    assert done(database, Action.RETRY, ["id=set/1?"], batch_id=batch_id, **RETRY)["changed"] == 10
    status = batch_status(database, batch_id)
    assert (status["counts"]["queued"], status["counts"]["cancelled"]) == (10, 10)
    audit(database, batch_id)
    claimed = claim_next(database, worker_id="w1", lease_s=60)
    assert claimed, "what is queued again can be claimed"


def test_queued_jobs_are_cancelled_and_the_batch_ends(database: Database) -> None:
    batch_id = submit(database, 12)
    running = claim(database, batch_id, 0, 3)
    assert done(database, Action.CANCEL, ["id=set/?"], batch_id=batch_id)["changed"] == 6  # 4 to 9
    audit(database, batch_id)
    assert done(database, Action.CANCEL, [], batch_id=batch_id)["changed"] == 2
    assert batch_status(database, batch_id)["state"] == "running"
    finish(database, running, [Outcome(job=job, state=State.DONE) for job in running.jobs])
    assert batch_status(database, batch_id)["counts"] == {
        "queued": 0, "running": 0, "done": 4, "failed": 0, "cancelled": 8
    }  # fmt: skip
    audit(database, batch_id)
    assert claim_next(database, worker_id="w2", lease_s=60) == ()


def test_a_batch_whose_last_jobs_are_cancelled_is_finished(database: Database) -> None:
    batch_id = submit(database, 7)
    assert done(database, Action.CANCEL, ["state=queued"], batch_id=batch_id)["changed"] == 7
    assert batch_status(database, batch_id)["state"] == "cancelled"
    assert chunk_ranges(database, batch_id) == []
    audit(database, batch_id)


def test_jobs_of_all_batches_are_rated(database: Database) -> None:
    ids = [failing(database, 8) for _ in range(3)]
    assert done(database, Action.RATE, ["state=done"], batch_id=None, rating=4)["changed"] == 12
    assert [row.rating for row in job_rows(database, ids[2])] == [4, None] * 4
    assert done(database, Action.RATE, ["rating=4"], batch_id=ids[0], rating=None)["changed"] == 4
    assert {row.rating for row in job_rows(database, ids[0])} == {None}


@pytest.fixture
def rendered(database: Database, tmp_path: Path) -> str:
    """A batch of 12 whose jobs have files, of which the first is outside of the batch's folder."""
    wanted = request(chunk_size=12)
    vars(wanted).update(output=str(tmp_path / "out"))
    batch_id, _ = write_batch(database, wanted, new_jobs(f"{i:02d}" for i in range(12)))
    folder = tmp_path / "out" / batch_id / "generated"
    folder.mkdir(parents=True)
    claimed = claim(database, batch_id, 0, 11)
    outcomes = []
    for job in claimed.jobs:
        path = folder / f"{job.spectrogram_id}.wav"
        path.write_bytes(b"sound")
        outcomes.append(Outcome(job=job, state=State.DONE, columns={"generated_path": str(path)}))
    finish(database, claimed, outcomes)
    return batch_id


def _paths(database: Database, batch_id: str) -> list[Path]:
    return [Path(row.generated_path) for row in job_rows(database, batch_id)]


def test_deleted_jobs_and_their_files_are_gone_and_others_stay(database: Database, rendered: str) -> None:
    paths = _paths(database, rendered)
    before = batch_status(database, rendered)
    assert done(database, Action.DELETE, ["id=0*"], batch_id=rendered)["changed"] == 10
    assert [path.exists() for path in paths] == [False] * 10 + [True] * 2
    after = batch_status(database, rendered)
    assert (after["total"], after["counts"]["done"], after["state"]) == (2, 2, "done")
    assert after["finished_at"] == before["finished_at"]
    audit(database, rendered)


def test_only_final_jobs_are_deleted(database: Database) -> None:
    batch_id = submit(database, 12)
    ended = claim(database, batch_id, 0, 3)
    finish(database, ended, [failed(job) for job in ended.jobs])
    claim(database, batch_id, 4, 7)
    assert done(database, Action.DELETE, [], batch_id=batch_id)["changed"] == 4
    assert states(database, batch_id) == {"running": [4, 5, 6, 7], "queued": [8, 9, 10, 11]}
    audit(database, batch_id)
    cancel_batch(database, batch_id, budget_s=0)  # the last rows may still say that they are queued
    assert done(database, Action.DELETE, ["state=cancelled"], batch_id=batch_id)["changed"] == 4
    audit(database, batch_id)


def test_nothing_outside_of_the_batchs_folder_is_deleted(database: Database, rendered: str, tmp_path: Path) -> None:
    outside = tmp_path / "keep.wav"
    outside.write_bytes(b"mine")
    folder = tmp_path / "out" / rendered
    (folder / "linked").symlink_to(tmp_path)
    forged = [str(outside), str(folder / ".." / ".." / "keep.wav"), str(folder / "linked" / "keep.wav")]
    ids = [row.id for row in job_rows(database, rendered)]
    with database.transaction() as connection:
        for job_id, path in zip(ids, forged, strict=False):
            connection.execute(
                update(bulk_changes.jobs).where(bulk_changes.jobs.c.id == job_id).values(generated_path=path)
            )
    assert done(database, Action.DELETE, [], batch_id=rendered)["changed"] == 12
    assert outside.read_bytes() == b"mine"


def test_nothing_is_deleted_while_the_output_folder_is_away(database: Database, rendered: str, tmp_path: Path) -> None:
    (tmp_path / "out").rename(tmp_path / "away")
    action_id = start(database, Action.DELETE, batch_id=rendered, where=[], params={}, is_mine=True)
    status = run(database, action_id)
    assert status["state"] == "failed"
    assert "mount its disk" in status["error"]
    assert len(job_rows(database, rendered)) == 12


def test_files_that_could_not_be_removed_are_removed_by_the_next_deletion(
    database: Database, rendered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = _paths(database, rendered)

    def refuse(path: str, **_: object) -> None:
        raise OutputError(f"cannot remove {path}: Permission denied")

    with monkeypatch.context() as refusing:
        refusing.setattr(bulk_files, "remove_output", refuse)
        action_id = start(database, Action.DELETE, batch_id=rendered, where=["id=00"], params={}, is_mine=True)
        assert run(database, action_id)["error"].endswith("Permission denied; delete again when this is mended")
    assert paths[0].exists()
    assert len(job_rows(database, rendered)) == 11
    assert done(database, Action.DELETE, ["id=00"], batch_id=rendered)["changed"] == 0
    assert [path.exists() for path in paths] == [False] + [True] * 11


def test_an_action_is_taken_over_when_its_process_is_silent(
    database: Database, rendered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first process dies after it has deleted the rows of a page, and before it has removed their files."""
    paths = _paths(database, rendered)
    action_id = start(database, Action.DELETE, batch_id=rendered, where=[], params={}, is_mine=True)

    class DiedError(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise DiedError

    with monkeypatch.context() as dying:
        dying.setattr(bulk_files, "remove_output", die)
        with pytest.raises(DiedError):
            run(database, action_id)
    assert len(job_rows(database, rendered)) == 7
    assert all(path.exists() for path in paths)
    assert take_next(database) is None, "it has beaten just now"
    assert take_next(database, silent_s=0) == action_id
    assert run(database, action_id)["changed"] == 12
    assert not any(path.exists() for path in paths)


def test_a_page_that_another_process_has_changed_is_not_changed_again(database: Database) -> None:
    """A process that was frozen between reading a page and changing it finds that another went on."""
    batch_id = failing(database, 24)
    action_id = start(database, Action.RATE, batch_id=batch_id, where=[], params={"rating": 2}, is_mine=True)
    frozen = bulk._row(database, action_id)
    bulk._run_page(database, frozen)
    bulk._run_page(database, frozen)
    assert bulk_status(database, action_id)["changed"] == 5
    status = run(database, action_id)
    assert (status["changed"], status["seen"]) == (24, 24)


def test_an_action_waits_for_a_process_that_takes_it(database: Database) -> None:
    batch_id = failing(database, 4)
    action_id = start(database, Action.RATE, batch_id=batch_id, where=[], params={"rating": 5})
    assert take_next(database) == action_id
    assert take_next(database) is None
    run(database, action_id)
    assert take_next(database, silent_s=0) is None


def test_an_action_that_was_interrupted_or_forgotten_does_not_go_on(database: Database) -> None:
    batch_id = failing(database, 24)

    def interrupt(_status: object) -> None:
        raise KeyboardInterrupt

    interrupted, forgotten = (
        start(database, Action.RATE, batch_id=batch_id, where=[], params={"rating": 5}, is_mine=True) for _ in range(2)
    )
    with pytest.raises(KeyboardInterrupt):
        run(database, interrupted, Surroundings(told=interrupt))
    with database.transaction() as connection:
        connection.execute(update(bulk_actions).values(beat_at=now(-2 * 86_400)))
    assert take_next(database) is None
    assert [bulk_status(database, one)["error"] for one in (interrupted, forgotten)] == [
        "it was interrupted",
        "the process that ran it died; begin it again",
    ]
    assert bulk_status(database, interrupted)["changed"] == 5


def test_the_count_is_exact_or_says_that_it_is_not(database: Database) -> None:
    batch_id = failing(database, 24)
    assert count_matching(database, batch_id=batch_id, conditions=parse(["state=failed"])) == (12, True)
    assert count_matching(database, batch_id=None, conditions=()) == (24, True)
    odd = parse(["error_code=bad-spectrogram"])
    assert count_matching(database, batch_id=batch_id, conditions=odd) == (12, True)
    assert count_matching(database, batch_id=batch_id, conditions=odd, at_most=5) == (5, False)


def test_what_cannot_be_done_is_said(database: Database) -> None:
    batch_id = failing(database, 4)
    with pytest.raises(NotFoundError, match="no bulk action"):
        bulk_status(database, 1)
    action_id = start(database, Action.EXPORT, batch_id=batch_id, where=[], params={})
    assert "update wavemill here" in run(database, action_id)["error"]

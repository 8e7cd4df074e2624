"""What is wrong with a background thread is said by `status` and `doctor`, and the thread goes on."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text
from support.rehearsals import Rehearsals
from support.stack import eventually


def _rename(rehearsals: Rehearsals, old: str, new: str) -> None:
    with rehearsals.producer.database.transaction() as connection:
        connection.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))


def test_a_reaper_that_fails_is_told_of_by_status_and_doctor_and_sweeps_again(
    rehearsals: Rehearsals, tmp_path: Path
) -> None:
    with rehearsals.running("worker", "--devices", "rehearsal:0"):
        rehearsals.wait_for_workers()
        _rename(rehearsals, "chunks", "elsewhere")
        said = eventually(lambda: rehearsals.json("status")["troubles"], what="word of the trouble")
        assert "the reaper has failed" in said[0]
        assert "chunks" in said[0]
        assert "the reaper has failed" in rehearsals.cli("status").stdout
        assert "WRONG supervisors" in rehearsals.cli("doctor", expect=1).stdout
        _rename(rehearsals, "elsewhere", "chunks")
        eventually(lambda: not rehearsals.json("status")["troubles"], what="the end of the trouble")
        batch = rehearsals.submit([f"job-{k}" for k in range(3)])
        assert rehearsals.wait(batch) == "done"
    assert rehearsals.log().count("Traceback") <= 4, "each trouble is said once"

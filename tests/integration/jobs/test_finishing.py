from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from sqlalchemy import select, text
from support.batches import claim, failed, job_rows, new_jobs, reclaim, request, submit
from support.slow_store import PROTOCOL, SlowFileSystem

from wavemill.jobs.claims import Claim
from wavemill.jobs.control import cancel_batch, retry_batch
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome, finish, place_outputs, record
from wavemill.jobs.prune import prune_batch
from wavemill.jobs.recovery import mend_torn
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.storage.folder import FolderStore
from wavemill.storage.staging import JobOutputs, OutputStore
from wavemill.storage.stores import open_store
from wavemill_worker.reaper import clear


@pytest.fixture(params=["folder", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    fsspec.register_implementation(PROTOCOL, SlowFileSystem, clobber=True)
    return str(tmp_path / "out") if request.param == "folder" else f"{PROTOCOL}://{tmp_path}/out"


def _outcome(store: OutputStore, claimed: Claim, said: bytes) -> Outcome:
    (job,) = claimed.jobs
    outputs = JobOutputs(store, job_id=job.id, fence=job.fence)
    path = outputs.stage("generated", "generated/7.wav", said)
    columns = {"generated_path": path, "sha256": hashlib.sha256(said).hexdigest()}
    return Outcome(job=job, state=State.DONE, columns=columns, place=outputs.place, discard=outputs.discard)


def _files(root: str) -> list[str]:
    folder = Path(root.removeprefix("slowfile://"))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _content(root: str) -> bytes:
    return (Path(root.removeprefix("slowfile://")) / "generated/7.wav").read_bytes()


def test_a_worker_that_slept_before_a_move_cannot_touch_what_the_next_one_has_finished(
    database: Database, root: str
) -> None:
    """It had asked whether the job was still its own; that is all it can ask."""
    batch_id = submit(database, 1)
    sleeper = claim(database, batch_id, 0, 0, worker="sleeper", lease_s=0.001)
    late = _outcome(open_store(root), sleeper, b"late")
    asleep, awake = threading.Event(), threading.Event()

    def place() -> None:
        asleep.set()
        assert awake.wait(60)
        late.place()

    with ThreadPoolExecutor(1) as thread:
        finishing = thread.submit(finish, database, [(sleeper, [replace(late, place=place)])], on_place_error=failed)
        assert asleep.wait(60)
        reclaim(database)
        other = claim(database, batch_id, 0, 0, worker="other")
        assert (
            finish(database, [(other, [_outcome(open_store(root), other, b"done")])], on_place_error=failed).jobs == 1
        )
        awake.set()
        assert finishing.result(60).jobs == 0
    assert _content(root) == b"done"
    assert _files(root) == ["generated/7.wav"]
    assert job_rows(database, batch_id)[0].sha256 == hashlib.sha256(b"done").hexdigest()


def test_a_worker_that_lost_its_job_before_it_asked_moves_nothing_and_leaves_nothing(
    database: Database, root: str
) -> None:
    batch_id = submit(database, 1)
    sleeper = claim(database, batch_id, 0, 0, worker="sleeper", lease_s=0.001)
    reclaim(database)
    other = claim(database, batch_id, 0, 0, worker="other")
    finish(database, [(other, [_outcome(open_store(root), other, b"done")])], on_place_error=failed)
    late = _outcome(open_store(root), sleeper, b"late")
    assert finish(database, [(sleeper, [late])], on_place_error=failed).jobs == 0
    assert _content(root) == b"done"
    assert _files(root) == ["generated/7.wav"]


def test_what_was_moved_before_the_job_was_lost_is_replaced_by_the_next_claim(database: Database, root: str) -> None:
    batch_id = submit(database, 1)
    sleeper = claim(database, batch_id, 0, 0, worker="sleeper", lease_s=0.001)
    placed = place_outputs(database, [(sleeper, [_outcome(open_store(root), sleeper, b"late")])], on_place_error=failed)
    assert _content(root) == b"late"
    reclaim(database)
    other = claim(database, batch_id, 0, 0, worker="other")
    finish(database, [(other, [_outcome(open_store(root), other, b"done")])], on_place_error=failed)
    assert record(database, placed).jobs == 0
    assert _content(root) == b"done"


def test_no_row_is_locked_while_outputs_are_moved(database: Database, root: str) -> None:
    batch_id = submit(database, 1)
    claimed = claim(database, batch_id, 0, 0)
    outcome = _outcome(open_store(root), claimed, b"done")
    seen: list[int] = []

    def place() -> None:
        with database.transaction() as connection:  # on SQLite it would wait, on PostgreSQL it fails at once
            if database.is_postgresql:
                connection.execute(text("SET LOCAL lock_timeout = '1ms'"))
            seen.extend(connection.scalars(select(jobs.c.id).with_for_update()))
        outcome.place()

    finish(database, [(claimed, [replace(outcome, place=place)])], on_place_error=failed)
    assert seen == [claimed.jobs[0].id]


def test_a_sleeper_of_a_pruned_batch_leaves_neither_files_nor_folders(database: Database, tmp_path: Path) -> None:
    wanted = replace(request(), output=str(tmp_path / "out"))
    batch_id, _ = write_batch(database, wanted, new_jobs(["7"]))
    root = tmp_path / "out" / batch_id
    sleeper = claim(database, batch_id, 0, 0, worker="sleeper", lease_s=0.001)
    store = FolderStore(root)
    store.stage("generated/1.wav", b"early", token="0.1.generated").discard()
    cancel_batch(database, batch_id)
    reclaim(database)
    assert prune_batch(database, batch_id, older_than_s=0) == 1
    assert not root.exists()
    late = Outcome(job=sleeper.jobs[0], state=State.DONE)
    finished = finish(database, [(sleeper, [late])], on_place_error=failed)
    assert (finished.jobs, finished.gone) == (0, (batch_id,))
    assert not root.exists()


def test_a_removal_that_slept_takes_nothing_of_a_batch_that_was_retried(database: Database, tmp_path: Path) -> None:
    wanted = replace(request(), output=str(tmp_path / "out"), operation="invert")
    batch_id, _ = write_batch(database, wanted, new_jobs(["7"]))
    root = str(tmp_path / "out" / batch_id)
    lost = claim(database, batch_id, 0, 0, worker="lost", lease_s=0.001)
    place_outputs(database, [(lost, [_outcome(open_store(root), lost, b"late")])], on_place_error=failed)
    cancel_batch(database, batch_id)
    reclaim(database)

    def sleepy(batch: object, begun: object) -> bool:
        def meanwhile() -> list[str]:
            names = list(begun())  # type: ignore[operator]
            retry_batch(database, batch_id, states=[State.CANCELLED], extra_attempts=1)
            again = claim(database, batch_id, 0, 0, worker="again")
            finish(database, [(again, [_outcome(open_store(root), again, b"done")])], on_place_error=failed)
            return names

        return clear(batch, meanwhile)  # type: ignore[arg-type]

    mend_torn(database, sleepy)
    assert _content(root) == b"done"


def test_a_removal_ends_where_a_batch_is_retried_meanwhile(database: Database, root: str) -> None:
    wanted = replace(request(), output=root, operation="invert")
    batch_id, _ = write_batch(database, wanted, new_jobs([str(k) for k in range(8)]))
    store = open_store(f"{wanted.output}/{batch_id}")
    lost = claim(database, batch_id, 0, 7, worker="lost", lease_s=0.001)
    late = [_outcome(store, replace(lost, jobs=(job,)), b"late") for job in lost.jobs]
    place_outputs(database, [(lost, late)], on_place_error=failed)
    cancel_batch(database, batch_id)
    reclaim(database)
    removed = []

    def meanwhile(batch: object, begun: object) -> bool:
        def asked() -> Iterator[str]:
            for spectrogram_id in begun():  # type: ignore[operator]
                yield spectrogram_id
                removed.append(spectrogram_id)
                if len(removed) == 3:
                    retry_batch(database, batch_id, states=[State.CANCELLED], extra_attempts=1)

        return clear(batch, asked)  # type: ignore[arg-type]

    assert mend_torn(database, meanwhile) == 0
    assert removed == ["0", "1", "2"]
    assert _files(f"{wanted.output}/{batch_id}") == ["generated/7.wav"]


def test_nothing_counts_as_cleared_up_while_the_disk_is_away(database: Database, tmp_path: Path) -> None:
    wanted = replace(request(), output=str(tmp_path / "out"), operation="invert")
    batch_id, _ = write_batch(database, wanted, new_jobs(["7", "8"]))
    root = tmp_path / "out" / batch_id
    done = claim(database, batch_id, 0, 0)
    finish(database, [(done, [_outcome(open_store(str(root)), done, b"done")])], on_place_error=failed)
    lost = claim(database, batch_id, 1, 1, worker="lost", lease_s=0.001)
    place_outputs(database, [(lost, [_outcome(open_store(str(root)), lost, b"late")])], on_place_error=failed)
    cancel_batch(database, batch_id)
    reclaim(database)
    away = root.rename(tmp_path / "away")
    assert mend_torn(database, clear) == 0
    away.rename(root)
    assert mend_torn(database, clear) == 1
    assert len(_files(str(root))) == 1


def test_a_removal_that_is_ended_can_move_nothing_more(tmp_path: Path) -> None:
    """However many outputs it has moved already: while these are deleted, others could be moved beside them."""
    for _ in range(20):
        store = FolderStore(tmp_path / "out")
        for name in range(400):
            store.stage(f"{name}.wav", b"old", token=f"{name}.1.generated").place()
        with store.removing() as remove, ThreadPoolExecutor() as threads:
            (trash,) = (tmp_path / "out" / ".staging").iterdir()
            for name in range(399):
                remove(f"{name}.wav")

            placed = threading.Event()

            def late(
                trash: Path = trash, remove: Callable[[str], None] = remove, placed: threading.Event = placed
            ) -> None:
                with suppress(FileNotFoundError):  # it has a new name
                    while len(list(trash.iterdir())) > 390:
                        pass
                while not placed.is_set():
                    remove("399.wav")
                remove("399.wav")

            sleeper = threads.submit(late)
            again = JobOutputs(FolderStore(tmp_path / "out"), job_id=399, fence=2)
            again.stage("generated", "399.wav", b"new")
            again.place()
            placed.set()
            sleeper.result()
        assert (tmp_path / "out" / "399.wav").read_bytes() == b"new"


def test_leftovers_of_a_job_that_is_never_tried_again_are_removed(database: Database, tmp_path: Path) -> None:
    wanted = replace(request(), output=str(tmp_path / "out"), operation="invert")
    batch_id, _ = write_batch(database, wanted, new_jobs(["7"]))
    root = str(tmp_path / "out" / batch_id)
    lost = claim(database, batch_id, 0, 0, worker="lost", lease_s=0.001)
    place_outputs(database, [(lost, [_outcome(open_store(root), lost, b"late")])], on_place_error=failed)
    cancel_batch(database, batch_id)
    reclaim(database)
    assert mend_torn(database, clear) == 1
    assert _files(root) == []
    assert mend_torn(database, clear) == 0


def test_outputs_are_not_written_beside_those_of_a_folder_that_went_away(tmp_path: Path) -> None:
    from wavemill.errors import StorageUnavailableError

    store = FolderStore(tmp_path / "out", must_exist=True)
    with pytest.raises(StorageUnavailableError, match="is gone, and outputs were in it"):
        store.stage("7.wav", b"sound", token="1.1.generated")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    store.stage("7.wav", b"sound", token="1.1.generated").place()


def test_threads_may_write_the_first_outputs_of_a_batch_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        for batch in range(500):
            store, start = FolderStore(tmp_path / str(batch)), threading.Barrier(4, timeout=60)

            def stage(name: int, store: FolderStore = store, start: threading.Barrier = start) -> None:
                start.wait()
                store.stage(f"{name}.wav", b"sound", token=f"{name}.1.generated").place()

            list(threads.map(stage, range(4)))
            assert len(_files(str(tmp_path / str(batch)))) == 4

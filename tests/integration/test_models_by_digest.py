"""Workers find a batch's model by its digest, and leave to others what they do not have."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update
from support.bench import Bench
from support.material import save_untrained_model
from support.outputs import check_outputs

from wavemill.jobs.database import now
from wavemill.jobs.refusals import refuse, refused_models
from wavemill.jobs.schema import refusals
from wavemill.jobs.workers import beat, register_worker, unregister_worker
from wavemill.rendering.renderer import Renderer
from wavemill_producer import Batch
from wavemill_producer.cli.status import refusal

LEASE_S = 1.0


@pytest.fixture
def worker(bench: Bench) -> Iterator[Callable[[str, Path], Renderer]]:
    """Make a worker with a models' folder of its own."""
    made = []

    def make(name: str, models_dir: Path) -> Renderer:
        if not models_dir.exists():  # of models; an empty folder is the place of a disk that is away
            (models_dir / "notes").mkdir(parents=True)
        settings = bench.settings.model_copy(update={"models": models_dir, "lease_s": LEASE_S})
        register_worker(bench.producer.database, name, host="h", pid=1, device="cpu")
        made.append(Renderer(bench.producer.database, settings, worker_id=name, n_threads=2, stop=threading.Event()))
        return made[-1]

    yield make
    for renderer in made:
        renderer.close()


def _render(renderer: Renderer, batch: Batch) -> None:
    renderer.render_chunk(batch.id, 0, 10_000)


def _states(batch: Batch) -> set[tuple[str, int, str | None]]:
    return {(job.state, job.attempt, job.error_code) for job in batch.jobs()}


def _refused(bench: Bench) -> set[str]:
    with bench.producer.database.reading() as connection:
        return set(connection.scalars(select(refusals.c.worker_id)))


def _render_until(bench: Bench, renderer: Renderer, batch: Batch, state: str, *, alive: tuple[str, ...]) -> None:
    deadline = time.monotonic() + 60
    while batch.status()["state"] != state:
        assert time.monotonic() < deadline, batch.status()
        for name in alive:
            beat(bench.producer.database, name, jobs_done=0, jobs_per_second=None)
        _render(renderer, batch)


def test_a_model_is_found_under_any_name(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path
) -> None:
    """Also where its name is taken by another model."""
    folder = tmp_path / "there"
    shutil.copytree(models / "small", folder / "renamed")
    save_untrained_model(folder / "small", kind="ae")
    batch = bench.submit()
    _render(worker("w1", folder), batch)
    check_outputs(batch, expect_done=20)


def test_a_worker_without_the_model_leaves_the_jobs_to_one_that_has_it(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path
) -> None:
    lacking, having = worker("lacking", tmp_path / "empty"), worker("having", models)
    batch, other = bench.submit(), bench.submit(["7_anna_0"])
    _render(lacking, batch)
    assert {(state, attempt) for state, attempt, _ in _states(batch)} == {("queued", 0)}
    assert _refused(bench) == {"lacking"}
    (said,) = refused_models(bench.producer.database, alive_within_s=60)
    assert (said["open_batches"], said["may_be_served"], list(said["workers"])) == (2, True, ["lacking"])
    assert "needed by 2 open batches: lacking refuses it; others may serve it" in refusal(said)
    for _ in range(2):
        _render(having, batch)
    assert {batch.status()["state"], other.status()["state"]} == {"done"}
    assert {job.attempt for job in batch.jobs()} == {1}
    check_outputs(batch, expect_done=20)


def test_a_model_that_is_copied_to_its_place_is_served(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "empty"
    renderer = worker("w1", folder)
    batch = bench.submit()
    _render(renderer, batch)
    assert _refused(bench) == {"w1"}
    shutil.copytree(models / "small", folder / "copied")
    _render(renderer, batch)
    check_outputs(batch, expect_done=20)
    assert _refused(bench) == set()


def test_jobs_fail_only_when_no_living_worker_has_the_model_and_say_who_lacks_it(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path
) -> None:
    one, two = worker("w1", tmp_path / "one"), worker("w2", tmp_path / "two")
    worker("w3", models)
    batch = bench.submit()
    deadline = time.monotonic() + 60
    while len(_refused(bench)) < 2:
        assert time.monotonic() < deadline
        for renderer in (one, two):
            _render(renderer, batch)
    assert batch.status()["counts"]["failed"] == 0, "w3 may serve it"
    unregister_worker(bench.producer.database, "w3")
    _render_until(bench, one, batch, "failed", alive=("w1", "w2"))
    assert _states(batch) == {("failed", 1, "model-not-here")}
    error = next(batch.jobs()).error
    assert "no living worker has model" in error
    assert not bench.producer.refused_models()[0]["may_be_served"]
    for name in ("one", "two"):
        assert str(tmp_path / name) in error
    assert "w3" not in error


def test_a_damaged_copy_is_another_workers_to_serve_and_is_named_when_there_is_none(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(models / "small", folder / "small")
    weights = folder / "small/weights.npz"
    sound = weights.read_bytes()
    weights.write_bytes(sound + b"x")
    renderer = worker("w1", folder)
    batch = bench.submit()
    _render(renderer, batch)
    assert {(state, attempt) for state, attempt, _ in _states(batch)} == {("queued", 0)}
    _render_until(bench, renderer, batch, "failed", alive=("w1",))
    assert _states(batch) == {("failed", 1, "model-changed")}
    assert "weights.npz has changed" in next(batch.jobs()).error
    weights.write_bytes(sound)
    assert batch.retry() == 20
    _render_until(bench, renderer, batch, "done", alive=("w1",))
    check_outputs(batch, expect_done=20)


@pytest.mark.parametrize("leaves", ["nothing", "an empty folder", "a model that cannot be read"])
def test_jobs_wait_for_a_models_folder_that_is_away_and_lose_no_attempt(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path, leaves: str
) -> None:
    folder = tmp_path / "disk/models"
    renderer = worker("w1", folder)
    batch = bench.submit()
    shutil.rmtree(folder)
    if leaves != "nothing":
        folder.mkdir()
    if leaves == "a model that cannot be read":
        (folder / "renamed").mkdir()
        (folder / "renamed/SHA256").symlink_to("/proc/self/mem")  # an I/O error for whoever reads it
    for _ in range(4):  # more often than there are attempts
        _render(renderer, batch)
        assert _states(batch) == {("queued", 0, "storage-unavailable")}
    assert _refused(bench) == set(), "it may have the model, so no other worker fails the batch"
    assert str(folder) in next(batch.jobs()).error
    shutil.copytree(models / "small", folder / "small")
    _render(renderer, batch)
    check_outputs(batch, expect_done=20)
    assert {job.attempt for job in batch.jobs()} == {1}


def test_a_worker_that_failed_a_batch_takes_its_refusal_back_once_it_has_the_model(
    bench: Bench, worker: Callable[[str, Path], Renderer], models: Path, tmp_path: Path
) -> None:
    worker("waited", tmp_path / "one")
    refuse(bench.producer.database, "waited", bench.submit().status()["model_digest"], "it has waited for long")
    with bench.producer.database.transaction() as connection:
        connection.execute(update(refusals).values(refused_at=now(-10 * LEASE_S)))
    new = worker("new", tmp_path / "two")
    batch = bench.submit(["7_anna_0"])
    _render_until(bench, new, batch, "failed", alive=("waited", "new"))
    shutil.copytree(models / "small", tmp_path / "two/small")
    batch.retry()
    _render_until(bench, new, batch, "done", alive=("waited", "new"))
    assert _refused(bench) == {"waited"}

"""Inputs on a disk that comes and goes: jobs wait and lose no attempt; one bad input fails alone. On both databases."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.bench import Bench
from support.outputs import check_outputs
from support.slow_store import PROTOCOL, slow_store

from wavemill.operations.requests import DecodeParams
from wavemill.vae import package
from wavemill_producer import Batch


@pytest.fixture
def own(bench: Bench, tmp_path: Path) -> Bench:
    """A bench with a dataset of its own."""
    bench.dataset = Path(shutil.copytree(bench.dataset, tmp_path / "data"))
    return bench


@contextmanager
def away(folder: Path, *, leaves: str) -> Iterator[None]:
    """Take a folder away, and bring it back."""
    elsewhere = folder.parent.parent / "elsewhere"
    folder.rename(elsewhere)
    if leaves == "an empty folder":
        folder.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        elsewhere.rename(folder)


def outcome(batch: Batch) -> set[tuple[str, str | None, int]]:
    return {(job.state, job.error_code, job.attempt) for job in batch.jobs()}


@pytest.mark.parametrize("leaves", ["nothing", "an empty folder"])
@pytest.mark.parametrize("part", ["", "spectrograms"])
@pytest.mark.parametrize("is_open", [False, True])
def test_jobs_wait_for_a_dataset_that_is_away_and_lose_no_attempt(
    own: Bench, part: str, leaves: str, is_open: bool
) -> None:
    if is_open:
        own.render(own.submit(["7_anna_0"]))
    batch = own.submit()
    with away(own.dataset / part, leaves=leaves):
        for _ in range(4):  # more often than there are attempts
            own.render(batch)
            assert outcome(batch) == {("queued", "storage-unavailable", 0)}
        said = next(batch.jobs()).error
        assert str(own.dataset / part) in said
        assert "wavemill cancel" in said
    own.render(batch)
    check_outputs(batch, expect_done=20)
    assert outcome(batch) == {("done", None, 1)}


def test_jobs_that_wait_for_a_dataset_can_be_cancelled(own: Bench) -> None:
    batch = own.submit()
    with away(own.dataset, leaves="nothing"):
        own.render(batch)
        batch.cancel()
    assert {job.state for job in batch.jobs()} == {"cancelled"}


def test_one_spectrogram_that_is_missing_fails_alone_at_once(own: Bench) -> None:
    batch = own.submit()
    (own.dataset / "spectrograms/7_anna_0.npy").unlink()
    own.render(batch)
    check_outputs(batch, expect_done=19)
    (job,) = batch.jobs(state="failed")
    assert (job.spectrogram_id, job.error_code, job.attempt) == ("7_anna_0", "unknown-spectrogram", 1)


MAD = {
    "0_anna_0": ("labels", "{"),
    "0_clara_0": ("max_db", "abc"),
    "1_ben_0": ("max_db", float("inf")),
    "1_dan_0": ("min_db", b"\xff"),
    "2_anna_0": ("max_db", 1e308),
    "2_clara_0": ("duration_s", -1.0),
    "3_ben_0": ("duration_s", 1e12),
    "3_dan_0": ("file", b"\xff\xfe"),
}


def test_rows_of_the_index_that_cannot_be_true_fail_alone_at_once(own: Bench) -> None:
    with closing(sqlite3.connect(own.dataset / "index.sqlite")) as connection, connection:
        for name, (column, value) in MAD.items():
            changed = connection.execute(f"UPDATE spectrograms SET {column} = ? WHERE id = ?", (value, name))
            assert changed.rowcount == 1, name
    batch = own.submit()
    own.render(batch)
    check_outputs(batch, expect_done=20 - len(MAD))
    failed = {job.spectrogram_id: (job.error_code, job.attempt) for job in batch.jobs(state="failed")}
    assert failed == dict.fromkeys(MAD, ("bad-spectrogram", 1))
    assert all("its row in the index is damaged: expected" in job.error for job in batch.jobs(state="failed"))


@pytest.fixture(params=["a folder", "an object store"])
def latents(request: pytest.FixtureRequest, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Batch:
    """A batch of three latents below `tmp_path`/store/latents, the last of which is not there."""
    folder = tmp_path / "store/latents"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        np.save(folder / f"{name}.npy", np.zeros(8, np.float32))
    location = str(folder)
    if request.param == "an object store":
        for key, value in slow_store(tmp_path, fault=tmp_path / "fault").items():
            monkeypatch.setenv(key, value)
        location = f"{PROTOCOL}://{folder}"
    params = DecodeParams(latents=location)
    return bench.producer.decode(["a", "b", "gone"], model="small", output=bench.folder / "out", params=params)


def test_jobs_wait_for_latents_that_are_away_and_one_that_is_missing_fails_alone(
    bench: Bench, latents: Batch, tmp_path: Path
) -> None:
    with away(tmp_path / "store/latents", leaves="nothing"):
        for _ in range(4):
            bench.render(latents)
            assert outcome(latents) == {("queued", "storage-unavailable", 0)}
    bench.render(latents)
    codes = {job.spectrogram_id: (job.state, job.error_code, job.attempt) for job in latents.jobs()}
    done = ("done", None, 1)
    assert codes == {"a": done, "b": done, "gone": ("failed", "unknown-latent", 1)}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("busy", ("queued", "storage-unavailable", 0)),
        ("reset", ("queued", "storage-unavailable", 0)),
        ("forbidden", ("failed", "usage", 1)),
        ("no-bucket", ("queued", "storage-unavailable", 0)),
        ("bug", ("failed", "storage-error", 3)),
    ],
)
@pytest.mark.parametrize("latents", ["an object store"], indirect=True)
def test_what_a_store_of_latents_answers_decides_whether_to_wait(
    bench: Bench, latents: Batch, tmp_path: Path, word: str, expected: tuple[str, str, int]
) -> None:
    (tmp_path / "fault").write_text(word)
    for _ in range(3):
        bench.render(latents)
    assert outcome(latents) == {expected}


@pytest.mark.parametrize("comes_back", ["later", "at once"])
def test_jobs_wait_for_a_model_whose_disk_goes_away_while_it_is_loaded(
    bench: Bench, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: str
) -> None:
    own = Path(shutil.copytree(models, tmp_path / "disk/models"))
    batch = bench.submit(model=own / "small")
    read, gone = package.read_arrays, ExitStack()

    def gone_at_first(*arguments: Any, **keywords: Any) -> dict[str, np.ndarray]:
        monkeypatch.undo()
        gone.enter_context(away(own, leaves="nothing"))
        try:
            return read(*arguments, **keywords)
        finally:
            if comes_back == "at once":
                gone.close()

    monkeypatch.setattr(package, "read_arrays", gone_at_first)
    with gone:
        bench.render(batch)
        if comes_back == "later":
            assert outcome(batch) == {("queued", "storage-unavailable", 0)}
    bench.render(batch)
    check_outputs(batch, expect_done=20)
    assert outcome(batch) == {("done", None, 1)}

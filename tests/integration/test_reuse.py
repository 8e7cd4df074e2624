"""Outputs that are there already are copied, byte for byte, and only if they still are what was recorded."""

from __future__ import annotations

import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.batches import audit
from support.bench import Bench
from support.slow_store import PROTOCOL, slow_store

from wavemill.errors import UsageError
from wavemill.jobs.prune import prune_batch
from wavemill.jobs.recovery import reclaim_expired
from wavemill.jobs.reuse import reuse_outputs
from wavemill.operations.requests import ReconstructParams
from wavemill_producer import Batch


def _submit(
    bench: Bench, ids: list[str] | None = None, *, reuse: bool = True, output: str = "out", **params: Any
) -> Batch:
    from wavemill.dataset.index import Dataset

    with Dataset.open(bench.dataset) as dataset:
        chosen = ids or list(dataset.ids())[:4]
    return bench.producer.reconstruct(
        chosen, dataset=bench.dataset, model="small", output=bench.folder / output,
        params=ReconstructParams(**params), reuse=reuse,
    )  # fmt: skip


@pytest.fixture
def first(bench: Bench) -> Batch:
    """A batch that was rendered."""
    batch = _submit(bench, reuse=False)
    bench.render(batch)
    assert batch.status()["state"] == "done"
    return batch


def _rows(batch: Batch) -> list[Any]:
    return sorted(batch.jobs(), key=lambda row: row.seq)


def test_a_batch_of_the_same_is_done_at_once_with_files_of_its_own(bench: Bench, first: Batch) -> None:
    again = _submit(bench)
    assert again.status()["state"] == "done"
    for old, new in zip(_rows(first), _rows(again), strict=True):
        assert (new.sha256, new.original_sha256, new.flags) == (old.sha256, old.original_sha256, old.flags)
        assert new.quality == {**old.quality, "reused_from_job": old.id}
        for old_path, new_path in ((old.generated_path, new.generated_path), (old.original_path, new.original_path)):
            assert new_path == old_path.replace(first.id, again.id)
            assert Path(new_path).read_bytes() == Path(old_path).read_bytes()
        assert hashlib.sha256(Path(new.generated_path).read_bytes()).hexdigest() == new.sha256
    assert not (bench.folder / "out" / again.id / ".staging").exists()
    audit(bench.producer.database, again.id)


def test_an_output_with_double_colons_is_reused(bench: Bench) -> None:
    bench.render(_submit(bench, reuse=False, output="zip::out"))
    assert _submit(bench, output="zip::out").status()["state"] == "done"


def test_what_is_reused_outlives_what_it_came_from(bench: Bench, first: Batch) -> None:
    again = _submit(bench)
    prune_batch(bench.producer.database, first.id, older_than_s=0)
    assert all(Path(row.generated_path).is_file() for row in again.jobs())
    assert _submit(bench).status()["state"] == "done", "from the second now"


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(b"other"), Path.unlink])
def test_an_output_that_is_gone_or_changed_is_made_anew(bench: Bench, first: Batch, damage: Any) -> None:
    spoilt = _rows(first)[1]
    damage(Path(spoilt.original_path))
    again = _submit(bench)
    assert again.status()["counts"] == {"queued": 1, "running": 0, "done": 3, "failed": 0, "cancelled": 0}
    audit(bench.producer.database, again.id)
    left = _rows(again)[1]
    assert (left.state, left.attempt) == ("queued", 0)
    bench.render(again)
    assert _rows(again)[1].sha256 == spoilt.sha256
    assert again.status()["state"] == "done"


def test_other_parameters_or_a_changed_input_are_not_the_same(bench: Bench, first: Batch) -> None:
    assert _submit(bench, method="pghi").status()["counts"]["done"] == 0
    assert _submit(bench, seed=1).status()["counts"]["done"] == 0
    import sqlite3

    index = sqlite3.connect(bench.dataset / "index.sqlite")
    changed = _rows(first)[0].spectrogram_id
    ((digest,),) = index.execute("SELECT sha256 FROM spectrograms WHERE id = ?", [changed]).fetchall()
    try:
        with index:
            index.execute("UPDATE spectrograms SET sha256 = ? WHERE id = ?", ["f" * 64, changed])
        assert _submit(bench).status()["counts"]["done"] == 3
    finally:
        with index:
            index.execute("UPDATE spectrograms SET sha256 = ? WHERE id = ?", [digest, changed])
        index.close()


def test_without_being_asked_nothing_is_reused(bench: Bench, first: Batch) -> None:
    assert _submit(bench, reuse=False).status()["counts"]["done"] == 0


def test_variations_and_samples_are_reused_too(bench: Bench) -> None:
    place = {"model": "small", "output": bench.folder / "out"}
    ID = "0_anna_0"
    for _ in range(2):
        varied = bench.producer.vary([ID], dataset=bench.dataset, count=2, reuse=True, **place)
        way = bench.producer.interpolate([(ID, "3_ben_0")], dataset=bench.dataset, steps=3, reuse=True, **place)
        drawn = bench.producer.sample(3, reuse=True, **place)
        before = [batch.status()["counts"]["done"] for batch in (varied, way, drawn)]
        for batch in (varied, way, drawn):
            bench.render(batch)
    assert before == [2, 3, 3]


def test_latents_are_not_reused_and_the_error_says_what_to_omit(bench: Bench) -> None:
    with pytest.raises(UsageError, match="--keep-latents"):
        _submit(bench, keep_latents=True)
    assert bench.producer.batches() == []


def test_jobs_are_held_for_as_long_as_a_slow_store_takes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for delay_s in (0.0, 0.2):
        for key, value in slow_store(tmp_path, delay_s=delay_s).items():
            monkeypatch.setenv(key, value)
        batch = bench.producer.reconstruct(
            ["0_anna_0", "3_ben_0"], dataset=bench.dataset, model="small", output=f"{PROTOCOL}://{tmp_path}/out"
        )
        if not delay_s:
            bench.render(batch)
            digests = {row.spectrogram_id: row.inputs_sha256 for row in batch.jobs()}
    options: dict[str, Any] = {"input_digests": lambda _: digests, "worker_id": "reuse", "lease_s": 0.5}
    copying = threading.Thread(target=reuse_outputs, args=(bench.producer.database, batch.id), kwargs=options)
    began_at = time.monotonic()
    copying.start()
    while copying.is_alive():
        assert reclaim_expired(bench.producer.database) == {}
        copying.join(0.05)
    assert time.monotonic() - began_at > 1.0, "longer than a lease"
    assert {(job.state, job.attempt) for job in batch.jobs()} == {("done", 1)}

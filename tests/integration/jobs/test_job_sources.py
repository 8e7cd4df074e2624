"""Jobs in place of IDs: what matching jobs were made from is submitted again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from wavemill.errors import UsageError
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill.operations.requests import DecodeParams
from wavemill_producer import Batch, Producer
from wavemill_producer.job_sources import latents_folder

ABOUT: dict[str, Any] = {"custom_id": "order-19", "metadata": {"speaker": "theo"}}
INTERPOLATED = {"from": "7_anna_0", "to": "4_dan_0", "weight": 0.5}


def made(producer: Producer, operation: str, dataset: Path | None, *new: Any) -> Batch:
    """Write a batch of these jobs, as if a model had been there."""
    request = BatchRequest(
        operation=operation,
        dataset=None if dataset is None else str(dataset),
        model=None,
        model_digest=None,
        output="/out",
        priority=4,
        chunk_size=64,
        max_attempts=3,
    )
    return producer.batch(write_batch(producer.database, request, new)[0])


def rows(batch: Batch) -> list[tuple[Any, ...]]:
    return [(job.spectrogram_id, job.custom_id, job.metadata) for job in batch.jobs()]


def test_matching_jobs_are_submitted_again_with_what_was_said_about_them(
    producer: Producer, small_dataset: Path, tmp_path: Path
) -> None:
    ids = ["0_anna_0", {"id": "7_anna_0", **ABOUT}, "4_dan_0"]
    first = producer.invert(ids, dataset=small_dataset, output=tmp_path / "out")
    producer.rate([job.id for job in first.jobs(limit=2)], 5)
    liked = producer.invert(first.jobs(where=["rating>=4"]), output=tmp_path / "out")
    assert rows(liked) == [("0_anna_0", None, None), ("7_anna_0", *ABOUT.values())]
    assert liked.status()["dataset"] == str(small_dataset.resolve())
    counted = producer.dry_run.invert(first.jobs(), output=tmp_path / "out")
    assert counted["total"] == 3


def test_variations_stand_for_their_clip_and_interpolations_for_their_pair(
    producer: Producer, small_dataset: Path, tmp_path: Path
) -> None:
    varied = made(
        producer,
        "vary",
        small_dataset,
        *[(f"7_anna_0_vary-{k}", {"of": "7_anna_0"}, *ABOUT.values()) for k in (1, 2)],
    )
    assert rows(producer.invert(varied.jobs(), output=tmp_path / "out")) == [("7_anna_0", *ABOUT.values())]
    between = made(producer, "interpolate", small_dataset, ("x_step-1-of-3", INTERPOLATED))
    again = producer.interpolate(between.jobs(), model="fsdd-vae", steps=2, output=tmp_path / "out")
    assert [job.item["weight"] for job in again.jobs()] == [0, 1]
    with pytest.raises(UsageError, match="has 2 sources"):
        producer.invert(between.jobs(), output=tmp_path / "out")
    with pytest.raises(UsageError, match="was made from one clip"):
        producer.interpolate(varied.jobs(), model="fsdd-vae", output=tmp_path / "out")


def test_the_latents_that_jobs_wrote_are_decoded(producer: Producer, tmp_path: Path) -> None:
    sampled = made(producer, "sample", None, ("sample_seed-0_000001", None, *ABOUT.values()))
    with producer.database.transaction() as connection:
        connection.execute(update(jobs).values(latent_path="/out/x.npy"))
    params = DecodeParams(latents=latents_folder(sampled))
    assert params.latents == f"/out/{sampled.id}/latents"
    decoded = producer.decode(sampled.jobs(), model="fsdd-vae", params=params, output=tmp_path / "out")
    assert rows(decoded) == [("sample_seed-0_000001", *ABOUT.values())]


def test_jobs_that_cannot_stand_for_an_id_are_refused_with_what_to_do(
    producer: Producer, small_dataset: Path, tmp_path: Path
) -> None:
    sampled = made(producer, "sample", None, ("sample_seed-0_000001", None))
    for dataset in (None, small_dataset):
        with pytest.raises(UsageError, match=r"of the operation sample, which reads no dataset.*dataset build --from"):
            producer.invert(sampled.jobs(), dataset=dataset, output=tmp_path / "out")
    with pytest.raises(UsageError, match="has no latents"):
        producer.decode(sampled.jobs(), model="fsdd-vae", params=DecodeParams(latents="/l"), output=tmp_path / "out")
    for ids, says in ((["7_anna_0"], "expected a dataset"), ([], "no IDs were given")):
        with pytest.raises(UsageError, match=says):
            producer.invert(ids, output=tmp_path / "out")
    two = [made(producer, "invert", place, ("7_anna_0", None)) for place in (small_dataset, tmp_path)]
    with pytest.raises(UsageError, match="jobs of one dataset"):
        producer.invert((job for batch in two for job in batch.jobs()), output=tmp_path / "out")


def test_jobs_of_a_removed_batch_are_refused(producer: Producer, small_dataset: Path, tmp_path: Path) -> None:
    first = made(producer, "invert", small_dataset, ("7_anna_0", None))
    read = list(first.jobs())
    with producer.database.transaction() as connection:
        connection.execute(update(batches).values(pruned_at=batches.c.created_at))
    with pytest.raises(Exception, match=first.id):
        producer.invert(read, output=tmp_path / "out")

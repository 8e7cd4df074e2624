"""Commands on all jobs that match, beside a real worker."""

from __future__ import annotations

import json
from pathlib import Path

from sqlalchemy import select
from support.batches import audit
from support.stack import Stack

from wavemill.jobs.bulk import take_next
from wavemill.jobs.management_schema import bulk_actions
from wavemill_producer.bulk import BulkActions


def test_jobs_that_match_are_cancelled_while_a_worker_renders_the_others(living: Stack) -> None:
    batch = living.producer.sample(1_500, model="small", output=living.folder / "out")
    said = living.json("cancel", batch.id, "--where", "id=*7")
    assert 0 < said["cancelled"] <= 150
    assert living.wait(batch) == "cancelled"
    counts = batch.status()["counts"]
    assert (counts["cancelled"], counts["done"]) == (said["cancelled"], 1_500 - said["cancelled"])
    assert all(job.spectrogram_id.endswith("7") for job in batch.jobs(state="cancelled"))
    assert all(Path(job.generated_path).is_file() for job in batch.jobs(state="done"))
    audit(living.producer.database, batch.id)
    chosen = sum(job.spectrogram_id.endswith("17") for job in batch.jobs(state="cancelled"))
    assert living.json("retry", batch.id, "--where", "id=*17")["retried"] == chosen > 0
    living.wait(batch)
    audit(living.producer.database, batch.id)


def test_liked_sounds_are_exported_and_others_rendered_again_or_deleted(living: Stack, small_dataset: Path) -> None:
    ids = ["0_anna_0", "1_ben_0", "2_anna_0", "7_anna_0"]
    batch = living.producer.reconstruct(ids, dataset=small_dataset, model="small", output=living.folder / "out")
    living.wait(batch)
    assert living.json("rate", 5, "--batch", batch.id, "--where", "id=*_anna_*")["rated"] == 3
    lines = living.cli("export", batch.id, "--format", "jsonl", "--where", "rating>=4").stdout.splitlines()
    assert {json.loads(line)["spectrogram_id"] for line in lines} == {"0_anna_0", "2_anna_0", "7_anna_0"}
    new = living.json("rerender", batch.id, "--where", "rating=5", "--method", "griffin-lim")
    assert new["total"] == 3
    again = living.producer.batch(new["new_batch_id"])
    assert living.wait(again) == "done"
    job = next(iter(again.jobs()))
    assert living.producer.job(job.id)["params"]["method"] == "griffin-lim"
    kept, gone = (
        [Path(job.path(which)) for job in batch.jobs() for which in ("generated", "original") if is_it(job.rating)]
        for is_it in (lambda rating: rating == 5, lambda rating: rating is None)
    )
    assert living.cli("delete", batch.id, "--where", "rating=none", expect=2).stderr.endswith("without a question\n")
    assert living.json("delete", batch.id, "--where", "rating=none", "--yes")["deleted"] == 1
    assert [path.exists() for path in [*kept, *gone]] == [True] * 6 + [False] * 2
    audit(living.producer.database, batch.id)


def test_an_action_that_was_run_twice_made_one_batch(living: Stack, small_dataset: Path) -> None:
    """The first process has written the batch, and dies before it can record that."""
    batch = living.producer.invert(["3_ben_0"], dataset=small_dataset, output=living.folder / "out")
    living.wait(batch)
    actions = BulkActions(living.producer)
    action_id = actions.start("render", batch=batch.id, params={"method": "pghi", "name": "once"})
    assert take_next(living.producer.database) == action_id

    with living.producer.database.reading() as connection:
        row = connection.execute(select(bulk_actions).where(bulk_actions.c.id == action_id)).one()
    first = actions._render(lambda _: None, row)
    status = actions.run(action_id)
    assert status["result"] == first
    assert [one["name"] for one in living.producer.batches()].count("once") == 1

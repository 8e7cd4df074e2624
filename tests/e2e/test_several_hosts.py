"""Hosts that share nothing but a broker, a table and the files: folders of their own, servers over TCP."""

from __future__ import annotations

import shutil
from pathlib import Path

from chaos.arena import Arena
from chaos.audit import inspect
from chaos.inputs import job_ids, mixed
from support.postgres import migrated
from support.stack import QUICK, eventually


def test_three_hosts_share_one_batch_and_do_each_job_once(tmp_path: Path, small_dataset: Path) -> None:
    dataset = shutil.copytree(small_dataset, tmp_path / "dataset")
    postgres = migrated()
    arena = Arena(tmp_path, dataset, postgres, {**QUICK, "WAVEMILL_CHUNK_SIZE": "10"}, hosts=3, per_device=1)
    try:
        arena.start()
        eventually(lambda: len(arena.producer.workers()) == 3, what="three workers")
        batch = arena.submit("shared", job_ids(600, n_poison=0, n_missing=1), expected=mixed)
        assert batch.wait(timeout_s=120) == "failed"  # one input is missing
        arena.stop_hosts()
        findings = inspect(arena)
        assert not findings.violations
        assert findings.lost_attempts == 0
        assert {job.worker_id.split("/")[0] for job in batch.jobs()} == {"host-0", "host-1", "host-2"}
        assert max(job.attempt for job in batch.jobs()) == 1
    finally:
        arena.close()
        postgres.close()

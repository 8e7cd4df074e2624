"""What must be true of a batch's outputs, whoever made them."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from wavemill_producer import Batch


def check_outputs(batch: Batch, *, expect_done: int) -> None:
    """Check that each done job has its two WAVs with the recorded digests, none silent, none clipped, and no more."""
    done = list(batch.jobs(state="done"))
    assert len(done) == expect_done
    recorded = {}
    for job in done:
        recorded[job.generated_path] = job.sha256
        recorded[job.original_path] = job.original_sha256
        assert job.attempt >= 1
    assert len(recorded) == 2 * expect_done
    for path, digest in recorded.items():
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest, path
        signal, _ = soundfile.read(path, dtype="float32")
        assert 2**-15 < np.abs(signal).max() < 1.0, path
    status = batch.status()
    folder = Path(status["output"]) / batch.id
    assert {str(path) for path in folder.rglob("*") if path.is_file()} == set(recorded)
    counted = Counter(job.state for job in batch.jobs())
    assert {state: n for state, n in status["counts"].items() if n} == counted

"""The clip of a dataset that a sound is most like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.batches import new_jobs, request

from wavemill.dataset.index import Dataset
from wavemill.errors import NotFoundError
from wavemill.jobs.database import Database
from wavemill.jobs.submit import write_batch
from wavemill_producer import nearest
from wavemill_producer.nearest import NearestClips


@pytest.fixture
def source(small_dataset: Path, clips: Path) -> tuple[str, Path]:
    """A clip of the dataset and its recording."""
    with Dataset.open(small_dataset) as dataset:
        name = "7_anna_0"
        return name, clips / dataset.sources([name])[name]


def test_a_copy_is_found_and_a_new_sound_is_further_off(
    database: Database, small_dataset: Path, source: tuple[str, Path]
) -> None:
    used = replace(request(), dataset=str(small_dataset))
    write_batch(database, used, new_jobs([source[0]]))
    samples, rate_hz = soundfile.read(source[1], dtype="float32")
    job = {"model_digest": used.model_digest}
    clips = NearestClips()
    copy = clips.find(database, job, 0.5 * samples, rate_hz)
    noise = np.random.default_rng(0).normal(0, 0.1, len(samples)).astype(np.float32)
    new = clips.find(database, job, noise, rate_hz)
    assert (copy["spectrogram_id"], copy["dataset"], copy["job_id"]) == (source[0], str(small_dataset), 1)
    assert copy["compared"] == copy["clips"] > 5
    assert copy["distance_db"] < 1 < 10 < new["distance_db"]
    faster = np.repeat(samples, 2)
    assert clips.find(database, job, faster, 2 * rate_hz)["spectrogram_id"] == source[0]


def test_a_large_dataset_is_compared_in_part(
    database: Database, small_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "MOST_CLIPS", 3)
    used = replace(request(), dataset=str(small_dataset))
    write_batch(database, used, new_jobs(["7_anna_0"]))
    found = NearestClips().find(database, {"model_digest": used.model_digest}, np.ones(800, np.float32), 8_000)
    assert (found["compared"], found["clips"] > 3) == (3, True)


def test_without_a_dataset_a_sentence_says_what_to_do(database: Database) -> None:
    clips, job, samples = NearestClips(), {"model_digest": request().model_digest}, np.zeros(800, np.float32)
    with pytest.raises(NotFoundError, match="queue a batch of its training clips"):
        clips.find(database, job, samples, 8_000)
    write_batch(database, request(), new_jobs(["a"]))
    with pytest.raises(NotFoundError, match="/data/digits cannot be compared here"):
        clips.find(database, job, samples, 8_000)

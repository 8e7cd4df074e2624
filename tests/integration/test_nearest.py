"""The clip of a dataset that a sound is most like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.batches import claim, finish, new_jobs, request

from wavemill.dataset.index import Dataset
from wavemill.errors import NotFoundError
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.states import State
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill_producer import nearest
from wavemill_producer.nearest import NearestClips


@pytest.fixture
def source(small_dataset: Path, clips: Path) -> tuple[str, Path]:
    """A clip of the dataset and its recording."""
    with Dataset.open(small_dataset) as dataset:
        name = "7_anna_0"
        return name, clips / dataset.sources([name])[name]


def done_batch(database: Database, asked: BatchRequest, name: str) -> None:
    batch_id, _ = write_batch(database, asked, new_jobs([name]))
    claimed = claim(database, batch_id, 0, 0)
    finish(database, claimed, [Outcome(job=job, state=State.DONE) for job in claimed.jobs])


def test_a_copy_is_found_and_a_new_sound_is_further_off(
    database: Database, small_dataset: Path, source: tuple[str, Path]
) -> None:
    used = replace(request(), dataset=str(small_dataset))
    done_batch(database, used, source[0])
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


def test_a_job_of_another_dataset_is_not_the_clip(
    database: Database, small_dataset: Path, source: tuple[str, Path]
) -> None:
    used = replace(request(), dataset=str(small_dataset))
    done_batch(database, used, source[0])
    done_batch(database, replace(request(), model_digest="1" * 64), source[0])  # the same ID, another recording
    samples, rate_hz = soundfile.read(source[1], dtype="float32")
    found = NearestClips().find(database, {"model_digest": used.model_digest}, samples, rate_hz)
    assert (found["spectrogram_id"], found["job_id"]) == (source[0], 1)


def test_a_job_without_a_model_has_no_training_clips(database: Database, small_dataset: Path) -> None:
    inverted = replace(request(), dataset=str(small_dataset), operation="invert", model=None, model_digest=None)
    write_batch(database, inverted, new_jobs(["7_anna_0"]))
    with pytest.raises(NotFoundError, match="uses no model"):
        NearestClips().find(database, {"model_digest": None}, np.ones(800, np.float32), 8_000)

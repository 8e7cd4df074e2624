"""`Producer`, `Batch` and `Job` as a script and a notebook use them."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.batches import claim, failed, finish, new_jobs, request

import wavemill_producer
from wavemill.errors import OutputError, UsageError
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.settings import Settings
from wavemill_producer import Batch, Producer

RATE_HZ = 8_000
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'table.db'}")
    upgrade(database)
    yield database
    database.close()


@pytest.fixture
def producer(table: Database) -> Iterator[Producer]:
    with Producer(Settings(database_url=str(table.url), broker_url="redis://me:hunter2@127.0.0.1:1/0")) as producer:
        yield producer


def _tone() -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 1_000 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)


@pytest.fixture
def batch(table: Database, producer: Producer, tmp_path: Path, small_dataset: Path) -> Batch:
    """One job is done and has a sound, one has failed, one is queued."""
    sound = tmp_path / "tone.wav"
    soundfile.write(sound, _tone(), RATE_HZ, subtype="FLOAT")
    wanted = replace(request(chunk_size=2), dataset=str(small_dataset), name=SCRIPT)
    batch_id, _ = write_batch(table, wanted, new_jobs(["7_anna_0", SCRIPT, "4_dan_0"]))
    claimed = claim(table, batch_id, 0, 1)
    columns = {"generated_path": str(sound), "quality": {"peak": 0.5}, "timings": {"read_ms": 1.5}}
    done = Outcome(job=claimed.jobs[0], state=State.DONE, columns=columns)
    finish(table, claimed, [done, failed(claimed.jobs[1], Exception(SCRIPT))])
    return producer.batch(batch_id)


def test_a_job_gives_its_sound_and_its_rate(batch: Batch) -> None:
    done, broken, queued = batch.jobs()
    samples, rate_hz = done.audio()
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(samples, _tone())
    assert (done.spectrogram_id, done["state"], done.quality) == ("7_anna_0", "done", {"peak": 0.5})
    assert repr(done) == f"<Job {done.id} 7_anna_0: done, attempt 1>"
    assert repr(broken).endswith(f"failed, attempt 1: {SCRIPT}>")
    with pytest.raises(UsageError, match="is queued and has no generated sound; wait for its batch"):
        queued.audio()
    with pytest.raises(UsageError, match="has no original sound; its operation does not make one"):
        done.audio("original")
    with pytest.raises(AttributeError, match="a job has no 'sate'; it has: id"):
        _ = done.sate


def test_a_sound_that_is_gone_is_an_output_error(batch: Batch) -> None:
    job = next(batch.jobs())
    Path(job.generated_path).write_bytes(b"no sound")
    with pytest.raises(OutputError, match="is no sound file"):
        job.audio()
    assert "is no sound file" in job._repr_html_()
    Path(job.generated_path).unlink()
    with pytest.raises(OutputError, match="cannot be read"):
        job.audio()


def test_a_repr_tells_how_far_a_batch_is(batch: Batch) -> None:
    assert repr(batch) == f"<Batch {batch.id} {SCRIPT!r}: reconstruct running, 1 queued, 1 done, 1 failed of 3>"


def test_a_repr_without_a_table_says_so() -> None:
    away = Database("postgresql+psycopg://me:hunter2@127.0.0.1:1/none")
    said = repr(Batch(away, "some-batch", announce=lambda _: None, extra_attempts=1))
    away.close()
    assert said.startswith("<Batch some-batch: its state is unknown, ")
    assert "hunter2" not in said


def test_a_repr_of_a_producer_hides_passwords(producer: Producer, batch: Batch) -> None:
    assert "table.db" in repr(producer)
    assert "hunter2" not in repr(producer) + producer._repr_html_()
    assert batch.id in producer._repr_html_()


def test_a_notebook_shows_progress_and_a_player_with_a_spectrogram(batch: Batch, producer: Producer) -> None:
    html = batch._repr_html_()
    assert "1 queued, 1 done, 1 failed of 3" in html
    assert "generated, 1.00 s at 8000 Hz" in html
    sound = re.search(r"audio controls [^>]*src='data:audio/wav;base64,([^']*)'", html)
    picture = re.search(r"src='data:image/png;base64,([^']*)'", html)
    assert sound is not None
    assert picture is not None
    assert base64.b64decode(sound[1])[:4] == b"RIFF"
    _assert_shows_the_tone(base64.b64decode(picture[1]))
    every = html + producer._repr_html_() + "".join(job._repr_html_() for job in batch.jobs())
    assert SCRIPT not in every
    assert "&lt;script&gt;" in every


def _assert_shows_the_tone(png: bytes) -> None:
    from io import BytesIO

    from PIL import Image

    with Image.open(BytesIO(png)) as picture:
        brightness = np.asarray(picture.convert("L")).mean(axis=1)
    # 1 kHz of 4 kHz: a quarter up
    assert brightness.argmax() == pytest.approx(0.75 * len(brightness), abs=2)


def test_to_pandas_has_a_row_per_job_with_quality_and_labels(batch: Batch) -> None:
    frame = batch.to_pandas()
    assert list(frame["state"]) == ["done", "failed", "queued"]
    assert frame.loc[next(batch.jobs()).id, "quality_peak"] == 0.5
    assert frame["label_speaker"].to_list()[::2] == ["anna", "dan"]
    assert list(batch.to_pandas(state="failed")["error"]) == [SCRIPT]


def test_wait_shows_a_bar_in_a_terminal_only(batch: Batch, capsys: pytest.CaptureFixture[str]) -> None:
    batch.cancel()
    assert batch.wait(progress=True) == "failed"
    assert "rendering" not in capsys.readouterr().err, "no terminal"


def test_everything_can_be_imported_from_one_place_and_late() -> None:
    for name in wavemill_producer.__all__:
        assert getattr(wavemill_producer, name).__name__ == name
    script = "import wavemill_producer as w, sys; assert w.State.DONE; assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)

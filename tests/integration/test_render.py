"""The rendering of a chunk, without Celery, on both databases."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support.material import save_untrained_model
from support.outputs import check_outputs

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset
from wavemill.errors import ModelChangedError
from wavemill.generation import SoundGenerator
from wavemill.jobs.database import Database
from wavemill.render import Renderer
from wavemill.requests import ReconstructParams
from wavemill.settings import Settings
from wavemill.vae.package import load_model
from wavemill_producer import Batch, Producer


class Bench:
    """A producer without a broker, and a renderer that is called by hand."""

    def __init__(self, url: str, folder: Path, models: Path, dataset: Path) -> None:
        self.settings = Settings(
            home=folder / "home", database_url=url, models=models, broker_url="redis://127.0.0.1:1/0", retry_delay_s=0
        )
        self.folder, self.dataset = folder, dataset
        self.producer = Producer(self.settings)
        self.stop = threading.Event()
        self.renderer = Renderer(self.producer.database, self.settings, worker_id="bench", n_threads=2, stop=self.stop)

    def submit(self, ids: list[str] | None = None, *, model: str | Path = "small", **params: object) -> Batch:
        with Dataset.open(self.dataset) as dataset:
            chosen = ids or list(dataset.ids())
        return self.producer.reconstruct(
            chosen, dataset=self.dataset, model=model, output=self.folder / "out", params=ReconstructParams(**params)
        )

    def render(self, batch: Batch) -> None:
        self.renderer.render_chunk(batch.id, 0, 10_000)


@pytest.fixture
def bench(database: Database, tmp_path: Path, models: Path, small_dataset: Path) -> Iterator[Bench]:
    url = database.url.render_as_string(hide_password=False)
    made = Bench(url, tmp_path, models, small_dataset)
    yield made
    made.renderer.close()
    made.producer.close()


def _bytes(batch: Batch) -> dict[str, tuple[str, str]]:
    return {job.spectrogram_id: (job.sha256, job.original_sha256) for job in batch.jobs()}


def test_a_chunk_becomes_wavs_with_digests_quality_and_timings(bench: Bench) -> None:
    batch = bench.submit()
    bench.render(batch)
    assert batch.status()["state"] == "done"
    check_outputs(batch, expect_done=20)
    job = next(batch.jobs())
    assert set(job.quality) >= {"peak", "gain", "clipped", "silent", "original_peak"}
    assert job.quality["clipped"] == 0
    assert set(job.timings) == {"read_ms", "forward_ms", "invert_ms", "write_ms"}


def test_a_message_that_comes_twice_does_no_work(bench: Bench) -> None:
    batch = bench.submit()
    bench.render(batch)
    written = {path: path.stat().st_mtime_ns for path in (bench.folder / "out").rglob("*.wav")}
    bench.render(batch)
    assert {path: path.stat().st_mtime_ns for path in (bench.folder / "out").rglob("*.wav")} == written
    assert all(job.attempt == 1 for job in batch.jobs())


def test_the_same_input_gives_the_same_bytes_alone_or_in_company(bench: Bench) -> None:
    together, alone = bench.submit(), bench.submit(["7_anna_0"])
    reversed_order = bench.submit(sorted(_bytes(together), reverse=True))
    for batch in (together, alone, reversed_order):
        bench.render(batch)
    assert _bytes(alone)["7_anna_0"] == _bytes(together)["7_anna_0"]
    assert _bytes(reversed_order) == _bytes(together)


def test_samples_of_the_posterior_repeat_with_their_seed_only(bench: Bench) -> None:
    first, again, other, mean = (bench.submit(seed=seed) for seed in (1, 1, 2, None))
    for batch in (first, again, other, mean):
        bench.render(batch)
    assert _bytes(first) == _bytes(again)
    assert all(_bytes(first)[ID][0] != _bytes(other)[ID][0] for ID in _bytes(first))
    assert all(_bytes(first)[ID][0] != _bytes(mean)[ID][0] for ID in _bytes(first))
    assert {ID: original for ID, (_, original) in _bytes(first).items()} == {
        ID: original for ID, (_, original) in _bytes(mean).items()
    }


def test_the_queue_makes_what_the_plain_library_makes(bench: Bench, models: Path) -> None:
    import soundfile

    batch = bench.submit(["7_anna_0"], keep_latents=True, format="float")
    bench.render(batch)
    job = next(batch.jobs())
    with Dataset.open(bench.dataset) as dataset:
        entry = dataset.get("7_anna_0")
        x = read_spectrogram(dataset, entry)
    spectrogram = x * np.float32(entry.max_db - entry.min_db) + np.float32(entry.min_db)
    made = SoundGenerator(load_model("small", models_dir=models)).reconstruct(
        spectrogram[None], durations_s=[entry.duration_s]
    )
    signal, rate_hz = soundfile.read(job.generated_path, dtype="float32")
    assert rate_hz == 8_000
    assert len(signal) == round(entry.duration_s * 8_000)
    np.testing.assert_allclose(signal, made.audio[0] * job.quality["gain"], atol=1e-5)
    np.testing.assert_allclose(np.load(job.latent_path), made.latents[0], atol=1e-5)


def test_a_model_that_changed_after_submit_is_refused_by_the_worker(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "changing"
    save_untrained_model(folder)
    batch = bench.submit(model=folder)
    weights = folder / "weights.npz"
    weights.write_bytes(weights.read_bytes() + b"x")
    bench.render(batch)
    jobs = list(batch.jobs())
    assert {(job.state, job.error_code) for job in jobs} == {("failed", ModelChangedError.code)}
    assert "weights.npz" in jobs[0].error
    with pytest.raises(ModelChangedError, match=r"weights\.npz"):
        bench.submit(model=folder)


def test_another_model_of_the_same_name_is_refused_by_the_worker(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "replaced"
    save_untrained_model(folder)
    batch = bench.submit(model=folder)
    shutil.rmtree(folder)
    save_untrained_model(tmp_path / "another")
    shutil.copytree(tmp_path / "another", folder)
    bench.render(batch)
    assert {job.error_code for job in batch.jobs()} == {ModelChangedError.code}
    assert "was submitted with" in next(batch.jobs()).error


def test_an_output_folder_that_is_a_file_fails_the_jobs_and_a_retry_works_once_it_is_mended(bench: Bench) -> None:
    batch = bench.submit()
    blocking = bench.folder / "out"
    blocking.write_text("in the way")
    bench.render(batch)
    assert {(job.state, job.error_code) for job in batch.jobs()} == {("failed", "unwritable-output")}
    assert str(blocking) in next(batch.jobs()).error
    blocking.unlink()
    assert batch.retry() == 20
    bench.render(batch)
    check_outputs(batch, expect_done=20)


def test_a_dataset_that_is_gone_fails_the_jobs_with_a_reason(bench: Bench, tmp_path: Path) -> None:
    bench.dataset = Path(shutil.copytree(bench.dataset, tmp_path / "moved"))
    batch = bench.submit()
    shutil.rmtree(bench.dataset)
    bench.render(batch)
    assert {(job.state, job.error_code) for job in batch.jobs()} == {("failed", "bad-dataset")}


def test_a_stop_gives_the_chunk_back_and_a_cancelled_batch_is_given_up(bench: Bench) -> None:
    batch = bench.submit()
    bench.stop.set()
    bench.render(batch)
    assert {(job.state, job.attempt) for job in batch.jobs()} == {("queued", 0)}
    bench.stop.clear()
    assert batch.cancel() == 20
    bench.render(batch)
    status = batch.status()
    assert status["state"] == "cancelled"
    assert not (bench.folder / "out").exists()
    assert batch.retry() == 20
    bench.render(batch)
    check_outputs(batch, expect_done=20)

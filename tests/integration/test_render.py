"""The rendering of a chunk, without Celery, on both databases."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from support.bench import Bench
from support.material import DIGITS, save_untrained_model
from support.outputs import check_outputs

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.build import build
from wavemill.dataset.index import Dataset
from wavemill.dataset.manifest import INDEX_NAME, MANIFEST_NAME
from wavemill.errors import ModelChangedError
from wavemill.generation import SoundGenerator
from wavemill.jobs.recovery import mend_torn
from wavemill.rendering.renderer import Renderer
from wavemill.vae.package import load_model
from wavemill_producer import Batch
from wavemill_worker.reaper import clear


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
        spectrogram[None], durations_s=[entry.duration_s], peaks=[entry.peak]
    )
    signal, rate_hz = soundfile.read(job.generated_path, dtype="float32")
    assert rate_hz == 8_000
    assert len(signal) == round(entry.duration_s * 8_000)
    np.testing.assert_allclose(signal, made.audio[0] * job.quality["gain"], atol=1e-5)
    np.testing.assert_allclose(np.load(job.latent_path), made.latents[0], atol=1e-5)


def test_a_sound_made_in_mixed_precision_says_so(bench: Bench) -> None:
    import soundfile
    import tensorflow as tf

    batch = bench.submit(["7_anna_0"])
    settings = bench.settings.model_copy(update={"mixed_precision": True})
    mixed = Renderer(bench.producer.database, settings, worker_id="mixed", n_threads=1, stop=bench.stop)
    try:
        mixed.render_chunk(batch.id, 0, 10_000)
    finally:
        mixed.close()
        tf.config.optimizer.set_experimental_options({"auto_mixed_precision_onednn_bfloat16": False})
    job = next(batch.jobs())
    said = [json.loads(soundfile.SoundFile(path).comment) for path in (job.generated_path, job.original_path)]
    assert [one.get("precision") for one in said] == ["mixed", None]


def test_a_model_that_changed_after_submit_is_refused_by_the_worker(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "changing"
    save_untrained_model(folder)
    batch = bench.submit(model=folder)
    weights = folder / "weights.npz"
    weights.write_bytes(weights.read_bytes() + b"x")
    bench.render(batch)
    job = next(batch.jobs())
    assert (job.state, job.attempt, job.error_code) == ("queued", 0, "model-not-here")  # another may have the right one
    assert "weights.npz" in job.error
    with pytest.raises(ModelChangedError, match=r"weights\.npz"):
        bench.submit(model=folder)


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


def test_a_folder_that_is_no_dataset_any_more_fails_the_jobs_with_a_reason(bench: Bench, tmp_path: Path) -> None:
    bench.dataset = Path(shutil.copytree(bench.dataset, tmp_path / "copy"))
    batch = bench.submit()
    (bench.dataset / INDEX_NAME).unlink()
    (bench.dataset / MANIFEST_NAME).unlink()
    for _ in range(3):  # another worker may have it
        bench.render(batch)
    assert {(job.state, job.error_code) for job in batch.jobs()} == {("failed", "bad-dataset")}


def test_an_index_that_is_damaged_while_a_worker_has_it_open_fails_the_jobs(bench: Bench, tmp_path: Path) -> None:
    bench.dataset = Path(shutil.copytree(bench.dataset, tmp_path / "copy"))
    bench.render(bench.submit(["7_anna_0"]))  # now it is open
    batch = bench.submit()
    index = bench.dataset / INDEX_NAME
    index.write_bytes(bytes(index.stat().st_size))
    for _ in range(3):  # another worker may have it
        bench.render(batch)
    assert {(job.state, job.error_code) for job in batch.jobs()} == {("failed", "bad-dataset")}


def test_a_foreign_error_before_the_first_item_is_recorded_and_tried_again(bench: Bench) -> None:
    batch = bench.submit()
    nowhere = Path("x" * 300)  # longer than a file's name can be: an OSError, from the standard library itself
    settings = bench.settings.model_copy(update={"models": nowhere})
    lost = Renderer(bench.producer.database, settings, worker_id="lost", n_threads=1, stop=bench.stop)
    lost.render_chunk(batch.id, 0, 10_000)
    lost.close()
    assert {(job.state, job.error_code, job.attempt) for job in batch.jobs()} == {("queued", "internal-error", 1)}
    bench.render(batch)
    check_outputs(batch, expect_done=20)


def test_a_dataset_that_was_made_anew_in_the_same_place_is_opened_anew(
    bench: Bench, clips: Path, tmp_path: Path
) -> None:
    few, bench.dataset = tmp_path / "few", tmp_path / "data"
    few.mkdir()
    shutil.copy(clips / "7_anna_0.wav", few)
    build(few, bench.dataset, DIGITS, jobs=1)
    bench.render(bench.submit())
    shutil.rmtree(bench.dataset)
    build(clips, bench.dataset, DIGITS, jobs=1)
    batch = bench.submit()
    bench.render(batch)
    check_outputs(batch, expect_done=20)


@pytest.mark.parametrize("level_db", [1e39, float("inf")])
def test_a_range_that_no_sound_has_harms_its_own_item_only(bench: Bench, tmp_path: Path, level_db: float) -> None:
    bench.dataset = Path(shutil.copytree(bench.dataset, tmp_path / "copy"))
    with closing(sqlite3.connect(bench.dataset / INDEX_NAME)) as index, index:
        index.execute("UPDATE spectrograms SET max_db = ? WHERE id = '7_anna_0'", [level_db])
    batch = bench.submit()
    bench.render(batch)
    (job,) = batch.jobs(state="failed")
    assert (job.spectrogram_id, job.error_code) == ("7_anna_0", "bad-spectrogram")
    check_outputs(batch, expect_done=19)


@pytest.mark.parametrize("in_the_way", ["original/7_anna_0.wav/folder", "original"])
def test_of_two_outputs_both_are_written_or_none_when_the_batch_is_over(bench: Bench, in_the_way: str) -> None:
    batch = bench.submit(["7_anna_0"])
    blocking = bench.folder / "out" / batch.id / in_the_way
    blocking.parent.mkdir(parents=True)
    blocking.write_text("")
    bench.render(batch)
    assert [job.error_code for job in batch.jobs()] == ["unwritable-output"]
    mend_torn(bench.producer.database, clear)
    assert [path for path in (bench.folder / "out").rglob("*") if path.is_file()] == [blocking]


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

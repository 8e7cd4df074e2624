"""Every operation as a batch: what it writes, what it says of it, and that it repeats; on both databases."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.bench import Bench

from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset
from wavemill.errors import UnknownSpectrogramError, UsageError
from wavemill.generation import SoundGenerator
from wavemill.inversion.gpu import invert_on_gpu
from wavemill.operations.requests import DecodeParams, InterpolateParams, ReconstructParams, SampleParams, VaryParams
from wavemill.presets import preset
from wavemill.storage.locations import names_below
from wavemill.synthesis.sound import spectrograms_to_audio
from wavemill.vae.package import load_model
from wavemill_producer import Batch

A, B = "7_anna_0", "4_dan_0"


@pytest.fixture
def place(bench: Bench) -> dict[str, Path | str]:
    return {"dataset": bench.dataset, "model": "small", "output": bench.folder / "out"}


def done(bench: Bench, batch: Batch) -> dict[str, object]:
    """Render a batch; return its jobs by ID, all done, each recorded file there as it was recorded, and no other."""
    bench.render(batch)
    jobs = {job.spectrogram_id: job for job in batch.jobs()}
    assert {(job.state, job.error) for job in jobs.values()} == {("done", None)}
    recorded = {
        path: digest
        for job in jobs.values()
        for path, digest in (
            (job.generated_path, job.sha256),
            (job.original_path, job.original_sha256),
            (job.latent_path, job.latent_sha256),
        )
        if path is not None
    }
    for path, digest in recorded.items():
        assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == digest
    folder = bench.folder / "out" / batch.id
    levels = {str(Path(path).with_suffix(".json")) for path in recorded if path.endswith(".npy")}
    assert {str(path) for path in folder.rglob("*") if path.is_file()} == set(recorded) | levels
    return jobs


def said(path: str) -> dict[str, object]:
    with soundfile.SoundFile(path) as sound:
        return json.loads(sound.comment)


def spectrogram(bench: Bench, spectrogram_id: str) -> tuple[np.ndarray, float]:
    with Dataset.open(bench.dataset) as dataset:
        entry = dataset.get(spectrogram_id)
        x = read_spectrogram(dataset, entry)
    return x * np.float32(entry.max_db - entry.min_db) + np.float32(entry.min_db), entry.duration_s


def test_samples_are_named_after_what_they_are_and_repeat_with_their_seed(bench: Bench, place) -> None:
    def sampled(seed: int) -> Batch:
        params = SampleParams(seed=seed, labels={"speaker": "ann", "digit": "7"}, keep_latents=True)
        return bench.producer.sample(3, model="small", output=place["output"], params=params)

    first, again, other = (done(bench, sampled(seed)) for seed in (5, 5, 6))
    assert list(first) == [f"digit-7_speaker-ann_seed-5_{k:06d}" for k in (1, 2, 3)]
    assert [job.sha256 for job in first.values()] == [job.sha256 for job in again.values()]
    assert len({job.sha256 for jobs in (first, other) for job in jobs.values()}) == 6
    job = next(iter(first.values()))
    assert job.quality["drawn"] == {"digit": "7", "speaker": "ann"}
    assert job.generated_path.endswith("/generated/digit-7_speaker-ann_seed-5_000001.wav")
    assert job.original_path is None
    assert said(job.generated_path)["params"]["labels"] == {"digit": "7", "speaker": "ann"}


def test_sounds_have_the_rate_format_and_loudness_that_were_asked_for(bench: Bench, place) -> None:
    def made() -> dict[str, object]:
        return done(bench, bench.submit([A, B], format="opus", output_rate_hz=24_000, loudness_lufs=-30.0))

    first, again = made(), made()
    for ID, job in first.items():
        assert (job.sha256, job.original_sha256) == (again[ID].sha256, again[ID].original_sha256)
        for path, prefix in ((job.generated_path, ""), (job.original_path, "original_")):
            assert path.endswith(".opus")
            about = soundfile.info(path)
            _, duration_s = spectrogram(bench, ID)
            assert (about.subtype, about.samplerate) == ("OPUS", 24_000)
            assert about.frames == pytest.approx(duration_s * 24_000, abs=3)
            assert job.quality[f"{prefix}sample_rate_hz"] == 24_000
            assert job.quality[f"{prefix}loudness_lufs"] == pytest.approx(-30, abs=0.1)
            assert not job.quality[f"{prefix}loudness_limited"]
            assert job.quality[f"{prefix}true_peak_dbtp"] < -1
            wanted = {"format": "opus", "output_rate_hz": 24_000, "loudness_lufs": -30.0}
            assert wanted.items() <= said(path)["params"].items()


def test_a_larger_count_of_neighbours_leaves_the_first_ones_as_they_are(bench: Bench, place) -> None:
    few, many = (done(bench, bench.producer.vary([A], count=count, **place)) for count in (1, 10))
    assert few[f"{A}_vary-1"].sha256 == many[f"{A}_vary-1"].sha256


def test_a_label_may_be_a_number(bench: Bench, place) -> None:
    params = SampleParams(labels={"digit": 7})
    assert next(iter(done(bench, bench.producer.sample(1, model="small", params=params, output=place["output"]))))


def test_a_label_that_the_model_does_not_know_is_refused_with_those_it_knows(bench: Bench, place) -> None:
    for labels in ({"digit": "eleven"}, {"mood": "glad"}):
        with pytest.raises(UsageError, match=r"digit=0\|1"):
            bench.producer.sample(1, model="small", output=place["output"], params=SampleParams(labels=labels))
    assert bench.producer.batches() == []


def test_a_sample_in_the_queue_is_the_one_of_the_plain_library(bench: Bench, place, models: Path) -> None:
    params = SampleParams(seed=1, format="float", temperature=0.5)
    job = next(
        iter(done(bench, bench.producer.sample(1, model="small", output=place["output"], params=params)).values())
    )
    seed = params.item_seed(job.spectrogram_id)
    made = SoundGenerator(load_model("small", models_dir=models)).sample([seed], temperature=0.5)
    signal, _ = soundfile.read(job.generated_path, dtype="float32")
    np.testing.assert_allclose(signal, made.audio[0] * job.quality["gain"], atol=1e-5)


def test_an_interpolation_begins_and_ends_as_the_reconstructions_do(bench: Bench, place) -> None:
    ends = done(bench, bench.submit([A, B], format="float"))
    batch = bench.producer.interpolate([(A, B)], steps=5, params=InterpolateParams(format="float"), **place)
    jobs = list(done(bench, batch).values())
    assert [job.spectrogram_id for job in jobs] == [f"{A}_to_{B}_step-{k}-of-5" for k in range(1, 6)]
    assert [job.item["weight"] for job in jobs] == [0.0, 0.25, 0.5, 0.75, 1.0]
    sounds = [soundfile.read(job.generated_path, dtype="float32")[0] for job in jobs]
    for sound, end in ((sounds[0], A), (sounds[-1], B)):
        np.testing.assert_allclose(sound, soundfile.read(ends[end].generated_path, dtype="float32")[0], atol=1e-4)
    lengths = [len(sound) for sound in sounds]
    assert lengths == sorted(lengths, reverse=lengths[0] > lengths[-1])
    assert len({job.sha256 for job in jobs}) == 5
    assert set(said(jobs[2].generated_path)["inputs"]) == {A, B}


def test_a_refined_latent_in_the_queue_is_the_one_of_the_plain_library(bench: Bench, place, models: Path) -> None:
    params = ReconstructParams(refine=3, keep_latents=True)
    refined, plain = (
        done(bench, bench.producer.reconstruct([A, B], params=one, **place)) for one in (params, ReconstructParams())
    )
    generator = SoundGenerator(load_model("small", models_dir=models))
    for ID in (A, B):
        assert refined[ID].sha256 != plain[ID].sha256
        assert said(refined[ID].generated_path)["params"]["refine"] == 3
        assert "refine" not in said(plain[ID].generated_path)["params"]
        x, _ = spectrogram(bench, ID)
        np.testing.assert_allclose(np.load(refined[ID].latent_path), generator.encode(x[None], refine=3)[0], atol=1e-4)


def test_variations_keep_level_and_length_and_grow_with_the_temperature(bench: Bench, place) -> None:
    def varied(temperature: float) -> list[object]:
        params = VaryParams(seed=3, temperature=temperature, keep_latents=True)
        return list(done(bench, bench.producer.vary([A], count=3, params=params, **place)).values())

    still, near, far = (varied(temperature) for temperature in (0.0, 0.2, 1.0))
    assert [job.spectrogram_id for job in near] == [f"{A}_vary-{k}" for k in (1, 2, 3)]
    at = [np.stack([np.load(job.latent_path) for job in jobs]) for jobs in (still, near, far)]
    spread = [np.linalg.norm(latents - at[0][0], axis=1) for latents in at]
    assert spread[0].max() == 0 < spread[1].min()
    np.testing.assert_allclose(spread[2], spread[1] * 5, rtol=1e-3)
    _, duration_s = spectrogram(bench, A)
    assert {soundfile.info(job.generated_path).frames for job in far} == {round(duration_s * 8_000)}


def test_latents_that_were_encoded_decode_to_what_a_reconstruction_is(bench: Bench, place) -> None:
    reconstructed = done(bench, bench.submit([A, B]))
    encoded = bench.producer.encode([A, B], **place)
    latents = done(bench, encoded)
    assert {(job.generated_path, job.sha256, job.quality) for job in latents.values()} == {(None, None, None)}
    params = DecodeParams(latents=str(bench.folder / "out" / encoded.id / "latents"))
    decoded = done(bench, bench.producer.decode([A, B], model="small", output=place["output"], params=params))
    for ID in (A, B):
        sounds = [soundfile.read(jobs[ID].generated_path, dtype="int16")[0] for jobs in (reconstructed, decoded)]
        np.testing.assert_array_equal(*sounds)


def test_an_array_of_ones_own_is_decoded_at_full_length_and_a_bad_one_fails_alone(bench: Bench, place) -> None:
    folder = bench.folder / "latents"
    folder.mkdir()
    good = np.zeros(8, np.float32)
    np.save(folder / "good.npy", good)
    np.save(folder / "short.npy", good[:3])
    np.save(folder / "nan.npy", good * np.nan)
    np.save(folder / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
    (folder / "level.json").write_text('{"peak_db": "loud"}')
    np.save(folder / "level.npy", good)
    np.save(folder / "loud.npy", good)
    (folder / "loud.json").write_text('{"energy_db": 4000}')
    np.save(folder / "huge.npy", np.full_like(good, 1e300, dtype=np.float64))
    params = DecodeParams(latents=str(folder))
    names = ["good", "short", "nan", "pickled", "level", "loud", "huge", "gone"]
    batch = bench.producer.decode(names, model="small", output=place["output"], params=params)
    bench.render(batch)
    codes = {job.spectrogram_id: job.error_code for job in batch.jobs()}
    assert codes == {**dict.fromkeys(names[1:-1], "bad-latent"), "good": None, "gone": "unknown-latent"}
    job = next(batch.jobs(state="done"))
    assert soundfile.info(job.generated_path).frames == 8_128


def test_an_inversion_is_byte_for_byte_the_original_beside_a_reconstruction(bench: Bench, place) -> None:
    reconstructed = done(bench, bench.submit([A, B], seed=4, keep_latents=True))
    inverted = done(bench, bench.producer.invert([A, B], dataset=bench.dataset, output=place["output"]))
    for ID in (A, B):
        assert inverted[ID].sha256 == reconstructed[ID].original_sha256
        assert (inverted[ID].original_path, inverted[ID].latent_path) == (None, None)
    assert "model" not in said(inverted[A].generated_path)


def test_a_worker_with_a_gpu_inverts_whole_sub_batches_on_it(bench: Bench, place, monkeypatch) -> None:
    # The same TensorFlow operations, where there is no GPU.
    monkeypatch.setattr("wavemill.rendering.pipeline.first_gpu", lambda: "/CPU:0")
    batches = []

    def counted(magnitude, **options):
        batches.append((len(magnitude), options["device"]))
        return invert_on_gpu(magnitude, **options)

    monkeypatch.setattr("wavemill.synthesis.sound.invert_on_gpu", counted)
    jobs = done(bench, bench.submit([A, B], seed=4))
    assert sum(n for n, _ in batches) == 4  # two generated, two original
    assert {device for _, device in batches} == {"/CPU:0"}
    for ID, job in jobs.items():
        x, duration_s = spectrogram(bench, ID)
        with Dataset.open(bench.dataset) as dataset:
            peak = dataset.get(ID).peak
        [expected] = spectrograms_to_audio(x[None], preset("digits"), durations_s=[duration_s], peaks=[peak])
        found = soundfile.read(job.original_path)[0]
        assert np.linalg.norm(found - expected) < 0.015 * np.linalg.norm(expected)


def test_an_output_says_where_it_comes_from(bench: Bench, place) -> None:
    batch = bench.submit([A], format="flac", seed=9)
    job = done(bench, batch)[A]
    with Dataset.open(bench.dataset) as dataset:
        entry = dataset.get(A)
        digest = entry.sha256
    provenance = said(job.generated_path)
    assert provenance["id"] == A
    assert provenance["operation"] == "reconstruct"
    assert provenance["inputs"] == {A: digest}
    assert provenance["params"] == {"method": "pghi+gl", "format": "flac", "seed": 9}
    assert provenance["model_digest"] == batch.status()["model_digest"]
    assert {"wavemill", "numba", "tensorflow", "keras"} <= set(provenance["versions"])
    assert provenance["scales"][A] == list(entry.scale)


def test_the_same_model_by_name_and_by_path_and_latents_kept_or_not_give_the_same_bytes(bench: Bench, models) -> None:
    named = done(bench, bench.submit([A]))[A]
    by_path = done(bench, bench.submit([A], model=models / "small", keep_latents=True))[A]
    assert by_path.sha256 == named.sha256
    assert str(models) not in Path(by_path.generated_path).read_bytes().decode("latin-1")


def test_what_came_out_far_from_its_source_is_flagged_and_found(bench: Bench, place) -> None:
    batch = bench.submit([A, B])  # the small model is untrained: nothing it makes is near
    done(bench, batch)
    assert {job.flags for job in batch.jobs()} == {"far"}
    assert all(job.quality["log_spectral_distance_db"] > 7 for job in batch.jobs())
    inverted = bench.producer.invert([A, B], dataset=bench.dataset, output=place["output"])
    assert {job.flags for job in done(bench, inverted).values()} == {None}
    assert [job.batch_id for job in bench.producer.jobs(flag="far")] == [batch.id] * 2
    assert list(inverted.jobs(flag="far")) == []
    assert list(batch.jobs(flag="far", state="failed")) == []
    assert list(batch.jobs(flag="silent")) == []
    page = list(batch.jobs(flag="far", limit=1))
    assert [job.spectrogram_id for job in batch.jobs(flag="far", after=page[0].id)] == [B]


def test_what_cannot_be_asked_for_is_refused_before_anything_is_queued(bench: Bench, place) -> None:
    producer = bench.producer
    with pytest.raises(UnknownSpectrogramError, match="nobody"):
        producer.interpolate([(A, "nobody")], **place)
    with pytest.raises(UsageError, match="2 or more"):
        producer.interpolate([(A, B)], steps=1, **place)
    with pytest.raises(UsageError, match="pairs"):
        producer.interpolate([A], **place)
    with pytest.raises(UsageError, match="both be named"):
        producer.interpolate([("a", "b_to_c"), ("a_to_b", "c")], check_ids=False, **place)
    with pytest.raises(UsageError, match="1 or more"):
        producer.vary([A], count=0, **place)
    for temperature in (-1, 11):
        with pytest.raises(UsageError, match="temperature"):
            VaryParams(temperature=temperature)
    with pytest.raises(UsageError, match=r"no option format, labels.*SampleParams"):
        producer.sample(1, model="small", output=place["output"], labels={"digit": "7"}, format="flac")
    with pytest.raises(UsageError, match="expected an `output`"):
        producer.sample(1, model="small")
    with pytest.raises(UsageError, match="inside the dataset"):
        producer.encode([A], **place | {"output": bench.dataset / "out"})
    with pytest.raises(UsageError, match="1 or more"):
        producer.sample(0, model="small", output=place["output"])
    assert producer.batches() == []


def test_a_dry_run_counts_jobs_and_sound_and_queues_nothing(bench: Bench, place) -> None:
    dry = bench.producer.dry_run
    sound = 2 * 8_128 + 1_000  # with the header
    report = dry.reconstruct([A, B, A, "nope"], **place)
    assert report["free_bytes"] > 0
    del report["free_bytes"]
    assert report == {
        "total": 3, "duplicates": 1, "unknown": 1, "unknown_examples": ["nope"], "chunks": 1,
        "output_bytes": 6 * sound, "estimated_s": None, "queued_before": 0, "queued_before_s": None,
        "estimated_from": "no batch of this operation and model was rendered yet, and no living worker has "
        "rendered",
    }  # fmt: skip
    assert dry.reconstruct([A, "nope"], check_ids=False, **place)["unknown"] is None
    assert dry.interpolate([(A, "nope")], **place)["unknown_examples"] == ["nope"]
    assert dry.vary([A], count=7, **place)["output_bytes"] == 7 * sound
    assert dry.interpolate([(A, B), (A, B)], steps=3, **place)["duplicates"] == 1
    assert dry.encode([A], **place)["output_bytes"] == 0
    assert dry.sample(100, model="small", output=place["output"])["chunks"] == 2
    with pytest.raises(UsageError, match="nothing to do"):
        dry.encode([], **place)
    assert bench.producer.batches() == []


def test_names_below_a_folder_without_latents_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(UsageError, match=r"no \.npy"):
        list(names_below(str(tmp_path), ".npy"))
    np.save(tmp_path / "set" / "b.npy", np.zeros(1))
    (tmp_path / "set" / "._b.npy").write_bytes(b"macOS")
    np.save(tmp_path / "a::b.npy", np.zeros(1))  # fsspec chains URLs by "::", a path may hold it
    assert list(names_below(str(tmp_path), ".npy")) == ["a::b", "set/b"]
    assert list(names_below(tmp_path.as_uri(), ".npy")) == ["a::b", "set/b"]

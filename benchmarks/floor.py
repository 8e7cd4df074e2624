"""The least that a clip can cost on this machine, and the share of it that we reach.

Fourier transforms by SciPy, the network's floating-point operations at the rate of a large matrix product, and the
bytes written at the disk's rate; nothing for reading, the phase itself, encoding, digests, messages or rows.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.fft

from benchmarks.loop import bare_loop
from benchmarks.plan import Plan
from benchmarks.progress import tell
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from benchmarks.services import finish, workers
from wavemill.dataset.index import Dataset
from wavemill.inversion import invert
from wavemill.presets import Features
from wavemill.vae.model import Model
from wavemill.vae.package import load_model

_ITERATIONS = 4  # of Griffin-Lim in the default method, each there and back; and one more back
_SOUNDS = 2  # generated and original
_CLIPS = 64
_FFT_CLIPS = 16  # stay in cache
_WAV_HEAD_BYTES = 600  # with the provenance
_DISK_BYTES = 128 * 2**20


def measure(plan: Plan) -> list[Row]:
    """Milliseconds of a clip on all cores: each step against its floor, and the whole pipeline against their sum."""
    cores = len(os.sched_getaffinity(0))
    model = load_model(plan.model, models_dir=plan.models_dir)
    tell("measuring the floor")
    fft_s = _fft_s(model.features, plan.sizes.rounds) / cores
    flops, rate = _flops(model), _matrix_product_rate()
    n_bytes = _SOUNDS * (2 * model.features.n_samples + _WAV_HEAD_BYTES)
    network_s, disk_s = flops / rate, n_bytes / _disk_rate(plan.work)
    inversion_s = _inversion_s(model.features, cores, plan.sizes.rounds)
    forward_s, pipeline_s = _ours(plan)
    whole = f"{1e3 * network_s:.2f} ms network, {1e3 * fft_s:.2f} ms FFT, {1e3 * disk_s:.2f} ms disk"
    return [
        _share("inversion of both sounds", inversion_s, "floor: its FFTs by scipy", fft_s),
        _share(
            "forward pass",
            forward_s,
            "floor: its operations in a matrix product",
            network_s,
            f"{flops / 1e9:.2f} GFLOP, {rate / 1e9:.0f} GFLOP/s",
        ),
        _share("whole pipeline", pipeline_s, "floor: network, FFTs and disk", network_s + fft_s + disk_s, whole),
    ]


def _share(what: str, seconds: float, floor: str, floor_s: float, remark: str = "") -> Row:
    return Row.of_times(f"a clip on all cores: {what}", seconds, floor, floor_s, remark=remark)


def _fft_s(features: Features, rounds: int) -> float:
    """Return one thread's seconds for the transforms of a clip."""
    shape = (_FFT_CLIPS * features.n_frames, features.n_fft)
    frames = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    spectra = scipy.fft.rfft(frames)
    seconds = medians_s(
        {"there": lambda: scipy.fft.rfft(frames), "back": lambda: scipy.fft.irfft(spectra, features.n_fft)},
        10 * rounds,
        quiet=True,
    )
    clip = (_ITERATIONS * seconds["there"] + (_ITERATIONS + 1) * seconds["back"]) / _FFT_CLIPS
    return _SOUNDS * clip


def _flops(model: Model) -> float:
    """Return the network's operations for one clip, as TensorFlow counts them."""
    import tensorflow as tf

    total = 0
    for part in (model.network.encoder, model.network.decoder):
        signature = tf.TensorSpec((1, *part.input_shape[1:]), tf.float32)
        graph = tf.function(lambda x, part=part: part(x, training=False)).get_concrete_function(signature).graph
        options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        total += tf.compat.v1.profiler.profile(graph, options=options).total_float_ops
    return float(total)


def _matrix_product_rate() -> float:
    """Return operations a second of a large product on all cores."""
    import tensorflow as tf

    n = 2_048
    a = tf.random.stateless_normal((n, n), (1, 2))
    return 2.0 * n**3 / min(_seconds(lambda: tf.linalg.matmul(a, a).numpy()) for _ in range(8))


def _disk_rate(folder: Path) -> float:
    """Return bytes a second that reach the disk, in one large file."""
    block, path = bytes(2**20), folder / "disk"

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(_DISK_BYTES // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    rate = _DISK_BYTES / min(_seconds(write) for _ in range(3))
    path.unlink()
    return rate


def _inversion_s(features: Features, cores: int, rounds: int) -> float:
    """Return the seconds of a clip's sounds by the default method, all cores at work."""
    shape = (_CLIPS, features.n_fft // 2 + 1, features.n_frames)
    magnitude = np.random.default_rng(0).lognormal(-4, 2, shape).astype(np.float32)
    geometry = {"n_fft": features.n_fft, "hop_length": features.hop_length, "length": features.n_samples}
    seconds = medians_s({"invert": lambda: invert(magnitude, **geometry, n_threads=cores)}, rounds, quiet=True)
    return _SOUNDS * seconds["invert"] / _CLIPS


def _ours(plan: Plan) -> tuple[float, float]:
    """Return a clip's seconds in the forward pass, and from submit to WAV when many are submitted."""
    folder = plan.dataset(plan.sizes.jobs)
    with bare_loop(plan, folder) as loop:
        forward_s = medians_s({"forward": lambda: loop("forward", _CLIPS)}, plan.sizes.rounds)["forward"]
    settings, cores = plan.settings("floor", threads=1), len(os.sched_getaffinity(0))
    with workers(settings, count=cores) as producer, Dataset.open(folder) as dataset:
        ids = list(dataset.ids())

        def render() -> None:
            finish(producer.reconstruct(ids, dataset=folder, model=plan.model, output=plan.work / "out"))

        pipeline_s = medians_s({"pipeline": render}, plan.sizes.rounds)["pipeline"]
    return forward_s / _CLIPS, pipeline_s / len(ids)


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started

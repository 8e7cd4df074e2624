"""Finds devices, and pins a process to one before TensorFlow is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from wavemill.cores import available_cores
from wavemill.errors import UsageError
from wavemill.rendering.device_kinds import DeviceKind, device_kind

CPU = "cpu"
_OWN_WORDS = frozenset({CPU, "auto", "all"})
_DEVICE_VARIABLE = "WAVEMILL_DEVICE"
_KIND_VARIABLE = "WAVEMILL_DEVICE_OF_KIND"  # the device, if it is neither the CPU nor a GPU
_THREADS_VARIABLE = "WAVEMILL_CHILD_THREADS"


def discover_gpus() -> list[str]:
    """Return the indices of the GPUs that this process may use. Asks NVML, not TensorFlow.

    `CUDA_VISIBLE_DEVICES`, which a container or a scheduler may set, is respected.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [device.strip() for device in chosen.split(",") if device.strip() not in {"", "-1"}]
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [str(index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def parse_devices(text: str, gpus: Sequence[str]) -> list[str]:
    """Turn `--devices` into a list of `cpu`, GPU indices, or a device of another kind.

    `auto` is every GPU, or the CPU if there is none. `all` is every GPU, and an error if there is
    none. `0,1` names GPUs. Other packages may add more kinds: see `wavemill.rendering.device_kinds`.
    """
    if text == CPU or (text == "auto" and not gpus):
        return [CPU]
    if is_of_another_kind(text):
        return [text]
    if text in {"auto", "all"}:
        if not gpus:
            raise UsageError(
                "--devices all: no GPU was found; use --devices cpu, or install wavemill[gpu] and a driver"
            )
        return list(gpus)
    wanted = [part.strip() for part in text.split(",")]
    if missing := [device for device in wanted if device not in gpus]:
        raise UsageError(
            f"--devices {text}: there is no GPU {', '.join(missing)}; found: {', '.join(gpus) or 'none'}. "
            "Expected auto, cpu, all, or indices such as 0,1"
        )
    if len(set(wanted)) < len(wanted):
        raise UsageError(f"--devices {text}: a GPU is named twice; for more processes on each, use --per-device")
    return wanted


def is_of_another_kind(text: str) -> bool:
    """Whether the device is of a kind that a package has added, see `wavemill.rendering.device_kinds`.

    UsageError if it is, but its options are wrong.
    """
    return text not in _OWN_WORDS and device_kind(text) is not None


def is_gpu(device: str) -> bool:
    """Whether the device is a GPU, given by its index or UUID."""
    return device != CPU and not is_of_another_kind(device)


def name(device: str) -> str:
    """Return a device's name in worker IDs and in the table: `cpu`, `gpu0`."""
    return f"gpu{device}" if is_gpu(device) else device


def environment(device: str, *, n_threads: int) -> dict[str, str]:
    """Return the variables that pin a process to a device; they must be set before TensorFlow is imported."""
    threads = str(n_threads)
    return {
        "CUDA_VISIBLE_DEVICES": device if is_gpu(device) else "-1",
        **_order(),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OMP_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        _DEVICE_VARIABLE: name(device),
        _KIND_VARIABLE: device if is_of_another_kind(device) else "",
        _THREADS_VARIABLE: threads,
    }


def _order() -> dict[str, str]:
    # NVML numbers GPUs by their place on the bus, CUDA by their speed by default. Use NVML's order,
    # unless the user has chosen GPUs already, in an order of their own.
    return {} if "CUDA_VISIBLE_DEVICES" in os.environ else {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def current(variables: Mapping[str, str] = os.environ) -> str:
    """Return the name of the device that this process is pinned to."""
    return variables.get(_DEVICE_VARIABLE, CPU)


def current_kind(variables: Mapping[str, str] = os.environ) -> DeviceKind | None:
    """Return the kind of this process's device if a package has added it; None for the CPU and GPUs."""
    device = variables.get(_KIND_VARIABLE)
    return device_kind(device) if device else None


def current_threads(variables: Mapping[str, str] = os.environ) -> int:
    """Return the number of CPU threads that this process may use."""
    return int(variables.get(_THREADS_VARIABLE, "1"))


def threads_per_process(n_processes: int, configured: int) -> int:
    """Return the threads per process: `configured`, or if 0 an equal share of the cores."""
    return configured or max(1, available_cores() // n_processes)


def configure_tensorflow(n_threads: int) -> None:
    """Limit TensorFlow to `n_threads` and let GPU memory grow. Call it before any other use.

    On a CPU, batches run in parallel and each operation uses one thread: see
    `wavemill.vae.network.forward`.
    """
    # Keras imports scikit-learn if librosa has installed it. That takes a quarter of the start-up
    # time, for wrappers that are not used here.
    sys.modules["sklearn"] = None  # type: ignore[assignment]
    from wavemill.keras_seam import tf

    del sys.modules["sklearn"]
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(n_threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def limit_gpu_memory(megabytes: int) -> None:
    """Limit this process's GPU memory; 0 is no limit. Call it after `configure_tensorflow`."""
    if not megabytes:
        return
    from wavemill.keras_seam import tf

    for gpu in tf.config.list_physical_devices("GPU"):
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=megabytes)
        tf.config.set_logical_device_configuration(gpu, [limit])

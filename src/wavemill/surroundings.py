"""Shield wavemill's processes from other programs' variables and from modules in the working folder.

Changes `os.environ` and `sys.path`. Only the command line and the workers call `settle`: as a library,
wavemill leaves the process alone.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Celery prefers CELERY_* to the settings passed to it. The others make Keras, numba, TensorFlow, XLA
# and oneDNN compute different bits, or fail.
_OTHERS = ("CELERY_", "DNNL_", "KERAS_", "NUMBA_", "ONEDNN_", "TF_", "XLA_")
_OTHERS_NAMED = {"MPLBACKEND", "NVIDIA_TF32_OVERRIDE"}  # MPLBACKEND: plots are only written to files
# These set verbosity, memory, threads and folders, which do not change results. NUMBA_CPU_* is kept
# for hosts that need the same machine code on several kinds of CPU.
_KEPT = (
    "NUMBA_CACHE_",
    "NUMBA_CPU_",
    "NUMBA_CUDA_",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
    "TF_CPP_",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "TF_GPU_HOST_MEM_LIMIT_IN_MB",
    "TF_GPU_THREAD_COUNT",
    "TF_GPU_THREAD_MODE",
)
_XLA = "XLA_FLAGS"
_CUDA_FOLDER = "--xla_gpu_cuda_data_dir="  # kept: where CUDA is depends on the host
_CACHES = "XDG_CACHE_HOME"
_NUMBA = "NUMBA_CACHE_DIR"
_SAFE_PATH = "PYTHONSAFEPATH"  # keeps child processes from importing from their working folder
_PATH = "PYTHONPATH"


def settle() -> None:
    """Make this process and its children behave the same everywhere; call before other imports."""
    _forget_the_working_folder()
    _drop_variables()
    _find_a_cache()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # hide TensorFlow's start-up messages


def _forget_the_working_folder() -> None:
    """Stop imports from the working folder, unless PYTHONPATH names it.

    An empty entry in PYTHONPATH, as `PYTHONPATH=$PYTHONPATH:/opt/x` makes it, names nothing.
    """
    here = str(Path.cwd()) if _is_somewhere() else ""
    if not sys.flags.safe_path and sys.path and sys.path[0] in {"", here}:
        del sys.path[0]  # as `python -m` puts it there
    if given := os.environ.get(_PATH):
        entries = given.split(os.pathsep)
        named = [entry for entry in entries if entry]
        for _ in range(len(entries) - len(named)):
            if here in sys.path:
                sys.path.remove(here)  # the first; PYTHONPATH comes before all others
        os.environ[_PATH] = os.pathsep.join(named)
    os.environ[_SAFE_PATH] = "1"


def _is_somewhere() -> bool:
    """Whether the working folder still exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _drop_variables() -> None:
    flags = [flag for flag in os.environ.get(_XLA, "").split() if flag.startswith(_CUDA_FOLDER)]
    for name in list(os.environ):
        if (name.startswith(_OTHERS) and not name.startswith(_KEPT)) or name in _OTHERS_NAMED:
            del os.environ[name]
    if flags:
        os.environ[_XLA] = " ".join(flags)


def _find_a_cache() -> None:
    """Provide a cache folder where libraries would find none: librosa cannot be imported without one."""
    caches = Path(os.environ.get(_CACHES) or os.path.expanduser("~/.cache"))  # noqa: PTH111  pathlib would raise
    if not caches.is_absolute() and (folder := _private_folder()) is not None:  # there is no home
        os.environ[_CACHES] = str(folder)
        caches = folder
    given = [Path(folder) for folder in (os.environ.get(_NUMBA),) if folder]
    if all(_may_write(folder) for folder in _where_numba_is_used()) or any(map(_may_make, [*given, caches / "numba"])):
        return
    if (folder := _private_folder()) is not None:
        os.environ[_NUMBA] = str(folder)


def _where_numba_is_used() -> list[Path]:
    """Return the folders of packages with numba-compiled code, without importing them."""
    from importlib.util import find_spec

    folders = []
    for name in ("wavemill.inversion", "librosa"):
        spec = find_spec(name)
        folders += [Path(folder) for folder in (spec.submodule_search_locations or () if spec else ())]
    return folders


def _may_write(folder: Path) -> bool:
    cache = folder / "__pycache__"
    return os.access(cache if cache.exists() else folder, os.W_OK)


def _may_make(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _private_folder() -> Path | None:
    """Return a temporary folder that only this user can write to, as code from it is executed; None if unsafe."""
    folder = Path(tempfile.gettempdir()) / f"wavemill-caches-{os.geteuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    return folder if status.st_uid == os.geteuid() and not status.st_mode & 0o022 and folder.is_dir() else None

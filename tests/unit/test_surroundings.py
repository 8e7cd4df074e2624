"""What of the user's surroundings changes nothing. Each check is a process of its own: it changes its environment."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHADOWS = ("random", "queue", "json", "types", "numpy", "socket", "sqlalchemy", "celeryconfig", "wavemill_worker")
_REPORT = "print(json.dumps({'environment': dict(os.environ), 'path': sys.path}))"


def python(folder: Path, *arguments: str, **environment: str) -> str:
    """Run Python in a folder as a user would, and return what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def settled(folder: Path, **environment: str) -> dict:
    code = f"import json, os, sys; from wavemill.surroundings import settle; settle(); {_REPORT}"
    return json.loads(python(folder, "-P", "-c", code, **environment))


@pytest.fixture
def shadows(tmp_path: Path) -> Path:
    """A folder of modules that have names of others, and say so when they are imported."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported from the working folder')")
    return tmp_path


def test_variables_of_other_programs_are_dropped(tmp_path: Path) -> None:
    others = {
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "CELERY_CONFIG_MODULE": "celeryconfig",
        "KERAS_BACKEND": "torch",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
        "NVIDIA_TF32_OVERRIDE": "0",
        "NUMBA_DISABLE_JIT": "1",
        "MPLBACKEND": "bogus",
    }
    kept = {
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TF_GPU_ALLOCATOR": "cuda_malloc_async",
        "CUDA_VISIBLE_DEVICES": "1",
        "NUMBA_CPU_NAME": "generic",
    }
    xla = "--xla_cpu_enable_fast_math=true --xla_gpu_cuda_data_dir=/opt/cuda"
    environment = settled(tmp_path, **others, **kept, XLA_FLAGS=xla)["environment"]
    assert not environment.keys() & others.keys()
    assert {name: environment[name] for name in kept} == kept
    assert environment["XLA_FLAGS"] == "--xla_gpu_cuda_data_dir=/opt/cuda"


@pytest.mark.parametrize(("given", "is_named"), [("{}:", False), (":{}", False), ("{}", False), ("{}:.", True)])
def test_the_working_folder_is_no_place_of_modules_unless_it_is_named(
    tmp_path: Path, given: str, is_named: bool
) -> None:
    paths = os.environ.get("PYTHONPATH") or str(REPOSITORY / "src")
    found = settled(tmp_path, PYTHONPATH=given.format(paths))
    assert (str(tmp_path) in found["path"]) is is_named
    for entry in paths.split(os.pathsep):
        assert entry in found["path"]
    assert found["environment"]["PYTHONSAFEPATH"] == "1"
    assert "" not in found["environment"]["PYTHONPATH"].split(os.pathsep)


def test_a_command_imports_nothing_from_the_working_folder(shadows: Path) -> None:
    command = str(Path(sys.executable).with_name("wavemill"))
    for arguments in (["status"], ["doctor", "--json"], ["model", "list"]):
        done = subprocess.run(
            [sys.executable, command, *arguments], cwd=shadows, capture_output=True, text=True, check=False
        )
        assert "was imported" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr


def test_a_working_folder_that_is_gone_is_no_traceback_of_ours(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os; os.rmdir(os.getcwd()); from wavemill.surroundings import settle; settle(); print('settled')"
    assert python(gone, "-P", "-c", code) == "settled\n"


def test_without_a_home_caches_go_to_a_private_folder(tmp_path: Path) -> None:
    variables = {"HOME": "no path", "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path)}
    folder = Path(settled(tmp_path, **variables)["environment"]["XDG_CACHE_HOME"])
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # as somebody else may have made it, with code in it
    assert settled(tmp_path, **variables)["environment"]["XDG_CACHE_HOME"] == ""


@pytest.mark.skipif(subprocess.run(["unshare", "-m", "true"], check=False).returncode != 0, reason="needs mounts")
def test_librosa_is_imported_from_a_read_only_installation(tmp_path: Path) -> None:
    (librosa,) = importlib.util.find_spec("librosa").submodule_search_locations
    code = "from wavemill.surroundings import settle; settle(); import librosa.util.utils, numba; print('imported')"
    done = subprocess.run(
        [
            "unshare", "-m", "sh", "-c",
            'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"', librosa,
            sys.executable, "-P", "-c", code,
        ],
        env={**os.environ, "HOME": "/proc/none", "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "imported\n", done.stderr


def test_a_celery_app_keeps_to_its_own_settings(tmp_path: Path) -> None:
    (tmp_path / "celeryconfig.py").write_text("broker_url = 'redis://127.0.0.1:1/9'\ntask_serializer = 'pickle'")
    code = """
from wavemill import contract, transport
from celery import Celery
seen = []
app = Celery("x", **contract.app_arguments("redis://127.0.0.1:2/0"))
for connect in (app.connection_for_read, app.connection_for_write):
    connection = transport._made(connect, app.conf["broker_url"])
    print(connection.port, connection.virtual_host, app.conf.task_serializer, app.conf.task_acks_late)
"""
    printed = python(
        tmp_path, "-c", code,
        CELERY_BROKER_URL="redis://127.0.0.1:1/9", CELERY_BROKER_READ_URL="redis://127.0.0.1:1/9",
        CELERY_BROKER_WRITE_URL="redis://127.0.0.1:1/9", CELERY_CONFIG_MODULE="celeryconfig",
        CELERY_LOADER="celery.loaders.default:Loader", DJANGO_SETTINGS_MODULE="nowhere.settings",
    )  # fmt: skip
    assert printed == "2 0 json True\n" * 2


def test_keras_and_tensorflow_are_imported_through_their_seam_alone() -> None:
    for folder in ("src", "producer", "worker"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            lines = [line.strip() for line in file.read_text().splitlines()]
            direct = [line for line in lines if line.startswith(("import keras", "from keras", "import tensorflow"))]
            assert not direct or file.name == "keras_seam.py", f"{file}: {direct}"


def test_tensorflow_says_nothing_of_itself_and_others_are_heard(tmp_path: Path) -> None:
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}
    code = "import sys; import wavemill.keras_seam; print('here', file=sys.stderr)"
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.stderr == "here\n"
    (tmp_path / "tensorflow.py").write_text("import os; os.write(2, b'F0000 no AVX on this machine\\n'); os.abort()")
    command[3] = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.stderr == "F0000 no AVX on this machine\n"

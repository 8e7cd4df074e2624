"""Keras and TensorFlow, imported so that nobody's Keras settings change a network: import both from here.

KERAS_BACKEND and `keras.json`, which is looked for in the home folder, would choose another backend, type of numbers or
order of axes, or end the import.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from wavemill.errors import UsageError

_NO_SETTINGS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": f"{os.devnull}/keras"}  # no folder can be there
_STDERR = 2
_FILTER_S = 5.0
_CHATTER = (
    r"^(WARNING: All log messages before absl::InitializeLog|I[0-9]{4} [0-9:.]+ +[0-9]+ [a-z_]+\.cc:|"
    r"To enable the following instructions)"
)


@contextmanager
def _variables(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Filter standard error while TensorFlow is imported, unless TF_CPP_MIN_LOG_LEVEL asks for all or says nothing.

    It reports on oneDNN and the CPU whatever that level is. The filter is a process of its own, so that the last words
    of an import that aborts this one get through.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "0") == "0":
        yield
        return
    sys.stderr.flush()
    own = os.dup(_STDERR)
    try:
        filtering = subprocess.Popen(["grep", "-v", "-E", _CHATTER], stdin=subprocess.PIPE, stdout=own)  # noqa: S607
    except OSError:
        os.close(own)
        yield
        return
    assert filtering.stdin is not None
    os.dup2(filtering.stdin.fileno(), _STDERR)
    filtering.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(own, _STDERR)
        os.close(own)
        with suppress(subprocess.TimeoutExpired):  # something that was started meanwhile may still hold the pipe
            filtering.wait(_FILTER_S)


with _without_chatter(), _variables(_NO_SETTINGS):
    import keras
    import tensorflow as tf  # imports Keras
    from keras import layers

if keras.config.backend() != "tensorflow":
    raise UsageError(
        f"Keras was imported with the backend {keras.config.backend()!r} before, and wavemill's networks run on "
        "TensorFlow: set KERAS_BACKEND=tensorflow"
    )

__all__ = ["keras", "keras_defaults", "layers", "tf"]


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Build networks with the defaults of Keras, whatever this process has set for networks of its own."""
    config = keras.config
    before = (config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy())
    _set("float32", 1e-7, "channels_last", "float32")
    try:
        yield
    finally:
        _set(*before)


def _set(floatx: str, epsilon: float, image_data_format: str, dtype_policy: object) -> None:
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_dtype_policy(dtype_policy)

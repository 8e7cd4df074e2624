"""Keras and TensorFlow, imported without the user's Keras settings. Import both from here.

The variable KERAS_BACKEND and the file `keras.json` in the home folder could choose another
backend, number type or axis order, or make the import fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from wavemill.errors import UsageError

_NO_SETTINGS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": f"{os.devnull}/keras"}  # no folder can exist there
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
    """Filter TensorFlow's messages out of standard error while it is imported.

    TensorFlow reports on oneDNN and the CPU at any TF_CPP_MIN_LOG_LEVEL. Nothing is filtered if
    that variable is 0 or unset. The filter is a separate process, so that the last message of an
    import that aborts this process still gets through.
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
        with suppress(subprocess.TimeoutExpired):  # a process started during the import may still hold the pipe
            filtering.wait(_FILTER_S)


with _without_chatter(), _variables(_NO_SETTINGS):
    import keras
    import tensorflow as tf  # imports Keras
    from keras import layers

if keras.config.backend() != "tensorflow":
    raise UsageError(
        f"Keras was already imported with the backend {keras.config.backend()!r}, but wavemill's networks need "
        "TensorFlow: set KERAS_BACKEND=tensorflow"
    )

__all__ = ["keras", "keras_defaults", "layers", "tf"]


@contextmanager
def keras_defaults() -> Iterator[None]:
    """Build networks with Keras's own defaults, whatever this process has set for others."""
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

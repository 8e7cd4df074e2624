"""Keras and TensorFlow, imported so that nobody's Keras settings change a network: import both from here.

KERAS_BACKEND and `keras.json`, which is looked for in the home folder, would choose another backend, type of numbers or
order of axes, or end the import.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from wavemill.errors import UsageError

_NO_SETTINGS = {"KERAS_BACKEND": "tensorflow", "KERAS_HOME": f"{os.devnull}/keras"}  # no folder can be there


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


with _variables(_NO_SETTINGS):
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

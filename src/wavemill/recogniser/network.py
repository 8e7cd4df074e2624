"""The recogniser's network: convolutions over a log-mel picture, one softmax for each kind of label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wavemill.keras_seam import keras, keras_defaults, layers

Tensor = Any

EMBEDDING_DIM = 64


def convolution(x: Tensor, filters: int, kernel: tuple[int, int], *, name: str, padding: str = "same") -> Tensor:
    """Apply convolution -> batch norm -> ReLU."""
    x = layers.Conv2D(filters, kernel, padding=padding, use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)


@keras_defaults()
def build_recogniser(shape: tuple[int, int], labels: Mapping[str, Sequence[str]]) -> keras.Model:
    """Build a network with fresh weights.

    Parameters
    ----------
    shape : (n_bands, n_frames)
    labels : the values of each kind of label, such as {"digit": ["0", "1"], "speaker": ["ann", "ben"]}

    Returns
    -------
    keras.Model
        (B, n_bands, n_frames, 1) -> {"embedding": (B, 64), and logits (B, values) by kind of label}
    """
    inputs = layers.Input((*shape, 1), name="picture")
    x = inputs
    for number, filters in enumerate((32, 48, 64), start=1):
        x = convolution(x, filters, (3, 3), name=f"picture{number}")
        x = layers.MaxPooling2D(2, name=f"picture{number}_pool")(x)  # (B, M, T, C) -> (B, M/2, T/2, C')
    # A vowel is a pattern over all bands: fold the frequency axis into channels, then convolve over
    # time.
    x = convolution(x, 96, (x.shape[1], 1), name="fold", padding="valid")  # -> (B, 1, T/8, 96)
    x = convolution(x, 96, (1, 3), name="time")
    mean = layers.GlobalAveragePooling2D(name="mean")(x)
    peak = layers.GlobalMaxPooling2D(name="peak")(x)
    x = layers.Concatenate(name="summary")([mean, peak])  # -> (B, 192)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(EMBEDDING_DIM, activation="relu", name="embedding")(x)
    heads = {kind: layers.Dense(len(values), name=f"label_{kind}")(x) for kind, values in labels.items()}
    return keras.Model(inputs, {"embedding": x, **heads}, name="recogniser")

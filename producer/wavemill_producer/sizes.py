"""The usual size of a sound, for estimates of disk space."""

from __future__ import annotations

from math import ceil

from wavemill.dataset.index import Dataset
from wavemill.operations.formats import FORMATS, stored_rate_hz
from wavemill.operations.requests import Params
from wavemill.presets import Features
from wavemill_producer.checks import CheckedModel


def sound_bytes(dataset: Dataset | None, model: CheckedModel | None, params: Params) -> int:
    """Return the usual size of a sound, for an estimate of the space that a batch takes."""
    features = model.features if dataset is None and model else _features(dataset)
    duration_s = features.duration_s if dataset is None else dataset.usual_duration_s
    form, rate_hz = FORMATS[params.format], features.sample_rate_hz
    stored_hz = params.output_rate_hz or stored_rate_hz(params.format, rate_hz)
    return form.header_bytes + ceil(form.sample_bytes * duration_s * stored_hz)


def _features(dataset: Dataset | None) -> Features:
    assert dataset is not None  # every operation has a model or a dataset
    return dataset.features

"""The baseline: what a course's script does with the same model, clip after clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import soundfile

from wavemill.audio.features import to_magnitude
from wavemill.dataset.decibels import read_db
from wavemill.dataset.index import Dataset
from wavemill.vae.model import Model
from wavemill.vae.network.scaling import db_to_network, network_to_db


def run_course_script(
    model: Model, dataset: Dataset, ids: Sequence[str], output: Path, *, originals: bool = True
) -> None:
    """Reconstruct `ids` with `predict` in Keras's default batches of 32, then Griffin-Lim and a WAV, one by one.

    As the course's own script does, it then makes a sound of each untouched spectrogram, too, unless told not to.
    """
    features = model.features
    entries = [dataset.get(ID) for ID in ids]
    decibels = np.stack([read_db(dataset, e) for e in entries])  # (B, F, T)
    scheme = dict(model.record.normalisation)
    mean = model.network.encoder.predict(db_to_network(decibels, scheme)[..., None], verbose=0)[0]
    x = model.network.decoder.predict(mean, verbose=0)[..., 0]
    peak_db, floor_db = decibels.max(axis=(1, 2)), decibels.min(axis=(1, 2))
    decoded = network_to_db(x, scheme, peak_db=peak_db, floor_db=floor_db)
    for kind, made in {"generated": decoded, **({"original": decibels} if originals else {})}.items():
        folder = output / kind
        folder.mkdir(parents=True, exist_ok=True)
        for k, magnitude in enumerate(to_magnitude(made, features)):
            signal = librosa.griffinlim(magnitude, n_iter=32, n_fft=features.n_fft, hop_length=features.hop_length)
            soundfile.write(folder / f"{k}.wav", signal, features.sample_rate_hz)

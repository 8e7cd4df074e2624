"""Spectrogram pictures for the page, as PNG bytes."""

from __future__ import annotations

import io

from matplotlib import rc_context, rcParamsDefault
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from wavemill.arrays import FloatArray
from wavemill.audio.features import extract, pad_or_cut
from wavemill.presets import Features

RANGE_DB = 60.0
_INCHES, _DOTS_PER_INCH = (3.0, 2.0), 110


@rc_context(rcParamsDefault)  # ignore any `matplotlibrc` file in the working or home folder
def spectrogram_png(sound: FloatArray, features: Features, *, loudest_db: float, seconds: float) -> bytes:
    """Draw the spectrogram of a sound at the rate of the features.

    Parameters
    ----------
    sound : float32 [shape=(samples,)]
    loudest_db : float
        Level of the brightest colour; use the same for all pictures to be compared.
    seconds : float > 0
        Length of the time axis.
    """
    n_samples = max(len(sound), features.n_samples)
    db = extract(pad_or_cut(sound, n_samples), features)  # (F, T)
    figure = Figure(figsize=_INCHES, dpi=_DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(
        db,
        origin="lower",
        aspect="auto",
        cmap="magma",
        interpolation="nearest",  # no smoothing on top of a model's blur; a third of the bytes
        vmin=loudest_db - RANGE_DB,
        vmax=loudest_db,
        extent=(0, db.shape[1] * features.hop_length / features.sample_rate_hz, 0, features.sample_rate_hz / 2_000),
    )
    axes.set_xlim(0, seconds)
    axes.set_xlabel("s", fontsize=8)
    axes.set_ylabel("kHz", fontsize=8)
    axes.tick_params(labelsize=8)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})  # the same bytes from any version
    return file.getvalue()


def loudest_db(sound: FloatArray, features: Features) -> float:
    """Return the greatest level in a sound's spectrogram, in dB."""
    return float(extract(pad_or_cut(sound, max(len(sound), features.n_samples)), features).max())

"""Encodes a waveform as a sound file, below full scale. The same waveform gives the same bytes."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from wavemill.arrays import FloatArray
from wavemill.audio.loudness import Loudness, set_loudness
from wavemill.audio.ogg import with_steady_number
from wavemill.errors import AudioError, UsageError
from wavemill.operations.formats import FORMATS, Encoding, stored_rate_hz

STEP = 2.0**-15  # one step of 16-bit PCM
_CEILING = 0.99  # peak that louder signals are scaled to, so that no sample reaches full scale in any format

BLOCK_SAMPLES = 2**16  # written at a time: libsndfile overflows its stack on minutes of Vorbis at once


@dataclass(frozen=True, kw_only=True)
class EncodedAudio:
    """The bytes of a sound file, and measurements of its signal.

    All are of the signal at the file's rate, before a format that loses something has changed it.
    """

    data: bytes
    sample_rate_hz: int
    duration_s: float
    peak: float  # greatest absolute sample before the gain; full scale is 1.0
    rms_dbfs: float  # root mean square of the samples as written, in dB re full scale; at least -120
    gain: float  # factor applied to every sample: 1.0 unless a loudness was asked for, or the peak was over 0.99
    clipped: int  # samples over full scale after the gain
    silent: bool  # no sample reaches one step of 16-bit PCM
    loudness: Loudness | None  # None unless a loudness was asked for


def encode(
    signal: FloatArray,
    sample_rate_hz: int,
    *,
    form: str = "wav",
    output_rate_hz: int | None = None,
    loudness_lufs: float | None = None,
    comment: str = "",
) -> EncodedAudio:
    """Encode a waveform as a sound file in memory.

    Parameters
    ----------
    signal : float32 [shape=(samples,)], samples > 0
        Full scale is 1.0. A signal that peaks over 0.99 is scaled down as a whole, to 0.99.
    sample_rate_hz : int > 0
    form : str
        One of `wavemill.operations.formats.FORMATS`.
    output_rate_hz : int, optional
        Rate of the file. None: the signal's rate, or the next that the format has.
    loudness_lufs : float, optional
        Loudness of the file, see `wavemill.audio.loudness`. None: the level of the signal.
    comment : str
        Kept in the file's metadata: the comment field of WAV (INFO, ICMT), FLAC, Ogg and MP3. MP3
        keeps ASCII only.

    Returns
    -------
    EncodedAudio
        Its bytes are always the same for the same arguments.

    Raises
    ------
    AudioError
        The signal is empty, not one-dimensional, or holds NaN or infinity.
    UsageError
        There is no such format.
    """
    if form not in FORMATS:
        raise UsageError(f"there is no output format {form!r}; choose one of: {', '.join(FORMATS)}")
    rate_hz = output_rate_hz or stored_rate_hz(form, sample_rate_hz)
    resampled = _resampled(signal, sample_rate_hz, rate_hz)
    peak = float(np.abs(resampled).max())
    loudness = None if loudness_lufs is None else set_loudness(resampled, rate_hz, lufs=loudness_lufs)
    gain = loudness.gain if loudness else gain_for(peak)
    scaled = np.asarray(resampled if gain == 1.0 else resampled * gain, dtype=np.float32)
    return EncodedAudio(
        data=_file(scaled, rate_hz, FORMATS[form], comment),
        sample_rate_hz=rate_hz,
        duration_s=len(scaled) / rate_hz,
        peak=peak,
        rms_dbfs=level_dbfs(float(np.dot(scaled, scaled)) / scaled.size),
        gain=gain,
        clipped=int(np.count_nonzero(np.abs(scaled) > 1.0)),
        silent=peak < STEP,
        loudness=loudness,
    )


def _resampled(signal: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    """Return the signal at another rate, as long as before to the nearest sample."""
    # If any sample is NaN, so are max() and min().
    if signal.ndim != 1 or not signal.size or not math.isfinite(max(signal.max(), -signal.min())):
        raise AudioError(f"expected a waveform of finite samples, received {signal.dtype} of shape {signal.shape}")
    if from_hz == to_hz:
        return signal
    n_samples = max(round(len(signal) * to_hz / from_hz), 1)
    made = soxr.resample(signal, from_hz, to_hz)[:n_samples]
    return np.pad(made, (0, n_samples - len(made)))


def gain_for(peak: float) -> float:
    """Return the gain for a signal with this peak: 1.0, or what brings it below full scale."""
    return _CEILING / peak if peak > _CEILING else 1.0


def within_peak(signal: FloatArray, peak: float) -> FloatArray:
    """Limit a sound to the peak of its source, or to what a file holds if that is more.

    Inversion gives loud sources single samples above their peak. Scaling the sound until they fit would
    make all of it softer, by up to 2.5 dB; `gain_for` then scales it only as it would scale the source.
    """
    most = max(peak, _CEILING)
    return signal if np.isinf(most) else np.clip(signal, -most, most)


def level_dbfs(power: float) -> float:
    """Return a mean square in dB re full scale; at least -120."""
    return max(10 * math.log10(power + 1e-12), -120.0)


def opened_for_writing(file: io.BytesIO | Path, rate_hz: int, form: Encoding, comment: str) -> soundfile.SoundFile:
    """Open a sound file in one of the formats. When it is closed, `steady` makes its bytes the same each time."""
    sound = soundfile.SoundFile(
        file, "w", rate_hz, 1, subtype=form.subtype, format=form.container, compression_level=form.compression
    )
    if comment:
        sound.comment = comment
    return sound


def steady(data: bytes, form: Encoding) -> bytes:
    """Return a sound file without what libsndfile takes from the clock."""
    if form.container == "OGG":
        return with_steady_number(data)
    return _without_time_of_writing(data) if form.subtype == "FLOAT" else data


def _file(signal: FloatArray, rate_hz: int, form: Encoding, comment: str) -> bytes:
    file = io.BytesIO()
    with opened_for_writing(file, rate_hz, form, comment) as sound:
        for start in range(0, len(signal), BLOCK_SAMPLES):
            sound.write(signal[start : start + BLOCK_SAMPLES])
    return steady(file.getvalue(), form)


def _without_time_of_writing(wav: bytes) -> bytes:
    """Zero the time stamp that libsndfile puts into the PEAK chunk of a float WAV.

    A RIFF file is a 12-byte head, then chunks of: name (4 bytes), size (4, little-endian), content padded to even.
    PEAK's content starts with its version and the time in seconds, 4 bytes each.
    """
    position = 12
    while position + 8 <= len(wav):
        name, size = struct.unpack_from("<4sI", wav, position)
        if name == b"PEAK":
            return wav[: position + 12] + bytes(4) + wav[position + 16 :]
        position += 8 + size + size % 2
    return wav

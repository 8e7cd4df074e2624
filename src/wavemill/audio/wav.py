"""Encodes a waveform as a sound file, below full scale. The same waveform gives the same bytes."""

from __future__ import annotations

import io
import math
import struct
from dataclasses import dataclass

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavemill.errors import AudioError, UsageError

# The sample formats of each container. Ogg is left out: it has a random stream number, so its bytes
# differ each time.
SUBTYPES = {"WAV": ("PCM_16", "PCM_24", "FLOAT"), "FLAC": ("PCM_16", "PCM_24")}

STEP = 2.0**-15  # one step of 16-bit PCM
_CEILING = 0.99  # peak that louder signals are scaled to, so that no sample reaches full scale in any format


@dataclass(frozen=True, kw_only=True)
class EncodedAudio:
    """The bytes of a sound file, and measurements of its signal."""

    data: bytes
    duration_s: float
    peak: float  # greatest absolute sample before the gain; full scale is 1.0
    rms_dbfs: float  # root mean square of the samples as written, in dB re full scale; at least -120
    gain: float  # factor applied to every sample: 1.0 unless the peak was over 0.99
    clipped: int  # samples over full scale after the gain
    silent: bool  # no sample reaches one step of 16-bit PCM


def encode(
    signal: NDArray[np.float32],
    sample_rate_hz: int,
    *,
    subtype: str = "PCM_16",
    container: str = "WAV",
    comment: str = "",
) -> EncodedAudio:
    """Encode a waveform as a sound file in memory.

    Parameters
    ----------
    signal : float32 [shape=(samples,)], samples > 0
        Full scale is 1.0. A signal that peaks over 0.99 is scaled down as a whole, to 0.99.
    sample_rate_hz : int > 0
    subtype, container : str
        One of `SUBTYPES`.
    comment : str
        Kept in the file's metadata: the comment field of WAV (INFO, ICMT) and FLAC.

    Returns
    -------
    EncodedAudio
        Its bytes are always the same for the same signal and comment.

    Raises
    ------
    AudioError
        The signal is empty, not one-dimensional, or holds NaN or infinity.
    UsageError
        The container cannot hold that subtype.
    """
    if subtype not in SUBTYPES.get(container, ()):
        known = "; ".join(f"{name}: {', '.join(held)}" for name, held in SUBTYPES.items())
        raise UsageError(f"{container} with {subtype} is not among the output formats ({known})")
    # If any sample is NaN, so are max() and min().
    peak = float(max(signal.max(), -signal.min())) if signal.ndim == 1 and signal.size else math.nan
    if not math.isfinite(peak):
        raise AudioError(f"expected a waveform of finite samples, received {signal.dtype} of shape {signal.shape}")
    gain = gain_for(peak)
    scaled = np.asarray(signal if gain == 1.0 else signal * gain, dtype=np.float32)
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", sample_rate_hz, 1, subtype=subtype, format=container) as sound:
        if comment:
            sound.comment = comment
        sound.write(scaled)
    return EncodedAudio(
        data=_without_time_of_writing(file.getvalue()) if subtype == "FLOAT" else file.getvalue(),
        duration_s=len(signal) / sample_rate_hz,
        peak=peak,
        rms_dbfs=level_dbfs(float(np.dot(scaled, scaled)) / scaled.size),
        gain=gain,
        clipped=int(np.count_nonzero(np.abs(scaled) > 1.0)),
        silent=peak < STEP,
    )


def gain_for(peak: float) -> float:
    """Return the gain for a signal with this peak: 1.0, or what brings it below full scale."""
    return _CEILING / peak if peak > _CEILING else 1.0


def level_dbfs(power: float) -> float:
    """Return a mean square in dB re full scale; at least -120."""
    return max(10 * math.log10(power + 1e-12), -120.0)


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

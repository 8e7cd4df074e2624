"""Reads what a sound file's header says, and measures the sound in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log2, log10
from pathlib import Path

import librosa
import numpy as np

from wavemill.arrays import FloatArray
from wavemill.audio.load import Recording, load_recording, sound_errors
from wavemill.audio.streams import SoundStream, open_sound
from wavemill.dataset.sources import RecordingFile
from wavemill.errors import AudioError
from wavemill.presets import preset

USED_DB = 60.0  # what is this far below a recording's loudest bin counts neither as bandwidth nor as sound
LISTEN_S = 20.0  # of a recording, at most this much is measured
_WINDOW_S = 0.032
_FRAMES_PER_BYTE = 1_000  # no format packs silence so densely: a header that states more is wrong
_BLOCK_FRAMES = 2**18
_SILENT_PEAK = 2.0**-15  # one step of 16-bit PCM
_LEAST_DBFS = -120.0


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says about its sound."""

    rate_hz: int
    channels: int
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The middle `LISTEN_S` of a recording, mixed to mono, at its own rate."""

    whole_s: float | None  # the length, if all of the recording was read
    peak_dbfs: float
    rms_dbfs: float
    bandwidth_hz: float | None  # highest frequency within `USED_DB` of the loudest bin; None for silence
    quiet_share: float  # of its time, in which all bins are `USED_DB` below the loudest one

    @property
    def silent(self) -> bool:
        """Whether no sample reaches one step of 16-bit PCM."""
        return self.bandwidth_hz is None


def read_header(folder: Path, recording: RecordingFile) -> Header:
    """Return rate, channels and length; AudioError if the file cannot be opened as sound, or is empty.

    A header that does not know the length, as of a stream, is not believed: the file is read to its
    end.
    """
    path = folder / recording.path
    with sound_errors(path.name), open_sound(path) as sound:
        n_frames = sound.frames
        if n_frames > recording.n_bytes * _FRAMES_PER_BYTE:
            n_frames = _count(sound)
        if n_frames == 0:
            raise AudioError(f"{path.name}: expected sound, received a file without samples")
        held_s = n_frames / sound.samplerate - recording.start_s
        if held_s <= 0:
            raise AudioError(f"{path.name}: expected sound from {recording.start_s:g} s on, but it ends before")
        duration_s = min(held_s, recording.length_s or held_s)
        return Header(rate_hz=sound.samplerate, channels=sound.channels, duration_s=duration_s)


def measure(folder: Path, recording: RecordingFile, header: Header) -> Measured:
    """Measure a recording; AudioError if no spectrogram can be made from it."""
    start_s = recording.start_s + max(0.0, (header.duration_s - LISTEN_S) / 2)
    longest_s = LISTEN_S if recording.length_s is None else min(LISTEN_S, recording.length_s)
    loaded = _loaded(folder / recording.path, header, start_s, longest_s)
    peak = float(np.abs(loaded.signal).max())
    rms = float(np.sqrt(np.mean(np.square(loaded.signal, dtype=np.float64))))
    whole_s = None if loaded.cut or start_s else loaded.duration_s
    if peak < _SILENT_PEAK:
        bandwidth_hz, quiet_share = None, 1.0
    else:
        bandwidth_hz, quiet_share = _extent(loaded.signal, header.rate_hz)
    return Measured(
        whole_s=whole_s,
        peak_dbfs=_dbfs(peak),
        rms_dbfs=_dbfs(rms),
        bandwidth_hz=bandwidth_hz,
        quiet_share=quiet_share,
    )


def _loaded(path: Path, header: Header, start_s: float, longest_s: float) -> Recording:
    native = replace(preset("digits"), sample_rate_hz=header.rate_hz)
    try:
        return load_recording(path, native, start_s=start_s, longest_s=longest_s)
    except AudioError:
        if not start_s:
            raise
    # A stream of unknown length, or a file that is cut off, has no middle to go to.
    return load_recording(path, native, longest_s=longest_s)


def _count(sound: SoundStream) -> int:
    count = 0
    while block := len(sound.read_start(_BLOCK_FRAMES)):
        count += block
    return count


def _extent(signal: FloatArray, rate_hz: int) -> tuple[float, float]:
    """Return the bandwidth in Hz, and the share of quiet frames.

    Windows lie within the recording: one over its edge would see a step, whose spectrum is wide.
    """
    n_fft = int(2 ** max(4, ceil(log2(_WINDOW_S * rate_hz))))
    padded = np.pad(signal, (0, max(0, n_fft - len(signal))))
    levels = np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=n_fft // 2, center=False))  # (F, T)
    floor = levels.max() * 10 ** (-USED_DB / 20)
    highest = np.flatnonzero(levels.max(axis=1) >= floor)[-1]
    return float(highest * rate_hz / n_fft), float(np.mean(levels.max(axis=0) < floor))


def _dbfs(amplitude: float) -> float:
    return max(_LEAST_DBFS, 20 * log10(max(amplitude, 1e-12)))

"""Splits long recordings into parts of one frame each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path

from wavemill.audio.load import sound_errors
from wavemill.audio.streams import open_sound
from wavemill.dataset.sources import RecordingFile
from wavemill.errors import AudioError

_ROUNDING = 1e-6  # of a frame
_MOST_PARTS = 10_000_000


def parts(recording: RecordingFile, audio_dir: Path, frame_s: float) -> Iterator[RecordingFile]:
    """Yield the parts of a recording, by the length that its header states.

    The parts of `song` are `song.0000`, `song.0001` and so on. A recording of at most one frame, or
    one that cannot be read, stays whole.
    """
    try:
        with sound_errors(recording.path), open_sound(audio_dir / recording.path) as sound:
            count = ceil(sound.frames / sound.samplerate / frame_s - _ROUNDING)
    except AudioError:
        count = 1
    if not 1 < count <= _MOST_PARTS:
        yield recording
        return
    for number in range(count):
        yield replace(recording, spectrogram_id=f"{recording.spectrogram_id}.{number:04d}", part=number)

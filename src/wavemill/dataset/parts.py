"""Parts of recordings: the frames of a long one, or those that a table names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

from wavemill.audio.load import sound_errors
from wavemill.audio.streams import open_sound
from wavemill.dataset.sources import Findings, RecordingFile
from wavemill.errors import AudioError

SHORTEST_S = 0.001
_SECONDS = r"([0-9]+(?:\.[0-9]+)?)"
_PART = re.compile(f"(.+)@{_SECONDS}-{_SECONDS}")
_FRAME = re.compile(r"(.+)([._])([0-9]{4,7})")
_ROUNDING = 1e-6  # of a frame
_MOST_PARTS = 10_000_000


@dataclass(frozen=True, kw_only=True)
class Part:
    """The part of a recording that a row of a table names."""

    start_s: float
    length_s: float

    @property
    def suffix(self) -> str:
        """What the part adds to the ID of its recording, such as `@12.5-14`: where it begins and ends, in seconds."""
        return f"@{_seconds(self.start_s)}-{_seconds(self.start_s + self.length_s)}"

    def of(self, recording: RecordingFile) -> RecordingFile:
        """Return the part of a recording."""
        return replace(
            recording,
            spectrogram_id=f"{recording.spectrogram_id}{self.suffix}",
            start_s=self.start_s,
            length_s=self.length_s,
        )


def frames_of_long(
    recording: RecordingFile, audio_dir: Path, frame_s: float, findings: Findings
) -> Iterator[RecordingFile]:
    """Yield the frames of a recording, by the length that its header states.

    The frames of `song` are `song.0000`, `song.0001` and so on; those of its part `song@12.5-14` are
    `song@12.5-14_0000` and so on. A recording of at most one frame stays whole. So does one that
    cannot be read: it counts as not examined, so that its frames of an earlier build are kept.
    """
    length_s = recording.length_s
    rounding = _ROUNDING if length_s is None else SHORTEST_S / frame_s  # tables round the times of parts
    try:
        with sound_errors(recording.path), open_sound(audio_dir / recording.path) as sound:
            count = ceil((length_s or sound.frames / sound.samplerate) / frame_s - rounding)
    except AudioError:
        findings.unexamined.add(recording.path)
        count = 1
    if not 1 < count <= _MOST_PARTS:
        yield recording
        return
    separator = "." if length_s is None else "_"
    for number in range(count):
        yield replace(
            recording,
            spectrogram_id=f"{recording.spectrogram_id}{separator}{number:04d}",
            start_s=recording.start_s + number * frame_s,
            length_s=None if length_s is None else min(frame_s, length_s - number * frame_s),
        )


def part_in(spectrogram_id: str, *, frame_s: float) -> tuple[str, Part] | None:
    """Return the recording's ID, and the part of it that a spectrogram's ID names.

    The ID is that of a part, such as `song@12.5-14`, of a frame of a long recording, such as `song.0002`,
    or of a frame of a part, such as `song@12.5-14_0002`. None for other IDs.
    """
    if match := _PART.fullmatch(spectrogram_id):
        start_s, end_s = float(match[2]), float(match[3])
        return (match[1], Part(start_s=start_s, length_s=end_s - start_s)) if start_s < end_s else None
    if match := _FRAME.fullmatch(spectrogram_id):
        first_s = int(match[3]) * frame_s
        if match[2] == ".":
            return match[1], Part(start_s=first_s, length_s=frame_s)
        if (whole := part_in(match[1], frame_s=frame_s)) and first_s < whole[1].length_s:
            length_s = min(frame_s, whole[1].length_s - first_s)
            return whole[0], Part(start_s=whole[1].start_s + first_s, length_s=length_s)
    return None


def _seconds(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")

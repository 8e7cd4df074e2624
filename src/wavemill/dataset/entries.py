"""The rows of a dataset's index, and checks of their values. Imports only the standard library."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from math import inf
from typing import Any

from wavemill.errors import SpectrogramError
from wavemill.labels import Labels, LabelValue, is_label_value
from wavemill.presets import MOST_LEVEL_DB

OLD_ENTRY_COLUMNS = "id, file, labels, min_db, max_db, duration_s, sha256, NULL"  # of an index without peaks
ENTRY_COLUMNS = OLD_ENTRY_COLUMNS.replace("NULL", "(SELECT peak FROM peaks WHERE peaks.id = spectrograms.id)")
# SQL for the labels of a row; '{}' if they are damaged, so that `json_each` does not fail.
READABLE_LABELS = "CASE WHEN typeof(labels) = 'text' AND json_valid(labels) THEN labels ELSE '{}' END"
_ROUNDING_S = 1e-3
_DIGEST = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One spectrogram in the index."""

    spectrogram_id: str
    file: str  # relative to the dataset's folder; in a packed dataset followed by "#" and the item's number
    labels: Labels
    min_db: float
    max_db: float
    duration_s: float  # of the sound, without padding
    sha256: str  # of the file; for an item of a pack, of the same item in its own file
    peak: float | None = None  # the recording's highest absolute sample; None if it is not known

    @property
    def scale(self) -> tuple[float, ...]:
        """The numbers that the sound depends on besides the file: least dB, greatest dB, length in s, and peak."""
        peak = () if self.peak is None else (self.peak,)
        return self.min_db, self.max_db, self.duration_s, *peak


def parse_row(row: tuple[Any, ...], *, longest_s: float) -> Entry:
    """Return the entry for a row of `ENTRY_COLUMNS`; SpectrogramError if a value is impossible."""
    spectrogram_id, file, labels, min_db, max_db, duration_s, sha256, peak = row
    if not (isinstance(file, str) and is_text(file) and file):
        raise _bad(spectrogram_id, "the name of a file", file)
    if not (
        isinstance(min_db, float) and isinstance(max_db, float) and -MOST_LEVEL_DB <= min_db <= max_db <= MOST_LEVEL_DB
    ):
        raise _bad(spectrogram_id, f"a range within {MOST_LEVEL_DB:.0f} dB of full scale", (min_db, max_db))
    if not (isinstance(duration_s, float) and 0 < duration_s <= longest_s + _ROUNDING_S):
        raise _bad(spectrogram_id, f"a length of up to {longest_s:.3f} s", duration_s)
    if not (isinstance(sha256, str) and _DIGEST.fullmatch(sha256)):
        raise _bad(spectrogram_id, "a SHA-256", sha256)
    if not (peak is None or (isinstance(peak, float) and 0 <= peak < inf)):
        raise _bad(spectrogram_id, "the peak of the recording", peak)
    return Entry(
        spectrogram_id=spectrogram_id,
        file=file,
        labels=_labels(spectrogram_id, labels),
        min_db=min_db,
        max_db=max_db,
        duration_s=duration_s,
        sha256=sha256,
        peak=peak or None,
    )


def is_text(value: str) -> bool:
    """Return whether text can be written as UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def parsed_labels(column: object) -> dict[str, LabelValue] | None:
    """Return the labels of a row; None if they are damaged."""
    try:
        labels = json.loads(column) if isinstance(column, str) else None
    except (ValueError, RecursionError):
        labels = None
    return labels if isinstance(labels, dict) and all(map(_is_label, labels.items())) else None


def _labels(spectrogram_id: str, column: object) -> dict[str, LabelValue]:
    if (labels := parsed_labels(column)) is not None:
        return labels
    raise _bad(spectrogram_id, "labels as a JSON object of texts and numbers", column)


def _is_label(label: tuple[str, object]) -> bool:
    name, value = label
    if isinstance(value, str):
        return is_text(name) and is_text(value)
    # Older builds kept whole numbers of any size.
    return is_text(name) and (is_label_value(value) or type(value) is int)


def _bad(spectrogram_id: str, expected: str, received: object) -> SpectrogramError:
    return SpectrogramError(
        f"{spectrogram_id}: its row in the index is damaged: expected {expected}, received {_shown(received)}; "
        "build the dataset again: wavemill dataset build"
    )


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(_shown(one) for one in value)
    return ascii(value)[:40]

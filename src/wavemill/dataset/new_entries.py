"""The rows of a dataset's index as the builder writes them: tables, statements and `NewEntry`."""

from __future__ import annotations

import json
from dataclasses import dataclass

from wavemill.labels import LabelValue

SPECTROGRAMS = """
CREATE TABLE IF NOT EXISTS spectrograms (
    id TEXT PRIMARY KEY,
    file TEXT NOT NULL,
    labels TEXT NOT NULL,           -- a JSON object of texts and numbers
    min_db REAL NOT NULL,
    max_db REAL NOT NULL,
    duration_s REAL NOT NULL,
    sha256 TEXT NOT NULL,
    cut INTEGER NOT NULL,           -- the recording was longer than the preset keeps
    source TEXT NOT NULL,           -- relative to the folder of recordings; with the next two, tells what changed
    source_bytes INTEGER NOT NULL,
    source_mtime_ns INTEGER NOT NULL
) WITHOUT ROWID
"""
# The recordings' highest absolute samples. A table of its own, since older datasets do not have it.
PEAKS = "CREATE TABLE IF NOT EXISTS peaks (id TEXT PRIMARY KEY, peak REAL) WITHOUT ROWID"
PUT_SPECTROGRAM = "INSERT OR REPLACE INTO spectrograms VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
PUT_PEAK = "INSERT OR REPLACE INTO peaks VALUES (?, ?)"


@dataclass(frozen=True, kw_only=True)
class NewEntry:
    """One spectrogram as the builder writes it into the index. Readers get `index.Entry`."""

    spectrogram_id: str
    file: str
    labels: dict[str, LabelValue]
    min_db: float
    max_db: float
    duration_s: float
    sha256: str
    cut: bool
    source: str
    source_bytes: int
    source_mtime_ns: int
    peak: float | None = None
    rate_hz: int = 0  # of the recording; this and the next are for reports, and not in the index
    channels: int = 1

    @property
    def silent(self) -> bool:
        """True if every value of the spectrogram is the same."""
        return self.min_db == self.max_db

    @property
    def row(self) -> tuple[str | float | int, ...]:
        """The values of `PUT_SPECTROGRAM`."""
        return (
            self.spectrogram_id,
            self.file,
            labels_json(self.labels),
            self.min_db,
            self.max_db,
            self.duration_s,
            self.sha256,
            self.cut,
            self.source,
            self.source_bytes,
            self.source_mtime_ns,
        )


def labels_json(labels: dict[str, LabelValue]) -> str:
    """Return labels as the index holds them."""
    return json.dumps(labels, sort_keys=True)

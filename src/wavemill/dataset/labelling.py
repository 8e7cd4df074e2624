"""Writes labels from a table, names or folders into the rows of a dataset."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wavemill.dataset.described import Described, id_of
from wavemill.dataset.entries import READABLE_LABELS
from wavemill.dataset.label_sources import LabelChoice, name_labels, with_known_split
from wavemill.dataset.writing import DatasetWriter
from wavemill.labels import SPLIT, SPLITS

_PAGE = 10_000
_EXAMPLES = 20
_ROWS = f"SELECT id, source, {READABLE_LABELS} FROM spectrograms WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 constant


@dataclass(frozen=True, kw_only=True)
class LabelReport:
    """What a table, or the names, said about the recordings of a dataset."""

    table: str | None  # or the folder of tar files with labels in them; None: labels come from names alone
    labelled: int = 0  # spectrograms with at least one label
    without_row: int = 0  # spectrograms that the table does not describe
    without_row_examples: list[str] = field(default_factory=list)
    unused_rows: int = 0  # rows of the table that describe no spectrogram
    unused_examples: list[str] = field(default_factory=list)
    repeated_rows: int = 0  # rows that describe the same as a later row, which counts
    overlapping_parts: int = 0  # that begin before an earlier part of their recording ends
    overlapping_examples: list[str] = field(default_factory=list)
    other_splits: dict[str, int] = field(
        default_factory=dict
    )  # not in SPLITS -> spectrograms, which training leaves out
    left_out_columns: list[str] = field(default_factory=list)  # with values that are neither texts nor numbers


def label_dataset(
    writer: DatasetWriter, described: Described, choice: LabelChoice, *, is_kept: Callable[[str], bool]
) -> LabelReport | None:
    """Label every spectrogram of a dataset; None, and no change, if nothing says how.

    `is_kept` tells whether the recording of an ID could not be examined; if its labels lie beside it,
    the spectrogram keeps those that it has. Raises UsageError if the pattern is wrong.
    """
    if described.origin is None and not choice.by_names:
        return None
    by_name = name_labels(choice)
    labelled, without_row, examples = 0, 0, list[str]()
    splits = Counter[str]()
    for page in _pages(writer):
        changed = []
        for spectrogram_id, source, before in page:
            row = described.labels_of(spectrogram_id, source)
            if row is None and described.has_sidecars and is_kept(spectrogram_id):
                row = json.loads(before)
            labels = with_known_split(by_name(id_of(source)) | (row or {}))
            labelled += bool(labels)
            splits[str(labels.get(SPLIT, SPLITS[0]))] += 1
            if row is None and described.origin is not None:
                without_row += 1
                examples += [source] if without_row <= _EXAMPLES else []
            if json.loads(before) != labels:
                changed.append((spectrogram_id, labels))
        writer.relabel(changed)
    other_splits = {split: count for split, count in sorted(splits.items()) if split not in SPLITS}
    if described.origin is None:
        return LabelReport(table=None, labelled=labelled, other_splits=other_splits)
    unused_rows, unused_examples = described.unused(_EXAMPLES)
    overlapping_parts, overlapping_examples = described.overlapping(_EXAMPLES)
    return LabelReport(
        table=described.origin,
        labelled=labelled,
        without_row=without_row,
        without_row_examples=examples,
        unused_rows=unused_rows,
        unused_examples=unused_examples,
        repeated_rows=described.repeated,
        overlapping_parts=overlapping_parts,
        overlapping_examples=overlapping_examples,
        other_splits=other_splits,
        left_out_columns=sorted(described.left_out),
    )


def _pages(writer: DatasetWriter) -> Iterator[list[tuple[str, str, str]]]:
    after = ""
    while page := writer.connection.execute(_ROWS, (after, _PAGE)).fetchall():
        after = page[-1][0]
        yield page

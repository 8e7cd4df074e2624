"""Finds the labels that recordings have: in a table, in their names, or in their folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from wavemill.dataset.described import Described, id_of
from wavemill.dataset.label_sources import LabelChoice, LabelDict, folder_labels, name_labels, with_known_split
from wavemill.dataset.sources import RecordingFile
from wavemill.labels import LabelValue

_EXAMPLES = 4
_ALIKE = 0.95  # share of names that must have the same number of parts


@dataclass(frozen=True, kw_only=True)
class LabelFound:
    """One label, and its values among the recordings looked at."""

    name: str
    recordings: int
    values: int  # different ones
    examples: list[LabelValue]
    numbers: bool


@dataclass(frozen=True, kw_only=True)
class LabelsFound:
    """What says something about the recordings looked at."""

    table: str | None = None
    without_row: int = 0  # recordings that the table does not describe
    found: list[LabelFound] = field(default_factory=list)
    from_folders: bool = False  # the labels are the folders' names, which needs `--labels-from-folders`
    possible_pattern: str | None = None  # for `--label-pattern`, if all names have the same form


def find_labels(described: Described, recordings: Sequence[RecordingFile], choice: LabelChoice) -> LabelsFound:
    """Look for labels as `dataset build` does with the same choice, and for others that it could read.

    Raises UsageError if the pattern is wrong.
    """
    by_name = name_labels(choice)
    sources = [one.path for one in recordings]
    rows = [described.labels_of(one.spectrogram_id, one.path) for one in recordings]
    labels = [with_known_split(by_name(id_of(source)) | (row or {})) for source, row in zip(sources, rows, strict=True)]
    table = described.origin
    if table is None and not choice.by_names and not any(labels):
        return _proposal(sources)
    return LabelsFound(
        table=table,
        without_row=0 if table is None else rows.count(None),
        found=_summary(labels),
        from_folders=choice.from_folders,
    )


def _proposal(sources: Sequence[str]) -> LabelsFound:
    """Return the labels that options could give: folders if they group the recordings, else parts of names."""
    labels = [folder_labels(id_of(source)) for source in sources]
    values = {one.get("label") for one in labels} - {None}
    if len(values) > 1 and 2 * len(values) <= len(sources):
        return LabelsFound(found=_summary(labels), from_folders=True)
    return LabelsFound(possible_pattern=_pattern([PurePosixPath(id_of(source)).name for source in sources]))


def _pattern(names: Sequence[str]) -> str | None:
    """Return a pattern of parts between underscores that nearly all names follow."""
    parts = [name.split("_") for name in names]
    count = len(parts[len(parts) // 2]) if parts else 0
    alike = [one for one in parts if len(one) == count and all(one)]
    if count < 2 or len(alike) < 2 or len(alike) < _ALIKE * len(parts):
        return None
    numeric = [all(re.fullmatch("[0-9]{1,18}", one[k]) for one in alike) for k in range(count)]
    return "_".join(f"{{part{k + 1}{':d' if numeric[k] else ''}}}" for k in range(count))


def _summary(labels: Sequence[LabelDict]) -> list[LabelFound]:
    values: dict[str, dict[LabelValue, None]] = {}
    counts: dict[str, int] = {}
    for one in labels:
        for name, value in one.items():
            values.setdefault(name, {})[value] = None
            counts[name] = counts.get(name, 0) + 1
    return [_label(name, counts[name], list(values[name])) for name in values]


def _label(name: str, recordings: int, values: list[LabelValue]) -> LabelFound:
    numbers = not any(isinstance(value, str) for value in values)
    examples = values[:_EXAMPLES]
    return LabelFound(name=name, recordings=recordings, values=len(values), examples=examples, numbers=numbers)

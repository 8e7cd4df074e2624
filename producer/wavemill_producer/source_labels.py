"""Finds the labels of the recordings that a batch's jobs were made from, for `wavemill export`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from wavemill.dataset.index import Dataset
from wavemill.errors import WavemillError
from wavemill.labels import LabelValue
from wavemill.operations.requests import Operation, source_ids

PREFIX = "label_"
_PAGE = 5_000
# How the columns of an operation with several sources tell them apart.
_SOURCES: Mapping[Operation, tuple[str, ...]] = {Operation.INTERPOLATE: ("from_", "to_")}


def prefixes(operation: Operation) -> tuple[str, ...]:
    """Return what stands before the labels' names of each source of an operation's jobs."""
    return _SOURCES.get(operation, ("",))


Kind = type[str] | type[int] | type[float]
T = TypeVar("T")


class SourceLabels:
    """The labels of a batch's sources, as columns: `label_pitch`, or `label_from_pitch` and `label_to_pitch`.

    Samples and decoded latents have no source, and so no such columns; nor have jobs of several batches, for which
    `batch` is None.

    Attributes
    ----------
    columns : names of the columns -> the type of their values: int, float or str
    missing : a sentence that says why there are none, or None
    """

    def __init__(self, batch: Mapping[str, Any] | None) -> None:
        self._dataset: Dataset | None = None
        self.missing: str | None = None
        self.columns: dict[str, Kind] = {}
        if batch is not None and batch["dataset"] is not None:
            self._operation = Operation(batch["operation"])
            try:
                self._dataset = Dataset.open(Path(batch["dataset"]))
                kinds = self._dataset.label_kinds()
            except WavemillError as exc:
                self.missing = f"labels are left out, because the batch's dataset cannot be read: {exc}"
            else:
                self.columns = {f"{PREFIX}{which}{name}": kind for which in self._which for name, kind in kinds.items()}

    def close(self) -> None:
        """Close the dataset."""
        if self._dataset is not None:
            self._dataset.close()

    def beside(self, rows: Iterable[T]) -> Iterator[tuple[T, dict[str, LabelValue]]]:
        """Yield each row, or `Job`, with its labels, by the names of their columns."""
        iterator = iter(rows)
        while page := list(islice(iterator, _PAGE)):
            yield from zip(page, self._of(page), strict=True)

    @property
    def _which(self) -> tuple[str, ...]:
        return prefixes(self._operation)

    def _of(self, page: Sequence[Any]) -> list[dict[str, LabelValue]]:
        if self._dataset is None or self.missing:
            return [{} for _ in page]
        sources = [source_ids(self._operation, row.spectrogram_id, row.item or {}) for row in page]
        try:
            entries = self._dataset.get_many(list({ID for IDs in sources for ID in IDs}))
        except WavemillError as exc:
            self.missing = f"labels are left out from here on, because the dataset cannot be read: {exc}"
            return [{}] * len(page)
        found = {ID: entry.labels for ID, entry in entries.items()}
        return [
            {
                (column := f"{PREFIX}{which}{name}"): self.columns[column](value)
                for which, ID in zip(self._which, IDs, strict=True)
                for name, value in found.get(ID, {}).items()
            }
            for IDs in sources
        ]

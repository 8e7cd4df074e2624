"""The labels of jobs of any batch, for filters: those of their recordings, or those that samples were asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import RowMapping, select

from wavemill.dataset.index import Dataset
from wavemill.errors import DatasetError, UsageError, WavemillError
from wavemill.jobs.database import Database
from wavemill.jobs.schema import batches
from wavemill.labels import Labels, LabelValue, number_in
from wavemill.operations.requests import Operation, source_ids
from wavemill_producer.source_labels import prefixes


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What the labels of a batch's jobs depend on."""

    operation: Operation
    dataset: str | None
    asked: Labels  # of samples

    def sources(self, row: RowMapping) -> tuple[str, ...]:
        """Return the IDs that a job was made from."""
        return source_ids(self.operation, row["spectrogram_id"], row["item"] or {})


def labels_of_jobs(
    database: Database, rows: Sequence[RowMapping], *, required: Collection[str]
) -> list[Mapping[str, LabelValue]]:
    """Look up labels as `wavemill.jobs.label_filters.LabelsOf` says.

    The names are those that exports have after `label_`: of interpolations `from_digit` and `to_digit`.
    """
    known = _batches(database, {row["batch_id"] for row in rows})
    gone = _Batch(operation=Operation.SAMPLE, dataset=None, asked={})  # deleted in this moment
    of_rows = [known.get(row["batch_id"], gone) for row in rows]
    sources = [batch.sources(row) for batch, row in zip(of_rows, rows, strict=True)]
    read: dict[str, set[str]] = {}
    for batch, ids in zip(of_rows, sources, strict=True):
        if batch.dataset is not None:
            read.setdefault(batch.dataset, set()).update(ids)
    needed = _own_names(known.values(), required)
    found = {path: _read(path, ids, required=needed) for path, ids in read.items()}
    return [
        batch.asked if batch.dataset is None else _labels(prefixes(batch.operation), ids, found[batch.dataset])
        for batch, ids in zip(of_rows, sources, strict=True)
    ]


def label_names(database: Database, batch_id: str) -> list[str]:
    """Return the names of labels that a batch's jobs can be filtered by; none if its dataset cannot be read."""
    for batch in _batches(database, {batch_id}).values():
        if batch.dataset is None:
            return sorted(batch.asked)
        with suppress(WavemillError), Dataset.open(batch.dataset) as dataset:
            names = dataset.manifest.labels
            return [f"{which}{name}" for which in prefixes(batch.operation) for name in names]
    return []


def _batches(database: Database, ids: Collection[str]) -> dict[str, _Batch]:
    columns = [batches.c[name] for name in ("id", "operation", "dataset", "params")]
    with database.reading() as connection:
        rows = connection.execute(select(*columns).where(batches.c.id.in_(ids))).all()
    return {
        row.id: _Batch(
            operation=Operation(row.operation),
            dataset=row.dataset,
            asked={name: _plain(value) for name, value in (row.params.get("labels") or {}).items()},
        )
        for row in rows
    }


def _plain(text: str) -> LabelValue:
    """Return a sample's label, which is stored as text, as the number or the text that it is."""
    number = number_in(text)
    return text if number is None else number


def _own_names(known: Iterable[_Batch], required: Collection[str]) -> set[str]:
    """Return the required names as datasets have them, without `from_` and `to_`."""
    which = {prefix for batch in known for prefix in prefixes(batch.operation)}
    return {next((name.removeprefix(one) for one in which if one and name.startswith(one)), name) for name in required}


def _read(path: str, ids: Collection[str], *, required: Collection[str]) -> Mapping[str, Labels]:
    try:
        with Dataset.open(path) as dataset:
            if unknown := sorted(set(required) - set(dataset.manifest.labels)):
                known = ", ".join(dataset.manifest.labels) or "none"
                raise UsageError(f"{path} has no label {', '.join(unknown)}; its labels: {known}")
            return dataset.labels(list(ids))
    except DatasetError as exc:
        raise UsageError(f"jobs cannot be filtered by label, because their dataset cannot be read: {exc}") from exc


def _labels(which: tuple[str, ...], ids: tuple[str, ...], found: Mapping[str, Labels]) -> Labels:
    if which == ("",):
        return found.get(ids[0], {})
    return {
        f"{prefix}{name}": value
        for prefix, ID in zip(which, ids, strict=True)
        for name, value in found.get(ID, {}).items()
    }

"""The digests of the jobs' inputs, as a dataset's index holds them now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Row

from wavemill.dataset.index import Dataset, Entry
from wavemill.jobs.reuse import InputDigests
from wavemill.jobs.submit import BatchRequest
from wavemill.operations.requests import Operation, inputs_digest, source_ids


@contextmanager
def input_digests(request: BatchRequest) -> Iterator[InputDigests]:
    """Yield a function that looks up the input digests of a page of jobs."""
    operation = Operation(request.operation)
    if request.dataset is None:
        nothing = inputs_digest({}, {})
        yield lambda rows: dict.fromkeys((row.spectrogram_id for row in rows), nothing)
        return
    with Dataset.open(request.dataset) as dataset:
        yield lambda rows: _from_index(dataset, operation, rows)


def _from_index(dataset: Dataset, operation: Operation, rows: Sequence[Row[Any]]) -> Mapping[str, str | None]:
    sources = {row.spectrogram_id: source_ids(operation, row.spectrogram_id, row.item or {}) for row in rows}
    entries = dataset.get_many(list({ID for IDs in sources.values() for ID in IDs}))
    return {
        name: _digest([entries[ID] for ID in IDs]) if all(ID in entries for ID in IDs) else None
        for name, IDs in sources.items()
    }


def _digest(entries: Sequence[Entry]) -> str:
    return inputs_digest(
        {entry.spectrogram_id: entry.sha256 for entry in entries},
        {entry.spectrogram_id: entry.scale for entry in entries},
    )

"""Jobs as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from wavemill.errors import UsageError
from wavemill.jobs.schema import jobs
from wavemill_producer.source_labels import SourceLabels

if TYPE_CHECKING:
    import pandas as pd

_SPREAD = ("quality", "timings", "metadata")  # JSON columns whose values become columns


def frame_of(rows: Iterable[Row[Any]], status: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table of a batch's jobs, indexed by job ID, with the labels of their recordings."""
    try:
        import pandas as pd
    except ImportError as exc:
        raise UsageError("to_pandas needs pandas: pip install 'wavemill[notebook]'") from exc
    with closing(SourceLabels(status)) as labels:
        records = [_flat(row._asdict(), found) for row, found in labels.beside(rows)]
        columns = [column.name for column in jobs.c if column.name not in _SPREAD]
        more = {name: None for record in records for name in record}  # in the order in which they are first seen
    return pd.DataFrame.from_records(records, columns=list(dict.fromkeys([*columns, *more]))).set_index("id")


def _flat(row: Mapping[str, Any], labels: Mapping[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name not in _SPREAD}
    for name in _SPREAD:
        flat.update({f"{name}_{key}": value for key, value in (row[name] or {}).items()})
    return {**flat, **labels}

"""Turns conditions into SQL on `jobs` joined with `batches`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Double, case, cast, func, not_, or_

from wavemill.jobs.filters import COMPARE, QUALITY, TIMINGS, Condition, Kind
from wavemill.jobs.pages import texts_with_flag
from wavemill.jobs.queries import finished_at_now, state_now
from wavemill.jobs.schema import jobs

_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "state": state_now,
    "flag": jobs.c.flags,
    "id": jobs.c.spectrogram_id,
    "job": jobs.c.id,
    "finished_at": finished_at_now,
}


def clause(condition: Condition, *, is_postgresql: bool) -> ColumnElement[bool]:
    """Return the SQL of a condition. A job without a value matches `!=`, and no other comparison."""
    value = value_of(condition.field, is_postgresql=is_postgresql)
    if condition.value is None:
        return value.is_(None) if condition.operator == "=" else value.is_not(None)
    if condition.kind is Kind.FLAG:
        has = or_(*[value == words for words in texts_with_flag(condition.value)])
        return has if condition.operator == "=" else or_(value.is_(None), not_(has))
    if condition.is_pattern:
        like = _like(value, condition.value, is_postgresql=is_postgresql)
        return like if condition.operator == "=" else or_(value.is_(None), not_(like))
    if condition.kind is Kind.NUMBER:  # PostgreSQL would refuse numbers too large for the column
        return _compared(cast(value, Double), condition.operator, float(condition.value))
    return _compared(value, condition.operator, condition.value)


def value_of(field: str, *, is_postgresql: bool) -> ColumnElement[Any]:
    """Return the SQL of a field's value."""
    if field in QUALITY:
        return _number(jobs.c.quality, field, is_postgresql=is_postgresql)
    if field in TIMINGS:
        return _number(jobs.c.timings, field, is_postgresql=is_postgresql)
    return _COLUMNS[field] if field in _COLUMNS else jobs.c[field]


def _compared(value: ColumnElement[Any], sign: str, wanted: Any) -> ColumnElement[bool]:
    if sign == "!=":
        return value.is_distinct_from(wanted)
    found: ColumnElement[bool] = COMPARE[sign](value, wanted)
    return found


def _number(column: ColumnElement[Any], key: str, *, is_postgresql: bool) -> ColumnElement[Any]:
    """Return a number in JSON, NULL for what is none: PostgreSQL would fail to cast it."""
    inner = column[key]
    if is_postgresql:
        return case((func.json_typeof(inner) == "number", cast(inner.as_string(), Double)), else_=None)
    kind = func.json_type(column, f'$."{key}"')
    return case((kind.in_(("integer", "real")), inner.as_float()), else_=None)


def _like(value: ColumnElement[Any], pattern: str, *, is_postgresql: bool) -> ColumnElement[bool]:
    """Match a pattern in which `*` is any text and `?` any character; the case of letters counts."""
    if is_postgresql:
        escaped = pattern.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
        return value.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")
    return value.op("GLOB", is_comparison=True)(pattern.replace("[", "[[]"))

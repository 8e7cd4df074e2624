"""Turns conditions into SQL on `jobs` joined with `batches`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Double, case, cast, func, not_, or_

from wavemill.jobs.filters import COMPARE, METADATA, QUALITY, TIMINGS, Condition, Kind
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
    if condition.kind is Kind.VALUE:
        return _of_metadata(condition, is_postgresql=is_postgresql)
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


def _of_metadata(condition: Condition, *, is_postgresql: bool) -> ColumnElement[bool]:
    """Compare numbers with numbers, and texts with texts; a job without the key matches `!=`."""
    path = condition.field.removeprefix(METADATA).split(".")
    number, words = _number_and_text(path, is_postgresql=is_postgresql)
    if condition.value is None:
        is_missing = number.is_(None) & words.is_(None)
        return is_missing if condition.operator == "=" else not_(is_missing)
    if condition.operator in {"=", "!="}:
        if condition.is_pattern:
            found = _like(words, condition.value, is_postgresql=is_postgresql)
        else:
            found = words == condition.value
        if condition.number is not None:
            found = or_(found, number == condition.number)
        return func.coalesce(found if condition.operator == "=" else not_(found), condition.operator == "!=")
    ordered = words if condition.number is None else number
    compared: ColumnElement[bool] = COMPARE[condition.operator](
        ordered, condition.value if condition.number is None else condition.number
    )
    return compared


def _number_and_text(path: Sequence[str], *, is_postgresql: bool) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return a value in the metadata as a number and as a text; the one that it is not is NULL."""
    if is_postgresql:
        inner: ColumnElement[Any] = jobs.c.metadata
        for part in path:  # one operator a part: a path in one text would need quotes around some keys
            inner = inner[part]
        kind, words = func.json_typeof(inner), inner.as_string()
        number = case((kind == "number", cast(words, Double)), else_=None)
        # In the order of the characters' numbers, as SQLite compares, whatever the database's locale.
        return number, case((kind.in_(("string", "boolean")), words), else_=None).collate("C")
    place = "$" + "".join(f'."{part}"' for part in path)
    kind, value = func.json_type(jobs.c.metadata, place), func.json_extract(jobs.c.metadata, place)
    number = case((kind.in_(("integer", "real")), value), else_=None)
    return number, case((kind == "text", value), (kind.in_(("true", "false")), kind), else_=None)


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

"""Filters of jobs: `state=failed`, `id=7_*`, `rating>=4`, `rms_dbfs<-20`, `metadata.speaker=theo`, `label.digit=7`.

This module reads and checks what a user typed. `filter_clauses.py` turns it into SQL.
"""

from __future__ import annotations

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wavemill.errors import UsageError
from wavemill.jobs.flags import Flag
from wavemill.jobs.states import State
from wavemill.labels import number_in
from wavemill.text.shown import is_plain_text

NONE = "none"  # as a value: the job has none
MOST_CONDITIONS = 20
_MOST_CHARACTERS = 300
_MOST_STARS = 4  # more make a pattern slow
COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(r"([^=<>!]+?)\s*(!=|<=|>=|=|<|>)\s*(.*)", re.DOTALL)


class Kind(StrEnum):
    """What a field's values are, which decides how they are compared."""

    STATE = "state"
    FLAG = "flag"
    TEXT = "text"  # may be a pattern with * and ?
    NUMBER = "number"
    TIME = "time"
    VALUE = "value"  # a number or a text, as whoever gave it wrote it


_SOUND_FIGURES = (
    "peak",
    "rms_dbfs",
    "gain",
    "clipped",
    "sample_rate_hz",
    "loudness_before_lufs",
    "loudness_lufs",
    "true_peak_dbtp",
)
# As `wavemill.rendering.outputs` writes them.
QUALITY = (
    "log_spectral_distance_db",
    "level_boost_db",
    *_SOUND_FIGURES,
    *(f"original_{one}" for one in _SOUND_FIGURES),
)
TIMINGS = ("read_ms", "forward_ms", "invert_ms", "write_ms")
FIELDS: Mapping[str, Kind] = {
    "state": Kind.STATE,
    "flag": Kind.FLAG,
    "id": Kind.TEXT,
    "custom_id": Kind.TEXT,
    "error_code": Kind.TEXT,
    "error": Kind.TEXT,
    "worker_id": Kind.TEXT,
    "rating": Kind.NUMBER,
    "attempt": Kind.NUMBER,
    "job": Kind.NUMBER,
    "created_at": Kind.TIME,
    "started_at": Kind.TIME,
    "finished_at": Kind.TIME,
    "rated_at": Kind.TIME,
    **dict.fromkeys((*QUALITY, *TIMINGS), Kind.NUMBER),
}
METADATA = "metadata."  # before a key of a job's metadata; a dot leads into an object within it
LABEL = "label."  # before the name of a label of the recording
_KEY = re.compile(r'[^."\\]+(\.[^."\\]+)*')
_WORDS: Mapping[Kind, tuple[str, ...]] = {
    Kind.STATE: tuple(state.value for state in State),
    Kind.FLAG: tuple(flag.value for flag in Flag),
}
_EQUALITY = ("=", "!=")


@dataclass(frozen=True)
class Condition:
    """One condition on jobs. `value` is a text, a number, a time, or None for the word `none`."""

    field: str
    operator: str
    value: Any

    def __str__(self) -> str:
        value = NONE if self.value is None else self.value
        return f"{self.field}{self.operator}{value.isoformat() if isinstance(value, dt.datetime) else value}"

    @property
    def kind(self) -> Kind:
        """What the field's values are."""
        return kind_of(self.field)

    def holds_for(self, number: float) -> bool:
        """Whether a number meets the condition."""
        return bool(COMPARE[self.operator](number, self.value))

    @property
    def is_pattern(self) -> bool:
        """Whether the value is a pattern."""
        can_be = self.kind is Kind.TEXT or (self.kind is Kind.VALUE and self.operator in _EQUALITY)
        return can_be and isinstance(self.value, str) and any(one in self.value for one in "*?")

    @property
    def number(self) -> float | None:
        """The number that a text stands for, to compare with values that are numbers."""
        return number_in(self.value) if isinstance(self.value, str) else None


def parse(texts: Iterable[str]) -> tuple[Condition, ...]:
    """Return the conditions that these texts state; all of them must hold. UsageError for a wrong one."""
    if isinstance(texts, str):
        raise UsageError(f"expected several conditions, received the one text {texts[:80]!r}; put it into a list")
    conditions = tuple(_parsed(text) for text in texts)
    if len(conditions) > MOST_CONDITIONS:
        raise UsageError(f"{len(conditions)} conditions: expected at most {MOST_CONDITIONS}")
    return conditions


def conditions_of(where: Iterable[str], *, state: str | None = None, flag: str | None = None) -> tuple[Condition, ...]:
    """Return the conditions that these texts state, with those of a state and a flag; all of them must hold."""
    asked = [f"{name}={value}" for name, value in (("state", state), ("flag", flag)) if value is not None]
    return (*parse(asked), *parse(where))


def kind_of(field: str) -> Kind:
    """Return the kind of a field; UsageError names all fields."""
    if field in FIELDS:
        return FIELDS[field]
    if _has_prefix(field):
        return Kind.VALUE
    raise UsageError(f"there is no field {field[:80]!r}; fields: {', '.join(FIELDS)}, {METADATA}KEY, {LABEL}NAME")


def is_field(name: str) -> bool:
    """Whether a condition can be on a field of this name."""
    match = _CONDITION.fullmatch(f"{name}=x")
    return match is not None and match[1] == name and (name in FIELDS or _has_prefix(name))


def _has_prefix(field: str) -> bool:
    is_label = field.startswith(LABEL) and field != LABEL
    return is_label or (field.startswith(METADATA) and _KEY.fullmatch(field, len(METADATA)) is not None)


def _parsed(text: str) -> Condition:
    match = _CONDITION.fullmatch(text.strip())
    if match is None or len(text) > _MOST_CHARACTERS or not is_plain_text(text):
        raise UsageError(
            f"{text[:80]!r} is no condition: expected FIELD, one of {' '.join(COMPARE)}, and a value on one line of up "
            f"to {_MOST_CHARACTERS} characters, such as state=failed, rating>=4 or id=7_*"
        )
    field, sign, value = match.groups()
    kind = kind_of(field)
    if sign not in _EQUALITY and (value == NONE or kind in {Kind.STATE, Kind.FLAG}):
        raise UsageError(f"{text!r}: expected = or != between {field} and {value!r}")
    return Condition(field, sign, None if value == NONE and kind is not Kind.STATE else _value(text, kind, value))


def _value(text: str, kind: Kind, value: str) -> Any:
    if kind in _WORDS and value not in _WORDS[kind]:
        raise UsageError(f"{text!r}: expected one of {', '.join(_WORDS[kind])}")
    if kind is Kind.NUMBER:
        number = number_in(value)
        if number is None:
            raise UsageError(f"{text!r}: expected a number, such as 4 or -23.5")
        return number
    if kind is Kind.TIME:
        return _time(text, value)
    if kind in {Kind.TEXT, Kind.VALUE} and value.count("*") > _MOST_STARS:
        raise UsageError(f"{text!r}: expected a pattern with at most {_MOST_STARS} asterisks")
    return value


def _time(text: str, value: str) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(value)
        return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
    except (ValueError, OverflowError) as exc:
        raise UsageError(f"{text!r}: expected a date or a time in UTC, such as 2026-11-30 or 2026-11-30T08:00") from exc

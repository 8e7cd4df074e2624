"""IDs with which a caller gives a name and values of their own, to find them again in listings and exports."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wavemill.errors import UsageError
from wavemill.operations.identifiers import validate_id
from wavemill.text.shown import is_utf8

_LONGEST_NAME = 200  # as wide as the column
_MOST_BYTES = 4_096  # of the metadata as JSON
_MOST_DEPTH = 16
_ABOUT = ("custom_id", "metadata")
_JSON_OBJECT = re.compile(r'\{\s*["}]')


@dataclass(frozen=True)
class About:
    """What a caller says about an ID, or about a pair of IDs. It returns with every job made from it."""

    custom_id: str | None = None
    metadata: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.custom_id is not None:
            _require_name(self.custom_id)
        if self.metadata is not None:
            _require_metadata(self.metadata)

    @property
    def text(self) -> str | None:
        """The same as text, to compare; None if nothing is said."""
        if self.custom_id is None and not self.metadata:
            return None
        return json.dumps([self.custom_id, self.metadata or None], sort_keys=True)


NOTHING = About()


@dataclass(frozen=True)
class NamedId:
    """An ID and what the caller says about it."""

    id: str
    about: About = NOTHING


@dataclass(frozen=True)
class NamedPair:
    """Two IDs to interpolate between, and what the caller says about them."""

    start: str
    end: str
    about: About = NOTHING


def named_id(value: str | Mapping[str, Any]) -> NamedId:
    """Return an ID from a text, or from a mapping with `id` and perhaps `custom_id` and `metadata`."""
    if not isinstance(value, Mapping):
        return NamedId(validate_id(value))
    _require_keys(value, ("id",))
    return NamedId(validate_id(value["id"]), _about(value))


def named_pair(value: tuple[str, str] | Mapping[str, Any]) -> NamedPair:
    """Return a pair from two texts, or from a mapping with `from`, `to` and perhaps `custom_id` and `metadata`."""
    if isinstance(value, Mapping):
        _require_keys(value, ("from", "to"))
        return NamedPair(validate_id(value["from"]), validate_id(value["to"]), _about(value))
    if isinstance(value, str) or len(value) != 2:
        raise UsageError(f"expected pairs of IDs, received {value!r}")
    return NamedPair(validate_id(value[0]), validate_id(value[1]))


def parsed_line(line: str) -> str | dict[str, Any]:
    """Return what a line of a file of IDs holds: a JSON object, or the plain ID as it stands."""
    if not _JSON_OBJECT.match(line):
        return line
    try:
        found: dict[str, Any] = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise UsageError(
            f"{line[:80]!r}: expected an ID, or a JSON object such as "
            f'{{"id": "7_theo_3", "custom_id": "order-19"}}: {exc}'
        ) from exc
    return found


def _about(value: Mapping[str, Any]) -> About:
    return About(value.get("custom_id"), value.get("metadata"))


def _require_keys(value: Mapping[str, Any], needed: tuple[str, ...]) -> None:
    if set(needed) <= value.keys() <= {*needed, *_ABOUT}:
        return
    expected = ", ".join((*needed, *_ABOUT))
    raise UsageError(
        f"{str(dict(value))[:80]}: expected an object with {expected}, the last two of which may be missing"
    )


def _require_name(custom_id: str) -> None:
    if not (isinstance(custom_id, str) and 0 < len(custom_id) <= _LONGEST_NAME and custom_id.isprintable()):
        raise UsageError(
            f"custom_id {str(custom_id)[:80]!r}: expected a text of 1 to {_LONGEST_NAME} printable characters"
        )


def _require_metadata(metadata: Mapping[str, Any]) -> None:
    if not isinstance(metadata, Mapping) or not _is_storable(metadata, _MOST_DEPTH):
        raise UsageError(
            f"metadata {str(metadata)[:80]!r}: expected a JSON object with texts as keys, finite numbers, no NUL "
            f"characters, and at most {_MOST_DEPTH} levels"
        )
    n_bytes = len(json.dumps(metadata, ensure_ascii=False).encode())
    if n_bytes > _MOST_BYTES:
        raise UsageError(f"metadata of {n_bytes} bytes as JSON: expected at most {_MOST_BYTES}")


def _is_storable(value: Any, depth: int) -> bool:
    """Return whether a value is JSON that both databases can store and compare."""
    if isinstance(value, Mapping):
        texts = all(isinstance(key, str) and _is_storable(key, depth) for key in value)
        return depth > 0 and texts and all(_is_storable(inner, depth - 1) for inner in value.values())
    if isinstance(value, list | tuple):
        return depth > 0 and all(_is_storable(inner, depth - 1) for inner in value)
    if isinstance(value, str):
        return "\0" not in value and is_utf8(value)
    if isinstance(value, int | float):  # also True and False
        try:
            return math.isfinite(value)
        except OverflowError:
            return False
    return value is None

"""Tags of batches: pairs of a key and a value that a user gives, such as project=x, to find batches by."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, select

from wavemill.errors import UsageError
from wavemill.jobs.management_schema import batch_tags
from wavemill.jobs.schema import batches
from wavemill.text.shown import is_plain_text

_MOST = 20
_LONGEST_VALUE = 200
_KEY = re.compile(r"[\w.-]{1,100}")


def tags_from(texts: Iterable[str]) -> dict[str, str]:
    """Parse texts such as `project=x`; UsageError for a wrong one."""
    found = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise UsageError(f"tag {text[:80]!r}: expected KEY=VALUE, such as project=x")
        found[key] = value
    require_tags(found)
    return found


def require_tags(tags: Mapping[str, str]) -> None:
    """Raise UsageError unless these can be tags of a batch."""
    if len(tags) > _MOST:
        raise UsageError(f"{len(tags)} tags: expected at most {_MOST}")
    for key, value in tags.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise UsageError(f"tag {key!r}: expected a key of letters, digits, dots, - and _")
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_VALUE or not is_plain_text(value):
            raise UsageError(f"tag {key}: expected a value of 1 to {_LONGEST_VALUE} printable characters")


def has_tags(tags: Mapping[str, str]) -> list[ColumnElement[bool]]:
    """Return the conditions on `batches` that a batch has all of these tags."""
    of_batch = select(batch_tags.c.key).where(batch_tags.c.batch_id == batches.c.id)
    return [
        of_batch.where(batch_tags.c.key == key, batch_tags.c.value == value).exists() for key, value in tags.items()
    ]

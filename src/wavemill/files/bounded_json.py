"""Parses JSON from untrusted sources: limits its size and depth, and raises only ValueError."""

from __future__ import annotations

import json
from typing import Any

MOST_BYTES = 2**20  # a valid record has a few thousand; one byte of JSON can take 50 when parsed
MOST_DEPTH = 64


def parse_json(data: bytes) -> Any:
    """Return the parsed value; ValueError if the JSON is damaged, too large or too deep."""
    if len(data) > MOST_BYTES:
        raise ValueError(f"expected at most {MOST_BYTES} bytes of JSON, received {len(data)} or more")
    try:
        value = json.loads(data)
    except RecursionError as exc:
        raise ValueError(f"expected JSON of at most {MOST_DEPTH} levels") from exc
    if _is_deeper(value, MOST_DEPTH):
        raise ValueError(f"expected JSON of at most {MOST_DEPTH} levels")
    return value


def _is_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        inner = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [child for children in inner for child in children]
    return any(isinstance(item, dict | list) for item in level)

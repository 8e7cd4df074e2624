r"""Escape characters that move the cursor, or colour, hide or reorder the text around them.

They are escaped as in JSON, `\u001b` for ESC, so that JSON keeps its content. They come in with names,
IDs, labels, paths and foreign errors; a terminal, a log viewer or a spreadsheet would obey them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

# Unicode's Cc (control), Cf (format: bidirectional overrides, zero width), Cs (surrogate), Zl and Zp (line and
# paragraph separator), and letters that are drawn as nothing. A test compares these ranges with Python's tables.
_INVISIBLE = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff"
)
_UNSAFE = re.compile(f"[{_INVISIBLE}]")
_UNSAFE_IN_LINES = re.compile(f"(?![\n\t])[{_INVISIBLE}]")
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def shown(text: object) -> str:
    r"""Return `text` on one line, its unsafe characters as `\uXXXX`."""
    return _UNSAFE.sub(_escaped, str(text))


def shown_lines(text: str) -> str:
    r"""Return `text` with its unsafe characters as `\uXXXX`, but for line feeds and tabs."""
    return _UNSAFE_IN_LINES.sub(_escaped, text)


def json_text(
    value: Any,
    *,
    default: Callable[[Any], Any] | None = None,
    indent: int | None = None,
    allow_nan: bool = True,
) -> str:
    """Return JSON that reads back as exactly `value` and is safe to display."""
    return shown_lines(json.dumps(value, default=default, ensure_ascii=False, indent=indent, allow_nan=allow_nan))


def is_plain_text(text: str) -> bool:
    """Whether no character of `text` is a control character, a surrogate or ends a line."""
    return not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", text)


def is_utf8(text: str) -> bool:
    """Whether `text` can be encoded as UTF-8, as databases need; an argument of other bytes cannot."""
    return not re.search("[\ud800-\udfff]", text)


def _escaped(match: re.Match[str]) -> str:
    if short := _SHORT.get(match[0]):
        return short
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"

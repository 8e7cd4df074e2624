"""Spectrogram IDs: relative POSIX paths without the suffix, safe to use as file names below a folder."""

from __future__ import annotations

import re

from wavemill.errors import InvalidIdError

MAX_ID_BYTES = 512
# A component: not empty, not "." or "..", at most 200 characters, none of them a control, backslash or slash.
_COMPONENT = r"(?!\.{1,2}(?:/|\Z))[^\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]{1,200}"
_VALID_ID = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


def validate_id(spectrogram_id: str) -> str:
    """Return `spectrogram_id` unchanged, or raise InvalidIdError when it could leave its folder.

    Refused: an empty ID or component, `.` and `..`, absolute paths, backslashes, NUL and control characters,
    more than 200 characters in a component or 512 bytes in all.
    """
    if not isinstance(spectrogram_id, str):  # callers without a type checker
        raise InvalidIdError(
            f"{spectrogram_id!r} is not a spectrogram ID: expected str, received {type(spectrogram_id).__name__}"
        )
    if _VALID_ID.fullmatch(spectrogram_id) and len(spectrogram_id.encode()) <= MAX_ID_BYTES:
        return spectrogram_id
    raise InvalidIdError(
        f"{spectrogram_id[:80]!r} is not a spectrogram ID: expected a relative path such as 'set-a/7_george_12', "
        "without '..', '.', backslashes or control characters"
    )

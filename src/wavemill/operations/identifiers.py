"""Spectrogram IDs: relative POSIX paths without the suffix, safe to use as file names below a folder."""

from __future__ import annotations

import re

from wavemill.errors import InvalidIdError

MAX_ID_BYTES = 512
MAX_COMPONENT_BYTES = 250  # of the 255 of a file's name, so that .flac and .json fit behind it
# A component: not empty, not "." or "..", none of its characters a control, backslash or slash.
_COMPONENT = r"(?!\.{1,2}(?:/|\Z))[^\x00-\x1f\x7f-\x9f/\\\ud800-\udfff]+"
_VALID_ID = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")


def validate_id(spectrogram_id: str) -> str:
    """Return `spectrogram_id` unchanged, or raise InvalidIdError when it could leave its folder.

    Refused: an empty ID or component, `.` and `..`, absolute paths, backslashes, NUL and control characters,
    more than 250 bytes in a component or 512 bytes in all.
    """
    if not isinstance(spectrogram_id, str):  # callers without a type checker
        raise InvalidIdError(
            f"{spectrogram_id!r} is not a spectrogram ID: expected str, received {type(spectrogram_id).__name__}"
        )
    if _VALID_ID.fullmatch(spectrogram_id):
        _require_room(spectrogram_id)
        return spectrogram_id
    raise InvalidIdError(
        f"{spectrogram_id[:80]!r} is not a spectrogram ID: expected a relative path such as 'set-a/7_george_12', "
        "without '..', '.', backslashes or control characters"
    )


def _require_room(spectrogram_id: str) -> None:
    total = len(spectrogram_id.encode())
    if total <= MAX_COMPONENT_BYTES:  # as nearly all are: so is each part
        return
    longest = max(len(part.encode()) for part in spectrogram_id.split("/"))
    if longest > MAX_COMPONENT_BYTES or total > MAX_ID_BYTES:
        raise InvalidIdError(
            f"{spectrogram_id[:80]!r}... is too long for a file's name: expected at most {MAX_COMPONENT_BYTES} bytes "
            f"between slashes and {MAX_ID_BYTES} in all, received {longest} and {total}"
        )

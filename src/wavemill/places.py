"""Expanding `~` in paths that users write: in settings, options and calls."""

from __future__ import annotations

from pathlib import Path


def expanded(path: str | Path) -> Path:
    """Return a path with a leading `~` or `~user` replaced by that home folder.

    Raises
    ------
    ValueError
        There is no such user or home, or the path is not in UTF-8.
    """
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!a}: expected a path in UTF-8") from None
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ValueError(
            f"{text}: no home folder is known for this ~; write the path in full, or ./~ for a folder of that name"
        ) from None

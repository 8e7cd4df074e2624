"""Recognises outputs, exports and datasets of wavemill, so that they are not taken for recordings."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import soundfile

from wavemill.audio.streams import open_sound
from wavemill.dataset.manifest import INDEX_NAME, MANIFEST_NAME

_BATCH_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{8}")  # as `wavemill.jobs.submit.new_batch_id` makes it
_SOUNDS = ("generated", "original")  # the folders of sounds in OUTPUT/BATCH
_IN_BATCH = {*_SOUNDS, "latents", ".staging"}
_IN_EXPORT = {"batch.json", "manifest.jsonl"}
_IN_DATASET = {MANIFEST_NAME, INDEX_NAME}
_MOST_FILES = 1_000  # files to look at to find the first sound in a folder


def own_mark(folder: Path, suffixes: frozenset[str]) -> str | None:
    """Describe what wavemill has written into a folder.

    None if it has written nothing there, or the folder cannot be read. `suffixes` are those of
    sound files.
    """
    if _present(folder, _IN_DATASET) >= _IN_DATASET:
        return "holds a dataset of wavemill"
    if _present(folder, _IN_EXPORT) >= _IN_EXPORT:
        return "holds an export of wavemill"
    is_batch = _BATCH_ID.fullmatch(folder.name) and _present(folder, _IN_BATCH)
    # A batch's folder may have been renamed, or only part of an export unpacked.
    if is_batch or (folder.name in _SOUNDS and _begins_with_output(folder, suffixes)):
        return "holds outputs of wavemill"
    return None


def _present(folder: Path, names: set[str]) -> set[str]:
    return {name for name in names if os.path.lexists(folder / name)}


def _begins_with_output(folder: Path, suffixes: frozenset[str]) -> bool:
    sounds = (path for path in islice(_files(folder), _MOST_FILES) if path.suffix.lower() in suffixes)
    first = next(sounds, None)
    return first is not None and _is_output(first)


def _files(folder: Path) -> Iterator[Path]:
    return (Path(inner, name) for inner, _, names in os.walk(folder) for name in names)


def _is_output(path: Path) -> bool:
    """Return whether a sound's comment says that wavemill made it, as in every output."""
    try:
        with open_sound(path) as sound:
            said = json.loads(sound.comment)
    except (soundfile.SoundFileError, OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and isinstance(versions := said.get("versions"), dict) and "wavemill" in versions

"""Draws a sample of the recordings in a folder, and finds copies in it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nsmallest
from pathlib import Path

from wavemill.audio.tars import opened
from wavemill.dataset.sources import RecordingFile

_END_BYTES = 2**17  # of a file's beginning and of its end, which are compared to find copies


def draw(found: Iterable[RecordingFile], *, most: int, seed: int) -> tuple[list[RecordingFile], int]:
    """Return up to `most` of the recordings, in random order, and how many there are.

    The order is that of digests of their paths, so it is the same wherever the folder lies and in
    whatever order it is listed. Memory does not grow with the number of recordings.
    """
    key, count = seed.to_bytes(8, "big"), 0

    def counted() -> Iterator[tuple[bytes, str, RecordingFile]]:
        nonlocal count
        for one in found:
            count += 1
            yield hashlib.blake2b(os.fsencode(one.name), digest_size=16, key=key).digest(), one.name, one

    return [one for _, _, one in nsmallest(most, counted(), key=lambda item: item[:2])], count


def find_copies(audio_dir: Path, recordings: Sequence[RecordingFile]) -> list[list[str]]:
    """Return groups of paths whose files have the same size, the same beginning and the same end."""
    # Several recordings may be parts of one file. In the order of paths, each tar file is listed once.
    files = [one for _, one in sorted({one.path: one for one in recordings}.items())]
    sizes = Counter(one.n_bytes for one in files)
    groups: defaultdict[tuple[int, bytes], list[str]] = defaultdict(list)
    for one in files:
        if sizes[one.n_bytes] > 1 and (digest := _digest_of_ends(audio_dir / one.path)) is not None:
            groups[one.n_bytes, digest].append(one.path)
    return sorted(sorted(paths) for paths in groups.values() if len(paths) > 1)


def _digest_of_ends(path: Path) -> bytes | None:
    """Return a digest; None if the file cannot be read, which its reader will report."""
    try:
        with opened(path) as file:
            begins = file.read(_END_BYTES)
            file.seek(max(len(begins), file.seek(0, os.SEEK_END) - _END_BYTES))
            return hashlib.blake2b(begins + file.read(_END_BYTES)).digest()
    except OSError:
        return None

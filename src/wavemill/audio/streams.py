"""Opens sound files, including streams whose header does not give their length.

A program that writes to a pipe cannot go back to fill in the length. It leaves 0, or a number that
is far too high. libsndfile reads most of these files to their end. For the others, it is given a
view of the file with a corrected header.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from wavemill.audio.tars import opened

_UNKNOWN_32 = 0xFFFFFFFF  # libsndfile reads to the end of the file
_HEAD_BYTES = 12  # of RIFF and RF64: name, size, kind
_MOST_CHUNKS = 1_000  # before the samples; a normal file has a few

Patch = tuple[int, bytes]  # a position in the file, and the bytes to read there instead
_NO_PATCH: Patch = (0, b"")  # for a file that libsndfile cannot open by its path


class SoundStream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read forwards."""

    def seekable(self) -> bool:
        """Return False, since soundfile's seeks fail if the header's length is too high."""
        return False

    def go_to(self, frame: int) -> None:
        """Skip to a frame, which must not be after the end that the header states."""
        if frame:
            self.seek(min(frame, self.frames))

    def read_start(self, n_frames: int) -> NDArray[np.float32]:
        """Return up to `n_frames` frames, float32 [shape=(frames, channels)]; fewer if the sound ends."""
        return np.asarray(self.read(min(n_frames, self.frames), dtype="float32", always_2d=True))


@contextmanager
def open_sound(path: Path) -> Iterator[SoundStream]:
    """Open a sound file, which may be a member of a tar file, in any format that libsndfile reads.

    Raises
    ------
    soundfile.SoundFileError, OSError
        It is missing, cannot be opened, or is not a sound file.
    """
    with opened(path) as file:
        patch = _missing_length(file) or (None if isinstance(file, io.BufferedReader) else _NO_PATCH)
        view = None if patch is None else _Patched(file, *patch)
        with SoundStream(path if view is None else view) as sound:
            yield sound
        if view is not None and view.failure is not None:
            raise view.failure


class _Patched(io.RawIOBase):
    """A file that reads with a few bytes replaced."""

    def __init__(self, file: BinaryIO, position: int, content: bytes) -> None:
        self._file = file
        self._position = position
        self._content = content
        self.failure: OSError | None = None  # for `open_sound`: libsndfile takes a failed read for the file's end
        file.seek(0)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        start = self._file.tell()
        try:
            data = bytearray(self._file.read(len(buffer)))
        except OSError as exc:
            self.failure = exc
            return 0
        for k, byte in enumerate(self._content):
            if 0 <= self._position + k - start < len(data):
                data[self._position + k - start] = byte
        buffer[: len(data)] = data
        return len(data)


def _missing_length(file: BinaryIO) -> Patch | None:
    """Return a patch for a header that says that no samples follow although some do; else None."""
    head = file.read(_HEAD_BYTES)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:] == b"WAVE":
        return _of_wav(file, order=">" if head[:4] == b"RIFX" else "<")
    if head[:4] == b".snd" and head[8:] == bytes(4):
        return 8, struct.pack(">I", _UNKNOWN_32)
    return _of_caf(file) if head[:4] == b"caff" else None


def _of_wav(file: BinaryIO, *, order: str) -> Patch | None:
    end = file.seek(0, io.SEEK_END)
    ds64: tuple[int, int] | None = None  # RF64: position and value of the samples' 64-bit size
    for position, name, n_bytes in islice(_chunks(file, _HEAD_BYTES, order=order), _MOST_CHUNKS):
        start = position + 8
        if name == b"ds64" and len(sizes := file.read(16)) == 16:
            ds64 = start + 8, struct.unpack_from("<Q", sizes, 8)[0]
        elif name == b"data" and n_bytes == _UNKNOWN_32 and ds64 is not None:
            return None if 0 < ds64[1] <= end - start else (ds64[0], struct.pack("<Q", end - start))
        elif name == b"data":
            is_wrong = n_bytes == 0 and not _are_chunks(file, start, end, order=order)
            return (start - 4, struct.pack(f"{order}I", min(end - start, _UNKNOWN_32))) if is_wrong else None
    return None


def _chunks(file: BinaryIO, position: int, *, order: str) -> Iterator[tuple[int, bytes, int]]:
    """Yield the position, the name and the stated size in bytes of each chunk of a WAV."""
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        name, n_bytes = struct.unpack(f"{order}4sI", header)
        yield position, name, n_bytes
        position += 8 + n_bytes + n_bytes % 2


def _are_chunks(file: BinaryIO, start: int, end: int, *, order: str) -> bool:
    """Whether chunks fill the file from `start` to its end, so that it has no samples there."""
    after = start
    for position, name, n_bytes in _chunks(file, start, order=order):
        if not (name.isascii() and name.decode().isprintable()):
            return False
        after = position + 8 + n_bytes
    return after in (end, end - 1)  # the last chunk may be padded


def _of_caf(file: BinaryIO) -> Patch | None:
    """Return a patch for a last chunk of size -1, which reaches to the end of the file; else None.

    Apple's definition of CAF allows that size, and libsndfile refuses it.
    """
    position, end = 8, file.seek(0, io.SEEK_END)
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(12)
        if len(header) < 12:
            return None
        name, n_bytes = struct.unpack(">4sq", header)
        if name == b"data" and n_bytes <= 0:
            return position + 4, struct.pack(">q", end - position - 12)
        if n_bytes < 0:
            return None
        position += 12 + n_bytes
    return None

"""Gives an Ogg file the same bytes each time: libsndfile numbers its stream at random.

An Ogg file is a sequence of pages [1]_: a head of 27 bytes, a table of the sizes of its segments,
then the segments. The stream's number and a checksum of the whole page are in the head.

References
----------
.. [1] Pfeiffer, "The Ogg encapsulation format version 0", RFC 3533, 2003.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator

_HEAD_BYTES = 27
_NUMBER, _CHECKSUM = slice(14, 18), slice(22, 26)
_BITS_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def with_steady_number(ogg: bytes) -> bytes:
    """Return the file with its stream's number derived from its content, and its checksums renewed."""
    pages = [bytearray(page) for page in _pages(ogg)]
    digest = hashlib.sha256()
    for page in pages:
        page[_NUMBER] = page[_CHECKSUM] = bytes(4)
        digest.update(page)
    for page in pages:
        page[_NUMBER] = digest.digest()[:4]
        page[_CHECKSUM] = _checksum(page).to_bytes(4, "little")
    return b"".join(pages)


def _pages(ogg: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(ogg):
        content = start + _HEAD_BYTES + ogg[start + _HEAD_BYTES - 1]  # the head ends with the number of segments
        end = content + sum(ogg[start + _HEAD_BYTES : content])
        yield ogg[start:end]
        start = end


def _checksum(page: bytes | bytearray) -> int:
    """Return Ogg's CRC-32: zlib's polynomial, but with the bits in the other order and without inversions."""
    reflected = zlib.crc32(page.translate(_BITS_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reflected:032b}"[::-1], 2)

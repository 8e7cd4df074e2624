"""The digests of a folder: the file `SHA256`, which lists those of all other files.

Standard library only.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from wavemill.errors import ModelChangedError, ModelError
from wavemill.files.bounded import FLAGS, NotAFileError, size_of
from wavemill.vae.folder.record import DIGEST_FILE, MOST_FILE_BYTES, RECORD_FILE, WEIGHTS_FILE, read_bytes
from wavemill.vae.folder.replacement import read_steadily

_MOST_LISTING_BYTES = 2**16  # for `SHA256`; a genuine one has four lines
_REQUIRED = (RECORD_FILE, WEIGHTS_FILE)


def verify(path: str | Path, *, required: tuple[str, ...] = _REQUIRED) -> str:
    """Check every file of the model folder `path`, `required` among them, and return the model's digest.

    The digest is the SHA-256 of the file `SHA256`, which lists the SHA-256 of every other file in
    the format of `sha256sum`, so `cd MODEL && sha256sum -c SHA256` makes the same check.

    Raises
    ------
    ModelChangedError
        When a file differs from its recorded digest; the message names it.
    ModelError
        When the folder, `SHA256` or a listed file is missing or malformed.
    """
    return read_steadily(Path(path), lambda folder: _verify(folder, required))


def listed_names(folder: Path) -> list[str]:
    """Return the names of the files listed in a folder's `SHA256`; none if that cannot be read."""
    try:
        return [name for name, _ in _entries(folder, read_bytes(folder / DIGEST_FILE, _MOST_LISTING_BYTES))]
    except (OSError, ValueError, ModelError):
        return []


def _verify(folder: Path, required: tuple[str, ...]) -> str:
    try:
        listing = read_bytes(folder / DIGEST_FILE, _MOST_LISTING_BYTES)
    except OSError as exc:
        raise ModelError(f"{folder}: cannot read {DIGEST_FILE}: {exc.strerror}; is this a model folder?") from exc
    except ValueError as exc:
        raise ModelError(f"{folder}: cannot read {DIGEST_FILE}: {exc}; save the model again") from exc
    names = set()
    for name, expected in _entries(folder, listing):
        if sha256_of(folder / name) != expected:
            raise ModelChangedError(f"{folder / name} has changed since it was saved; restore it or train again")
        names.add(name)
    if missing := [name for name in required if name not in names]:
        raise ModelError(f"{folder / DIGEST_FILE} does not list {', '.join(missing)}; save the model again")
    return hashlib.sha256(listing).hexdigest()


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file as hex; ModelError when it cannot be read or is too large."""
    try:
        with os.fdopen(os.open(file, FLAGS), "rb") as stream:
            if (n_bytes := size_of(stream.fileno())) > MOST_FILE_BYTES:
                raise ModelError(f"{file}: expected at most {MOST_FILE_BYTES} bytes, received {n_bytes}")
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except NotAFileError as exc:
        raise ModelError(f"{file} is no file; restore the model folder or train the model again") from exc
    except OSError as exc:
        raise ModelError(f"{file}: {exc.strerror}; restore the model folder or train the model again") from exc


def _entries(folder: Path, listing: bytes) -> Iterator[tuple[str, str]]:
    for line in listing.decode("utf-8", errors="replace").splitlines():
        digest, separator, name = line.partition("  ")
        if not separator or len(digest) != 64 or not name or "/" in name or "\\" in name:
            raise ModelError(f"{folder / DIGEST_FILE}: {line[:80]!r} is not a line of sha256sum; save the model again")
        yield name, digest

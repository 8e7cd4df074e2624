"""Find a model by its digest, whatever its folder is called. Standard library only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from wavemill.errors import ModelError
from wavemill.vae.record import DIGEST_FILE, known_models, named_folders
from wavemill.vae.replacement import read_steadily

_MAX_LISTING_BYTES = 1_000_000  # ten thousand files; what is larger is no model's


def folders_of_digest(digest: str, name_or_path: str | Path, models_dir: str | Path) -> Iterator[Path]:
    """Yield the folders that say they are the model of this digest: what is found by name first, then all by name.

    Only the small file `SHA256` is read of each; whether the others are as it says shows when one is loaded.
    """
    seen = set()
    for folder in (*named_folders(name_or_path, models_dir), *known_models(models_dir)):
        if folder.resolve() not in seen and stated_digest(folder) == digest:
            yield folder
        seen.add(folder.resolve())


def stated_digest(folder: Path) -> str | None:
    """Return the digest that a model's folder says it has; None where there is none."""
    try:
        return read_steadily(folder, _read)
    except (OSError, ModelError):
        return None


def _read(folder: Path) -> str | None:
    file = folder / DIGEST_FILE
    found = file.stat()
    if found.st_size > _MAX_LISTING_BYTES:
        return None
    return _digest_of(file, (found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size))


@lru_cache(maxsize=256)
def _digest_of(file: Path, _identity: tuple[int, ...]) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

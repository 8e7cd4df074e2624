"""Find a model by its digest, whatever its folder's name. Standard library only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from wavemill.errors import ModelError, StorageUnavailableError
from wavemill.shipped import shipped_folder
from wavemill.storage.errors import Verdict, is_missing, reason, require_there, verdict
from wavemill.vae.folder.finding import list_models, named_folders
from wavemill.vae.folder.record import DIGEST_FILE
from wavemill.vae.folder.replacement import read_steadily

_MAX_LISTING_BYTES = 1_000_000  # ten thousand files; no model has a larger listing


def folders_of_digest(digest: str, name_or_path: str | Path, models_dir: str | Path) -> Iterator[Path]:
    """Yield the folders whose `SHA256` file states this digest.

    Folders that `name_or_path` may mean come first, then the shipped models, then all of
    `models_dir`. Only the small file `SHA256` of each folder is read; the other files are verified
    at loading.

    Raises
    ------
    StorageUnavailableError
        After the last folder, when a folder that may be the model, or the models' folder itself,
        could not be read.
    """
    problem: OSError | None = None
    seen = set()
    for folder in _candidates(name_or_path, Path(models_dir)):
        place = os.path.realpath(folder)
        if isinstance(found := _digest_or_error(folder), OSError):
            if not is_missing(found) and verdict(found) is Verdict.OUTAGE:
                problem = found
        elif found == digest and place not in seen:
            yield folder
        seen.add(place)
    if problem is not None:
        raise StorageUnavailableError(f"the models in {models_dir} cannot be read now: {reason(problem)}") from problem
    require_there(Path(models_dir), "the folder of models")


def _candidates(name_or_path: str | Path, models_dir: Path) -> Iterator[Path]:
    yield from named_folders(name_or_path, models_dir)
    if shipped := shipped_folder("models"):
        yield from list_models(shipped)
    try:
        children = sorted(models_dir.iterdir())
    except OSError as exc:
        if not is_missing(exc) and verdict(exc) is not Verdict.OUTAGE:
            raise
        return  # the caller that looks for the folder reports what is wrong with the path
    yield from children


def stated_digest(folder: Path) -> str | None:
    """Return the digest that a model folder's `SHA256` file states; None without such a file."""
    found = _digest_or_error(folder)
    return None if isinstance(found, OSError) else found


def _digest_or_error(folder: Path) -> str | OSError | None:
    try:
        return read_steadily(folder, _read)
    except ModelError:
        return None
    except OSError as exc:
        return exc


def _read(folder: Path) -> str | None:
    file = folder / DIGEST_FILE
    found = file.stat()
    if found.st_size > _MAX_LISTING_BYTES:
        return None
    return _digest_of(file, (found.st_dev, found.st_ino, found.st_ctime_ns, found.st_size))


@lru_cache(maxsize=256)
def _digest_of(file: Path, _identity: tuple[int, ...]) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

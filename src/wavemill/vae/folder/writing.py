"""Write a folder of plain files with their digests, all of it or nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from wavemill.errors import OutputError
from wavemill.vae.folder.digests import listed_names, sha256_of
from wavemill.vae.folder.record import DIGEST_FILE, LATENTS_FILE, RECORD_FILE, RECORD_FILES
from wavemill.vae.folder.replacement import scratch_prefix


def write_folder(folder: Path, write_files: Callable[[Path], None], *, record_file: str = RECORD_FILE) -> None:
    """Let `write_files` fill a new folder, add the digests, and put it in place of `folder`.

    The new folder is complete before the old one is renamed away, so `folder` is never
    half-written. Between the two renames it is missing for a moment; `wavemill.vae.folder.replacement`
    retries such reads. A process killed in that moment leaves both folders, complete, in a sibling
    folder whose name begins with a dot. Files that the old folder's `SHA256` does not list, such as
    a training in progress, are moved to the new folder.

    Parameters
    ----------
    record_file : the file that marks this kind of folder; a folder of another kind is never
        replaced

    Raises
    ------
    OutputError
        When the folder cannot be written, or holds a record of another kind.
    """
    folder = folder.resolve()  # a symbolic link is kept and leads to the new folder
    require_writable(folder, record_file=record_file)
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=scratch_prefix(folder)) as scratch:
            written = Path(scratch, "new")
            written.mkdir()  # readable by others; the scratch folder is not
            write_files(written)
            lines = [f"{sha256_of(file)}  {file.name}\n" for file in sorted(written.iterdir())]
            (written / DIGEST_FILE).write_text("".join(lines), encoding="utf-8")
            _replace(folder, written, Path(scratch, "old"))
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written: {exc}") from exc


def require_writable(folder: Path, *, record_file: str = RECORD_FILE) -> None:
    """Check now that `write_folder` can write here, before hours of training.

    Raises
    ------
    OutputError
        When it cannot, or `folder` holds a record of another kind.
    """
    try:
        for name, kind in RECORD_FILES.items():
            if name != record_file and (folder / name).exists():
                raise OutputError(f"{folder} holds {kind}, which is never replaced by {RECORD_FILES[record_file]}")
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError("it is a file")
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=scratch_prefix(folder)).cleanup()
    except OSError as exc:
        raise OutputError(f"{folder} cannot be written: {exc}; choose another folder") from exc


def _replace(folder: Path, written: Path, old: Path) -> None:
    if not folder.exists():
        written.rename(folder)
        return
    folder.rename(old)
    try:
        written.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    ours = {DIGEST_FILE, LATENTS_FILE, *listed_names(old), *(file.name for file in folder.iterdir())}
    for other in old.iterdir():
        if other.name not in ours:
            other.rename(folder / other.name)

"""A folder of plain files with their digests, written whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from wavemill.errors import OutputError
from wavemill.vae.record import DIGEST_FILE, LATENTS_FILE, sha256_of


def write_folder(folder: Path, write_files: Callable[[Path], None]) -> None:
    """Let `write_files` fill a new folder, add the digests, and put its files in place of those in `folder`.

    Raises
    ------
    OutputError
        When the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
            written = Path(scratch)
            write_files(written)
            lines = [f"{sha256_of(file)}  {file.name}\n" for file in sorted(written.iterdir())]
            (written / DIGEST_FILE).write_text("".join(lines), encoding="utf-8")
            _swap(written, folder)
    except OSError as exc:
        raise OutputError(f"{folder}: the model cannot be written: {exc}") from exc


def _swap(written: Path, folder: Path) -> None:
    """Move the files in, the digest last: a reader in between sees a changed model, never a half one as whole."""
    folder.mkdir(exist_ok=True)
    (folder / DIGEST_FILE).unlink(missing_ok=True)
    (folder / LATENTS_FILE).unlink(missing_ok=True)
    for file in sorted(written.iterdir(), key=lambda file: file.name == DIGEST_FILE):
        file.replace(folder / file.name)

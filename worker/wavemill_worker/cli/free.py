"""Refuse to train into a folder that holds something, before hours are spent on what to put there."""

from __future__ import annotations

from pathlib import Path

import click

from wavemill.vae.record import RECORD_FILES


def require_free(folder: Path, metavar: str) -> None:
    """Refuse a folder that holds anything: a model, a recogniser, an unfinished training, or somebody's files."""
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{folder} is a file; {metavar} is the folder to be made")
    if (folder / ".training").exists():
        raise click.UsageError(f"{folder} holds an unfinished training; go on with --resume, or --overwrite it")
    for name, kind in RECORD_FILES.items():
        if (folder / name).exists():
            raise click.UsageError(f"{folder} holds {kind}; choose another folder, or --overwrite it")
    if folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} holds other files; choose a folder that is new or empty")

"""Refuses to train into a folder that is not empty, before hours are spent on training."""

from __future__ import annotations

from pathlib import Path

import click

from wavemill.vae.folder.record import RECORD_FILES, TRAINING_NAME


def require_free(folder: Path, metavar: str) -> None:
    """Refuse a folder with a model, a recogniser, an unfinished training, or any other file."""
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{folder} is a file; {metavar} is the folder to make")
    if (folder / TRAINING_NAME).exists():
        raise click.UsageError(f"{folder} holds an unfinished training; continue it with --resume, or --overwrite it")
    for name, kind in RECORD_FILES.items():
        if (folder / name).exists():
            raise click.UsageError(f"{folder} holds {kind}; choose another folder, or --overwrite it")
    if folder.is_dir() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} holds other files; choose a folder that is new or empty")

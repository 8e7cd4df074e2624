"""`wavemill model`: list, show, verify."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from wavemill.errors import ModelError
from wavemill.vae.folder.digests import verify
from wavemill.vae.folder.finding import find_model, known_models, list_models
from wavemill.vae.folder.record import numbers_text, read_record
from wavemill_cli.paths import FilePath
from wavemill_cli.printing import json_option, print_json, print_table, say


def _models_of_settings() -> Path:
    from wavemill.settings import Settings

    return Settings.from_env().models


_models_option = click.option(
    "--models",
    "models_dir",
    type=FilePath(),
    show_default="WAVEMILL_MODELS, and the shipped models",
    help="Folder that holds the models.",
)
_COLUMNS = ("model", "kind", "architecture", "preset", "numbers", "digest", "error")


@click.group()
def model() -> None:
    """List, show and verify trained models."""


@model.command("list", epilog="Example: wavemill model list")
@_models_option
@json_option
def list_command(models_dir: Path | None, as_json: bool) -> None:
    """List the models, including damaged ones.

    `numbers` is what a clip becomes: its latents, and the numbers of the labels that the decoder is
    told.
    """
    folders = list_models(models_dir) if models_dir else known_models(_models_of_settings())
    if not folders:
        say(
            f"no model in {models_dir or _models_of_settings()}; train one, or name another folder with --models",
            err=True,
        )
    rows = [_summary(folder) for folder in folders]
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        print_table(_COLUMNS, [[row.get(column) for column in _COLUMNS] for row in rows])


@model.command(epilog="Example: wavemill model show fsdd-vae")
@click.argument("name", metavar="MODEL")
@_models_option
@json_option
def show(name: str, models_dir: Path | None, as_json: bool) -> None:
    """Show what MODEL is, what it was trained on and how well it performs."""
    record = read_record(find_model(name, models_dir or _models_of_settings()))
    values = record.as_dict()
    if as_json:
        print_json({**values, "numbers": record.vector_dim})
        return
    say(f"a clip: {numbers_text(record.latent_dim, record.told_dim)}")
    for line in _lines(values):
        say(line)


@model.command("verify", epilog="Example: wavemill model verify fsdd-vae")
@click.argument("name", metavar="MODEL")
@_models_option
@json_option
def verify_command(name: str, models_dir: Path | None, as_json: bool) -> None:
    """Check every file of MODEL against its recorded digest."""
    folder = find_model(name, models_dir or _models_of_settings())
    digest = verify(folder)
    if as_json:
        print_json({"model": folder.name, "digest": digest})
    else:
        say(f"{folder}: intact, digest {digest}")


def _lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Yield a line for each value; values of a mapping are indented below its name."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from _lines(value, indent + "  ")
        else:
            first, *others = str(value).strip().split("\n")
            yield f"{indent}{key}: {first}"
            yield from (f"{indent}  {line}" for line in others)


def _summary(folder: Path) -> dict[str, Any]:
    try:
        record, digest = read_record(folder), verify(folder)
    except ModelError as exc:
        return {"model": folder.name, "error": str(exc)}
    return {
        "model": folder.name,
        "kind": record.kind,
        "architecture": record.architecture,
        "preset": record.features.preset,
        "latent_dim": record.latent_dim,
        "numbers": record.vector_dim,
        "digest": digest,
    }

"""Read training options from a file, in TOML or JSON."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from wavemill.errors import UsageError
from wavemill.files.bounded import NotAFileError, TooLargeError, read_file
from wavemill.files.bounded_json import MOST_BYTES, parse_json
from wavemill.vae.training.config import TrainingConfig

_NOT_OPTIONS = {"init"}  # recorded by the training itself


def read_config(file: Path) -> dict[str, Any]:
    """Return the fields of `TrainingConfig` that a file sets.

    Raises
    ------
    UsageError
        When the file cannot be read, or sets something else.
    """
    try:
        data = read_file(file, most_bytes=MOST_BYTES)
        values = tomllib.loads(data.decode()) if file.suffix == ".toml" else parse_json(data)
    except (OSError, ValueError, NotAFileError, TooLargeError) as exc:
        raise UsageError(f"{file}: expected training options in TOML (.toml) or JSON: {exc}") from exc
    known = {field.name: field for field in fields(TrainingConfig) if field.name not in _NOT_OPTIONS}
    if not isinstance(values, dict) or set(values) - set(known):
        odd = ", ".join(sorted(set(values) - set(known))) if isinstance(values, dict) else type(values).__name__
        raise UsageError(f"{file}: there is no training option {odd}; choose from: {', '.join(known)}")
    if wrong := [name for name, value in values.items() if not _fits(str(known[name].type), value)]:
        said = ", ".join(f"{name} = {str(values[name])[:40]} (expected {known[name].type})" for name in wrong)
        raise UsageError(f"{file}: {said}")
    return values


def _fits(kind: str, value: Any) -> bool:
    """Return whether a value from a file is of a field's type, which `TrainingConfig` names as text."""
    if kind == "bool" or isinstance(value, bool):
        return kind == "bool" and isinstance(value, bool)
    if kind.startswith("list"):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    expected: dict[str, type | tuple[type, ...]] = {"int": int, "str": str, "dict": dict, "float": (int, float)}
    return isinstance(value, expected[kind.split(" ")[0].split("[")[0]])

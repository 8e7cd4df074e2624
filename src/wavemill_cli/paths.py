"""Click types for paths and locations. They expand a leading `~`, as a shell does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wavemill.places import expanded


class FilePath(click.Path):
    """A path on this machine."""

    def __init__(self, **options: Any) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Replace `~`, then check as click does."""
        return super().convert(_expanded(self, value, param, ctx), param, ctx)


class Location(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A path, a URL, or a name that is looked up."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Replace `~` and leave the rest as it is written."""
        text = str(value)
        return str(_expanded(self, text, param, ctx)) if text.startswith("~") else text


def _expanded(kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
    try:
        return expanded(value)
    except ValueError as exc:
        kind.fail(str(exc), param, ctx)

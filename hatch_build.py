"""Puts a model and a recogniser into the wheel, so that a plain install can make sound; a checkout has its own."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SHIPPED = ("models/fsdd-vae", "recognisers/fsdd")


class ShipModels(BuildHookInterface[Any]):
    """Hatchling finds this class by itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders, but not to an editable install."""
        if version == "standard":
            build_data["force_include"].update({folder: f"wavemill/shipped/{folder}" for folder in SHIPPED})

"""What comes with wavemill besides code: models and recognisers, in the wheel or in the checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder(kind: str) -> Path | None:
    """Return the folder of the `models` or `recognisers` that came with wavemill; None where there is none."""
    checkout = _PACKAGE.parents[1]
    in_checkout = (checkout / kind,) if (checkout / "pyproject.toml").is_file() else ()
    return next((folder for folder in (_PACKAGE / "shipped" / kind, *in_checkout) if folder.is_dir()), None)

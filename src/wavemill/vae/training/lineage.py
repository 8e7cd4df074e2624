"""What a model was trained on: by itself, and as the models whose weights it started from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wavemill.labels import Labels
from wavemill.vae.training.held_out import HeldOut

if TYPE_CHECKING:
    from wavemill.vae.model import Model

_HEARD = ("dataset", "validation_label", "added", "added_share", "init")


def ancestors(init: Model | None) -> list[dict[str, Any]]:
    """Return the records of earlier trainings if training starts from `init`, latest first."""
    if init is None:
        return []
    training = init.record.training
    own = {name: training[name] for name in _HEARD if name in training}
    return [{"model": f"{init.name}, {init.digest}", **own}, *training.get("ancestors", ())]


def inherited_rule(init: Model | None, labels: Sequence[Labels]) -> str | None:
    """Return the held-out rule of `init`, if it applies to spectrograms with these labels.

    By default, a model must not learn from the clips that its predecessor was judged by.
    """
    rule = init.record.training.get("validation_label") if init else None
    if rule is None or not any(HeldOut.parse(rule).key in item for item in labels):
        return None
    return str(rule)

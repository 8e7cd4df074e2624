"""What a model has heard: by its own training, and by those of the models that it began as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wavemill.vae.held_out import HeldOut

if TYPE_CHECKING:
    from wavemill.vae.model import Model

_HEARD = ("dataset", "validation_label", "added", "added_share", "init")


def ancestors(init: Model | None) -> list[dict[str, Any]]:
    """Return what a training that starts from `init` records of those before it, the last one first."""
    if init is None:
        return []
    training = init.record.training
    own = {name: training[name] for name in _HEARD if name in training}
    return [{"model": f"{init.name}, {init.digest}", **own}, *training.get("ancestors", ())]


def inherited_rule(init: Model | None, labels: Sequence[Mapping[str, str]]) -> str | None:
    """Return the rule that `init` was trained by, where it says anything about spectrograms of these labels.

    What a model was judged by must not be what its successor learns from, unless somebody asks for that.
    """
    rule = init.record.training.get("validation_label") if init else None
    if rule is None or not any(HeldOut.parse(rule).key in item for item in labels):
        return None
    return str(rule)

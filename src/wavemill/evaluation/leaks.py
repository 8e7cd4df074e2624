"""Warn where a model may have been trained on the clips that judge it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wavemill.errors import UsageError
from wavemill.vae.training.held_out import HeldOut


def leak_notes(who: str, training: Mapping[str, Any], held_out: HeldOut) -> Iterator[str]:
    """Yield a sentence for every training in a model's past that may have used clips in `held_out`.

    Parameters
    ----------
    who : the model's name
    training : its training record; `ancestors` in it are the records of the models it started from
    """
    before = list(training.get("ancestors", ()))
    yield from _own_notes(who, training, held_out)
    for past in before:
        yield from _own_notes(f"{past.get('model')}, as which {who} began,", past, held_out)
    oldest = before[-1] if before else training
    if oldest.get("init"):
        yield f"{who} may have heard these clips: it began as {oldest['init']}, whose training is not recorded."


def rule_note(who: str, rule: str | None, held_out: HeldOut, *, dataset: str | None = None) -> Iterator[str]:
    """Yield a sentence unless a training by `rule` held out all clips in `held_out`."""
    if not _covers(rule, held_out):
        where = f" on {dataset}" if dataset else ""
        yield (f"{who} may have been trained on these clips: its training{where} held out {rule or 'a random part'}.")


def _own_notes(who: str, training: Mapping[str, Any], held_out: HeldOut) -> Iterator[str]:
    yield from rule_note(who, training.get("validation_label"), held_out, dataset=training.get("dataset"))
    share = training.get("added_share")
    if added := training.get("added"):
        yield (
            f"{who} learnt besides from {', '.join(added)}, {share or 0:.0%} of each epoch, of which nothing was held "
            "out: it may have heard these clips there."
        )
    elif share and "added" not in training:  # older records hold a share, used or not, but no names
        yield (
            f"{who} may have heard these clips in datasets that were added to its training, up to {share:.0%} of each "
            "epoch: its record does not name them."
        )


def _covers(rule: str | None, held_out: HeldOut) -> bool:
    try:
        return rule is not None and HeldOut.parse(rule).covers(held_out)
    except UsageError:  # in a record that was edited by hand
        return False

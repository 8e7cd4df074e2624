"""Warns of models that may have been trained on the clips that they are judged on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.evaluation.own_part import OwnPart, own_part
from wavemill.labels import SPLIT, SPLITS
from wavemill.vae.model import Model
from wavemill.vae.training.dataset_source import audible_entries
from wavemill.vae.training.held_out import HeldOut


def held_out_rule(dataset: Dataset, models: Sequence[Model]) -> HeldOut | OwnPart:
    """Return what chooses the clips to judge: the part `test`, or what all models have held out.

    UsageError if there is neither.
    """
    if next(audible_entries(dataset), None) is None:
        raise UsageError(f"{dataset.path} holds no spectrogram with sound; there is nothing to judge")
    if SPLIT in dataset.manifest.labels and next(dataset.ids({SPLIT: SPLITS[2]}), None) is not None:
        return HeldOut(SPLIT, (SPLITS[2],))
    rules = {str(model.record.training.get("validation_label") or "") for model in models}
    if len(rules) == 1 and "" not in rules:
        return HeldOut.parse(rules.pop())
    part = own_part(dataset, models[0].record.training)
    if part and all(part.is_of(model.record.training) for model in models):
        return part
    raise UsageError(
        f"{dataset.path} has no part split=test, and the models' records do not name one rule that held clips out: "
        "choose clips with --held-out LABEL=A,B, or build the dataset with a label split"
    )


def leak_notes(who: str, training: Mapping[str, Any], held_out: HeldOut | OwnPart) -> Iterator[str]:
    """Yield a sentence for each training, the model's own or an ancestor's, that may have used `held_out`.

    Parameters
    ----------
    who : the model's name
    training : its training record; `ancestors` in it are the records of the models it started from
    """
    before = list(training.get("ancestors", ()))
    yield from _own_notes(who, training, held_out)
    for past in before:
        yield from _own_notes(f"{past.get('model')}, which {who} started from,", past, held_out)
    oldest = before[-1] if before else training
    if oldest.get("init"):
        yield (
            f"{who} may have been trained on these clips: it started from {oldest['init']}, "
            "whose training is not recorded."
        )


def rule_note(who: str, rule: str | None, held_out: HeldOut | OwnPart, *, dataset: str | None = None) -> Iterator[str]:
    """Yield a sentence unless a training by `rule` held out all clips in `held_out`."""
    is_part = isinstance(held_out, HeldOut) and held_out.key == SPLIT and SPLITS[0] not in held_out.values
    if rule is None and is_part:
        return  # training without a rule keeps to the parts
    if not _covers(rule, held_out):
        where = f" on {dataset}" if dataset else ""
        yield (f"{who} may have been trained on these clips: its training{where} held out {rule or 'a random part'}.")


def _own_notes(who: str, training: Mapping[str, Any], held_out: HeldOut | OwnPart) -> Iterator[str]:
    if not isinstance(held_out, OwnPart) or not held_out.is_of(training):
        yield from rule_note(who, training.get("validation_label"), held_out, dataset=training.get("dataset"))
    share = training.get("added_share")
    if added := training.get("added"):
        yield (
            f"{who} was also trained on {', '.join(added)} ({share or 0:.0%} of each epoch), where nothing was held "
            "out, so possibly on these clips."
        )
    elif share and "added" not in training:  # older records have a share, used or not, and no names
        yield (
            f"{who} may have been trained on these clips: up to {share:.0%} of each epoch came from added datasets, "
            "and its record does not name them."
        )


def _covers(rule: str | None, held_out: HeldOut | OwnPart) -> bool:
    try:
        return rule is not None and isinstance(held_out, HeldOut) and HeldOut.parse(rule).covers(held_out)
    except UsageError:  # in a record that was edited by hand
        return False

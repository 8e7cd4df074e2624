"""Evaluates models on held-out recordings; also judges the recordings and inversion alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import wavemill
from wavemill.dataset.index import Dataset, Entry
from wavemill.errors import UsageError
from wavemill.evaluation import clips, fidelity, interpolation, latents, likeness, sampling
from wavemill.evaluation.clips import Clips, Split, labels, lengths_s, peaks, sounds, split
from wavemill.evaluation.interpolation import interpolation_figures
from wavemill.evaluation.judge import Judge, Rendition
from wavemill.evaluation.latents import first_frames, latent_figures
from wavemill.evaluation.leaks import held_out_rule, leak_notes, rule_note
from wavemill.evaluation.missing import missing_notes
from wavemill.evaluation.own_part import OwnPart
from wavemill.evaluation.plain_ear import Ear, PlainEar
from wavemill.evaluation.sampling import Background, background, sampling_figures
from wavemill.presets import Features
from wavemill.recogniser.recogniser import Recogniser
from wavemill.recogniser.recordings import Recordings
from wavemill.synthesis.from_model import SourceClip, reconstruct
from wavemill.vae.model import Model
from wavemill.vae.training.held_out import HeldOut

OnStep = Callable[[str], None]  # called with a sentence before each step

FORMAT = 1
TRUTH, INVERSION = "recordings", "inversion only"


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The options of an evaluation."""

    held_out: str | None = None  # None: see `held_out_rule`
    n_samples: int = 600  # without labels, and as many again per kind of label; 0 for none
    n_pairs: int = 50  # pairs of clips to interpolate between; 0 for none


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Renditions of the same clips: the truth first, then the inversions, then the models.

    Without recordings the inversion is the truth.
    """

    entries: Sequence[Entry]
    renditions: Sequence[Rendition]
    judged: Features
    about: Mapping[str, Any]
    notes: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON types, with notes and explanations."""
        return {
            "format": FORMAT,
            "wavemill_version": wavemill.__version__,
            **self.about,
            "figures": {rendition.name: rendition.figures for rendition in self.renditions},
            "notes": list(self.notes),
            "how": {**clips.HOW, **fidelity.HOW, **likeness.HOW, **latents.HOW, **sampling.HOW, **interpolation.HOW},
        }


def evaluate(
    models: Sequence[Model],
    dataset: Dataset,
    recogniser: Recogniser | None,
    *,
    recordings: Recordings | None = None,
    config: EvaluationConfig | None = None,
    progress: OnStep = lambda _: None,
) -> Evaluation:
    """Judge models on the recordings that the dataset's rule holds out.

    Parameters
    ----------
    models : models with different names; they decode the latent mean
    recogniser : listens to the sounds; without one, no labels are heard
    recordings : the recordings that the dataset was built from. Without them the inverted
        spectrograms serve as truth, and every model must have the dataset's features

    Raises
    ------
    UsageError
        When two models have the same name, or the rule holds out nothing or everything.
    PresetMismatchError
        When a model's features differ from the dataset's and there are no recordings.
    """
    config = config or EvaluationConfig()
    names = [model.name for model in models]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"expected models of different names, received {', '.join(names) or 'none'}")
    rule = HeldOut.parse(config.held_out) if config.held_out else held_out_rule(dataset, models)
    parts, reader = split(dataset, rule), Clips(dataset, recordings)
    judged, rate_hz = reader.judged, reader.judged.sample_rate_hz
    ear: Ear = recogniser or PlainEar(judged)
    name = TRUTH if reader.has_recordings else INVERSION
    progress(f"{name}: {len(parts.held_out)} held out")
    truth = reader.truth(parts.held_out)
    judge = Judge(ear, truth, labels(parts.held_out), judged)
    renditions = [judge.judge_truth(name)]
    for name, features in (_inversions(models) if reader.has_recordings else {}).items():
        progress(name)
        spectrograms = reader.spectrograms(parts.held_out, features)
        made = sounds(spectrograms, features, lengths_s(truth, rate_hz), rate_hz, peaks=peaks(parts.held_out))
        renditions.append(judge.judge(name, made))
    others = reader.truth_in_pages(parts.others)
    real = background(ear, truth, others, rate_hz) if config.n_samples else None
    notes: list[str] = []
    for model in models:
        progress(model.name)
        rendition = _judge_model(model, judge, reader, parts, config)
        if real is not None:
            progress(f"{model.name}: {config.n_samples} samples, and by label")
            notes += _add_sampling(rendition, model, judge, real, config.n_samples)
        renditions.append(rendition)
    return Evaluation(
        entries=parts.held_out,
        renditions=renditions,
        judged=judged,
        about=_about(models, dataset, recogniser, rule, parts),
        notes=missing_notes(judge, recogniser, reader, renditions[-1])
        + _left_out_notes(renditions[-len(models) :], config)
        + _leak_notes(models, recogniser, rule)
        + notes,
    )


def _inversions(models: Sequence[Model]) -> dict[str, Features]:
    """Return the models' features without repetition, by the name of their rendition."""
    presets = {model.features.preset: model.features for model in models}
    if len(presets) == 1:
        return {INVERSION: next(iter(presets.values()))}
    return {f"{INVERSION}, {preset}": features for preset, features in presets.items()}


def _judge_model(model: Model, judge: Judge, reader: Clips, parts: Split, config: EvaluationConfig) -> Rendition:
    rate_hz = reader.judged.sample_rate_hz
    spectrograms, lengths = reader.spectrograms(parts.held_out, model.features), lengths_s(judge.truth, rate_hz)
    sources = [
        SourceClip(spectrogram=s, duration_s=length_s, labels=entry.labels)
        for s, length_s, entry in zip(spectrograms, lengths, parts.held_out, strict=True)
    ]
    reconstructed = reconstruct(model, sources).spectrograms  # restores the level, as a job does
    made = sounds(reconstructed, model.features, lengths, rate_hz, peaks=peaks(parts.held_out))
    rendition = judge.judge(model.name, made)
    frames = first_frames(spectrograms, model.features.n_frames)
    rendition.figures["latents"] = latent_figures(model, frames, labels(parts.held_out))
    longest = max(spectrogram.shape[1] for spectrogram in spectrograms)
    n_pairs = config.n_pairs if longest <= model.features.n_frames else 0  # longer clips have no single latent
    between = interpolation_figures(
        model, judge.recogniser, sources, judge.expected, rendition, n_pairs=n_pairs, sample_rate_hz=rate_hz
    )
    if between:
        rendition.figures["interpolation"] = between
    return rendition


def _add_sampling(rendition: Rendition, model: Model, judge: Judge, real: Background, n_samples: int) -> list[str]:
    """Add the figures of a model's samples; if it cannot sample, return a note that says so."""
    try:
        figures = sampling_figures(model, judge.recogniser, real, kinds=judge.kinds, n_samples=n_samples)
    except UsageError as exc:
        return [f"{model.name}: no samples: {exc}"]
    rendition.figures["sampling"] = figures
    return []


def _left_out_notes(judged: Sequence[Rendition], config: EvaluationConfig) -> list[str]:
    """Return notes on figures of samples and interpolations that were asked for and do not apply."""
    notes = []
    if config.n_pairs and not all("interpolation" in rendition.figures for rendition in judged):
        notes.append("No interpolations were judged: they take two held-out clips, none longer than a frame.")
    sampled = {rendition.name: rendition.figures["sampling"] for rendition in judged if "sampling" in rendition.figures}
    for name, figures in sampled.items():
        if unknown := [kind for kind, by_value in figures["by_label"].items() if by_value["asked"] is None]:
            notes.append(f"{name} cannot be asked for {', '.join(unknown)}: no samples by it were judged.")
    if any(figures["neighbourhoods"] is None for figures in sampled.values()):
        notes.append(
            "Precision, recall, density and coverage were not measured: they take more than "
            f"{sampling.NEIGHBOURS} held-out clips, other clips and samples."
        )
    return notes


def _leak_notes(models: Sequence[Model], recogniser: Recogniser | None, held_out: HeldOut | OwnPart) -> list[str]:
    """Return notes on models, or a recogniser, that may have been trained on the clips."""
    notes: list[str] = []
    if recogniser is not None:
        notes += rule_note("the recogniser", recogniser.record.training.get("held_out"), held_out)
    for model in models:
        notes += leak_notes(model.name, model.record.training, held_out)
    return notes


def _about(
    models: Sequence[Model], dataset: Dataset, recogniser: Recogniser | None, rule: HeldOut | OwnPart, parts: Split
) -> dict[str, Any]:
    return {
        "dataset": dataset.path.name,
        "held_out": str(rule),
        "clips": len(parts.held_out),
        "clips_held_out_in_all": parts.all_held_out,
        "others": len(parts.others),
        "others_in_all": parts.all_others,
        "recogniser": recogniser and {"name": recogniser.record.name, "digest": recogniser.digest},
        "models": {model.name: model.digest for model in models},
    }

"""Makes an evaluation's page: one self-contained HTML file with figures, pictures and sounds."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
import numpy as np

from wavemill.audio.encoding import encode
from wavemill.dataset.index import Entry
from wavemill.evaluation.evaluation import TRUTH, Evaluation
from wavemill.evaluation.judge import Rendition
from wavemill.evaluation.measure_rows import MEASURES, measure_rows
from wavemill.evaluation.pictures import loudest_db, spectrogram_png
from wavemill.presets import Features
from wavemill.text.shown import shown

# The measures per clip of which a greater value is better; of the others it is worse.
_BETTER_IF_MORE = {"stoi", "pesq", "pitch_right"}
_BEST_IF_ONE = {"bandwidth_ratio"}
_LAST = -1e9  # a clip without the measure comes last


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a clip, with its player, picture and scores."""

    name: str
    wav: str  # base64
    png: str  # base64
    picture_text: str
    scores: Sequence[tuple[str, str]]
    heard: Sequence[tuple[str, str, bool | None]]  # kind of label, answer with confidence, whether it is right


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One clip with all its versions."""

    name: str
    labels: str
    versions: Sequence[Version]
    badness: Mapping[str, float]  # by key of a sort order; greatest first
    all_right: bool


def page(evaluation: Evaluation, *, n_clips: int, show: str = "spread") -> str:
    """Return the HTML text of an evaluation.

    Parameters
    ----------
    n_clips : number of clips on the page; the figures always cover all clips
    show : "worst" for the clips with the greatest log-spectral distance of any model, "spread" for
        clips spread evenly from the worst to the best
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wavemill.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: shown(value) if isinstance(value, str) else value,
    )
    figures = evaluation.as_dict()
    orders = _sort_orders(evaluation.renditions)
    return environment.get_template("report.html").render(
        figures=figures,
        rows=list(measure_rows(figures)),
        clips=[_shown(evaluation, i, orders) for i in chosen(evaluation, n_clips=n_clips, show=show)],
        orders=[(key, text) for key, (text, _, _) in orders.items()],
    )


def chosen(evaluation: Evaluation, *, n_clips: int, show: str) -> list[int]:
    """Return the indices of the clips to show, the worst first."""
    models = [item for item in evaluation.renditions if item.name in evaluation.about["models"]]
    distance = np.max([item.scores["log_spectral_distance_db"] for item in models], axis=0)
    worst_first = np.argsort(-distance, kind="stable")
    count = min(n_clips, len(worst_first))
    if show == "worst":
        return [int(i) for i in worst_first[:count]]
    return [int(worst_first[round(k)]) for k in np.linspace(0, len(worst_first) - 1, count)]


def _sort_orders(renditions: Sequence[Rendition]) -> dict[str, tuple[str, Rendition, str]]:
    """Return the page's sort orders: key -> (text, rendition, measure), the last model's first."""
    names = {key: name for name, key, _ in MEASURES}
    orders = {}
    for number, rendition in reversed(list(enumerate(renditions))):
        for measure in rendition.scores:
            text = f"{rendition.name}: worst {names[measure].removesuffix(', dB')} first"
            orders[f"{measure.replace('_', '-')}-{number}"] = (text, rendition, measure)
    return orders


def _shown(evaluation: Evaluation, i: int, orders: Mapping[str, tuple[str, Rendition, str]]) -> Shown:
    entry, truth = evaluation.entries[i], evaluation.renditions[0]
    loudest = loudest_db(truth.sounds[i], evaluation.judged)
    seconds = len(truth.sounds[i]) / evaluation.judged.sample_rate_hz
    versions = [
        _version(rendition, i, entry, evaluation.judged, loudest=loudest, seconds=seconds)
        for rendition in evaluation.renditions
    ]
    badness = {
        key: badness_of(measure, float(rendition.scores[measure][i])) for key, (_, rendition, measure) in orders.items()
    }
    return Shown(
        name=entry.spectrogram_id,
        labels=", ".join(f"{kind} {value}" for kind, value in entry.labels.items()),
        versions=versions,
        badness=badness,
        all_right=not any(right is False for version in versions for _, _, right in version.heard),
    )


def badness_of(measure: str, value: float) -> float:
    """Return how bad a clip's score is: the greatest of several is the worst."""
    if not np.isfinite(value):
        return _LAST
    if measure in _BEST_IF_ONE:
        return abs(float(np.log(max(value, 1e-6))))
    return -value if measure in _BETTER_IF_MORE else value


def _version(
    rendition: Rendition, i: int, entry: Entry, judged: Features, *, loudest: float, seconds: float
) -> Version:
    sound = rendition.sounds[i]
    wav = encode(sound, judged.sample_rate_hz).data
    seconds = max(seconds, 0.1)
    png = spectrogram_png(sound, judged, loudest_db=loudest, seconds=seconds)
    said = "the recording" if rendition.name == TRUTH else rendition.name
    forms = {key: (name, form) for name, key, form in MEASURES}
    heard = [
        (kind, f"{names[i]} ({rendition.confidence[kind][i]:.0%})", rendition.right[kind][i])
        for kind, names in rendition.heard.items()
    ]
    return Version(
        name=rendition.name,
        wav=base64.b64encode(wav).decode(),
        png=base64.b64encode(png).decode(),
        picture_text=f"Spectrogram of {entry.spectrogram_id}, {said}",
        scores=[
            (forms[m][0], forms[m][1].format(values[i]) if np.isfinite(values[i]) else "none")
            for m, values in rendition.scores.items()
        ],
        heard=heard,
    )

"""Format an evaluation's figures as rows of text, for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Name, path in the figures, format. A row with {kind} is repeated for each kind of label.
MEASURES = (
    ("log-spectral distance, dB", "log_spectral_distance_db", "{:.2f}"),
    ("multi-resolution distance, dB", "multi_resolution_db", "{:.2f}"),
    ("mel-cepstral distortion, dB", "mel_cepstral_distortion_db", "{:.2f}"),
    ("loudness difference, LU", "loudness_difference_lu", "{:.2f}"),
    ("bandwidth ratio", "bandwidth_ratio", "{:.2f}"),
    ("pitch right", "pitch_right", "{:.1%}"),
    ("clips with a pitch", "pitch_clips", "{}"),
    ("STOI", "stoi", "{:.3f}"),
    ("PESQ", "pesq", "{:.2f}"),
    ("clips with PESQ", "pesq_clips", "{}"),
    ("{kind} heard", "{kind}_accuracy", "{:.1%}"),
    ("digit heard by PocketSphinx", "pocketsphinx_digit_accuracy", "{:.1%}"),
    ("latent dimensions", "latents.dimensions", "{}"),
    ("numbers of the conditions", "latents.told", "{}"),
    ("active dimensions", "latents.active_dimensions", "{}"),
    ("KL divergence, nats", "latents.kl_nats", "{:.1f}"),
    ("samples: {kind} sure", "sampling.free.{kind}.sure", "{:.1%}"),
    ("samples: all labels sure", "sampling.sure_of_all", "{:.1%}"),
    ("samples: {kind} values covered", "sampling.free.{kind}.covered", "{}"),
    ("samples: {kind} entropy", "sampling.free.{kind}.entropy", "{:.1%}"),
    ("samples of a {kind}: as asked", "sampling.by_label.{kind}.asked", "{:.1%}"),
    ("samples: Frechet distance", "sampling.frechet_distance", "{:.1f}"),
    ("the same for held-out recordings", "sampling.frechet_distance_of_held_out", "{:.1f}"),
    ("points in each of these sets", "sampling.frechet_points", "{}"),
    ("samples: precision", "sampling.neighbourhoods.precision", "{:.1%}"),
    ("samples: recall", "sampling.neighbourhoods.recall", "{:.1%}"),
    ("samples: density", "sampling.neighbourhoods.density", "{:.2f}"),
    ("samples: coverage", "sampling.neighbourhoods.coverage", "{:.1%}"),
    ("coverage of held-out recordings", "sampling.neighbourhoods.coverage_of_held_out", "{:.1%}"),
    ("samples: distance to nearest recording, dB", "sampling.memorisation.nearest_db_median", "{:.2f}"),
    ("the same for held-out recordings", "sampling.memorisation.nearest_db_median_of_held_out", "{:.2f}"),
    ("samples: copies", "sampling.memorisation.copies", "{:.1%}"),
    ("samples: nearer than recordings to each other", "sampling.memorisation.nearer_than_others", "{:.1%}"),
    ("interpolations: ends right", "interpolation.ends_right", "{:.1%}"),
    ("interpolations: steps sound", "interpolation.steps_sound", "{:.1%}"),
    ("interpolations: largest jump, median", "interpolation.largest_jump_median", "{:.2f}"),
    ("interpolations: whole", "interpolation.whole", "{:.1%}"),
)
_OUTSIDE = "pocketsphinx_digit"


@dataclass(frozen=True, kw_only=True)
class MeasureRow:
    """A measure with one cell for each rendition; the cell is empty where there is no figure."""

    name: str
    cells: Sequence[str]


def measure_rows(figures: Mapping[str, Any]) -> Iterator[MeasureRow]:
    """Yield the rows for `Evaluation.as_dict`'s result, without measures that have no figure."""
    renditions = list(figures["figures"].values())
    heard = [key.removesuffix("_accuracy") for key in renditions[0] if key.endswith("_accuracy")]
    kinds = [kind for kind in heard if kind != _OUTSIDE]
    for name, path, form in MEASURES:
        for kind in kinds if "{kind}" in path else [""]:
            keys = [key.format(kind=kind) for key in path.split(".")]  # a label's name may have dots
            cells = [_cell(figures_of, keys, form) for figures_of in renditions]
            if any(cells):
                yield MeasureRow(name=name.format(kind=kind), cells=cells)


def _cell(figures: Any, keys: Sequence[str], form: str) -> str:
    for key in keys:
        figures = figures.get(key) if isinstance(figures, Mapping) else None
    return "" if figures is None else form.format(figures)

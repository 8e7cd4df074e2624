"""Plots as inline SVG, made on the server: histograms and lines, with a text for screen readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wavemill.jobs.summary import BatchFigures
from wavemill_producer.web.pages.words import figure

WIDTH, FLOOR = 320, 108  # units of the viewBox; the floor is the horizontal axis
# Keys of the columns `quality` and `timings` -> what their plots are called, and the unit.
PLOTTED: Mapping[str, tuple[str, str]] = {
    "log_spectral_distance_db": ("Distance from the original", "dB"),
    "rms_dbfs": ("Level", "dBFS"),
    "forward_ms": ("Model, per job", "ms"),
    "invert_ms": ("Inversion, per job", "ms"),
    "write_ms": ("Writing, per job", "ms"),
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One plot: its name, its shape as an SVG path, the labels of its axes, and a sentence that says what it shows."""

    name: str
    path: str
    is_line: bool
    left: str
    middle: str
    right: str
    top: str
    sentence: str


def histogram(name: str, counts: Sequence[int], edges: Sequence[float], unit: str) -> Plot:
    """Plot how many jobs lie between each pair of edges."""
    most, width = max(counts), WIDTH / len(counts)
    bars = []
    for number, count in enumerate(counts):
        top = FLOOR - (FLOOR - 14) * count / most
        x = number * width
        bars.append(f"M{x:.1f} {FLOOR}V{top:.1f}H{x + width - 1:.1f}V{FLOOR}Z" if count else "")
    peak = counts.index(most)
    low, high = figure(float(edges[peak])), figure(float(edges[peak + 1]))
    return Plot(
        name=f"{name}, {unit}" if unit else name,
        path="".join(bars),
        is_line=False,
        left=figure(float(edges[0])),
        middle=figure((edges[0] + edges[-1]) / 2),
        right=figure(float(edges[-1])),
        top=f"{most} jobs",
        sentence=f"{name}: from {figure(float(edges[0]))} to {figure(float(edges[-1]))} {unit}, "
        f"most jobs between {low} and {high}",
    )


def line(name: str, values: Sequence[float], *, left: str, right: str, unit: str) -> Plot:
    """Plot values at even distances."""
    most = max(values) or 1.0
    step = WIDTH / max(1, len(values) - 1)
    points = [f"{number * step:.1f} {FLOOR - (FLOOR - 14) * value / most:.1f}" for number, value in enumerate(values)]
    return Plot(
        name=f"{name}, {unit}",
        path="M" + "L".join(points),
        is_line=True,
        left=left,
        middle="",
        right=right,
        top=f"{figure(float(most))} {unit}",
        sentence=f"{name}: at most {figure(float(most))} {unit}, {figure(float(values[-1]))} at the end",
    )


def plots(figures: BatchFigures) -> list[Plot]:
    """Return the plots of a batch; those without jobs are left out."""
    found = [
        histogram(name, figures.histograms[field].counts, figures.histograms[field].edges, unit)
        for field, (name, unit) in PLOTTED.items()
        if field in figures.histograms
    ]
    if figures.jobs_per_second and figures.first and figures.last:
        left, right = (f"{time:%H:%M:%S}" for time in (figures.first, figures.last))
        found.append(line("Throughput", figures.jobs_per_second, left=left, right=right, unit="jobs/s"))
    return found

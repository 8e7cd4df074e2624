"""Inversion methods against librosa's Griffin-Lim, as rows of the suite; measured by `benchmarks.inversion`."""

from __future__ import annotations

from benchmarks import inversion
from benchmarks.plan import Plan
from benchmarks.progress import tell
from benchmarks.row import Row

_GOALS = {"pghi+gl": "60 x, PESQ +0.35, STOI +0.015", "pghi": "120 x, PESQ better", "fine": "20 x, PESQ +0.45"}


def measure(plan: Plan) -> list[Row]:
    """Clips a second on one core, with the quality of each beside it."""
    step = max(1, len(plan.recordings) // plan.sizes.clips)
    chosen = list(plan.recordings)[::step][: plan.sizes.clips]
    tell(f"inverting {len(chosen)} clips by every method")
    rows = inversion.measure(chosen, rounds=plan.sizes.rounds)
    return [_row(row, _reference(rows, row.preset)) for row in rows if row.method != inversion.REFERENCE]


def _reference(rows: list[inversion.MethodFigures], preset: str) -> inversion.MethodFigures:
    return next(row for row in rows if row.preset == preset and row.method == inversion.REFERENCE)


def _row(row: inversion.MethodFigures, reference: inversion.MethodFigures) -> Row:
    remark = f"STOI {row.stoi:.3f} ({row.stoi - reference.stoi:+.3f})"
    if row.pesq is not None and reference.pesq is not None:
        remark = f"PESQ {row.pesq:.2f} ({row.pesq - reference.pesq:+.2f}), {remark}"
    return Row(
        what=f"inversion, {row.preset}, {row.method}",
        value=row.ms_per_clip,
        unit="ms",
        baseline=inversion.REFERENCE,
        baseline_value=reference.ms_per_clip,
        ratio=row.speedup,
        goal=_GOALS.get(row.method, "") if row.preset == "course" else "",
        remark=remark,
    )

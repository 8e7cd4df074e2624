"""One line of the suite's table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

HEAD = ("what", "here", "baseline", "there", "ratio", "goal", "remark")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured, against which baseline of the same run.

    Attributes
    ----------
    ratio : how many times as good as the baseline: as fast, or as many in a second
    goal : what the ratio, or the value, was meant to be; "" where nothing was promised
    """

    what: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float
    goal: str = ""
    remark: str = ""

    @classmethod
    def of_times(
        cls, what: str, seconds: float, baseline: str, baseline_s: float, *, goal: str = "", remark: str = ""
    ) -> Row:
        """Compare two durations."""
        unit, factor = ("s", 1.0) if max(seconds, baseline_s) >= 1 else ("ms", 1e3)
        return cls(
            what=what,
            value=factor * seconds,
            unit=unit,
            baseline=baseline,
            baseline_value=factor * baseline_s,
            ratio=baseline_s / seconds,
            goal=goal,
            remark=remark,
        )

    @classmethod
    def of_rates(
        cls,
        what: str,
        per_s: float,
        unit: str,
        baseline: str,
        baseline_per_s: float,
        *,
        goal: str = "",
        remark: str = "",
    ) -> Row:
        """Compare two rates, such as clips a second."""
        return cls(
            what=what,
            value=per_s,
            unit=unit,
            baseline=baseline,
            baseline_value=baseline_per_s,
            ratio=per_s / baseline_per_s,
            goal=goal,
            remark=remark,
        )


def table(rows: Iterable[Row]) -> str:
    """Return the rows as one Markdown table."""
    lines = [" | ".join(HEAD), "---|---:|---|---:|---:|---|---"]
    lines += [" | ".join(_cells(row)) for row in rows]
    return "\n".join(f"| {line} |" if i != 1 else f"|{line}|" for i, line in enumerate(lines))


def _cells(row: Row) -> tuple[str, ...]:
    here, there = f"{_short(row.value)} {row.unit}", f"{_short(row.baseline_value)} {row.unit}"
    return row.what, here, row.baseline, there, f"{_short(row.ratio)} x", row.goal, row.remark


def _short(value: float) -> str:
    """Return three digits that count, without exponents."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

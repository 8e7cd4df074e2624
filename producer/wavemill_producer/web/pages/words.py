"""Numbers and times as people read them; the filters of the templates."""

from __future__ import annotations

import datetime as dt
from typing import Any

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def duration(seconds: float | None) -> str:
    """Format a time span with its two largest units: `2 h 5 min`."""
    if seconds is None:
        return "unknown"
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
        elif parts:
            break
        if len(parts) == 2:
            break
    return " ".join(parts)


def ago(time: dt.datetime | None) -> str:
    """Say how long ago a time was."""
    if time is None:
        return ""
    passed_s = (dt.datetime.now(dt.UTC) - time).total_seconds()
    if passed_s < 5:
        return "just now"
    return f"{duration(passed_s).partition(' ')[0]} {duration(passed_s).split(' ')[1]} ago"


def clock(time: dt.datetime | None) -> str:
    """Format a time in UTC to the second."""
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M:%S UTC")


def count(number: int) -> str:
    """Format a count with a thin space between thousands."""
    return f"{number:,}".replace(",", "\u2009")


def rate(jobs_per_second: float | None) -> str:
    """Format a rate."""
    if jobs_per_second is None:
        return "unknown"
    digits = 0 if jobs_per_second >= 100 else 1 if jobs_per_second >= 10 else 2
    return f"{jobs_per_second:.{digits}f} jobs/s"


def percent(part: int, whole: int) -> str:
    """Format a share; only all of it is 100 %."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    return f"{min(99.9, share) if part < whole else 100:.{0 if share == int(share) else 1}f} %"


def figure(value: Any) -> str:
    """Format a value of the quality or timings columns."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1_000 else f"{value:,.0f}"
    return str(value)

"""Describe the machine and the code of a run, and nothing that names either of them."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
_LIBRARIES = ("numpy", "scipy", "numba", "librosa", "tensorflow-cpu", "keras", "celery", "SQLAlchemy")


def describe() -> dict[str, str]:
    """Return what a reader needs to judge the figures by."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}, Python {platform.python_version()}",
        "libraries": ", ".join(f"{name} {found}" for name in _LIBRARIES if (found := _version(name))),
        "load at the start": f"{os.getloadavg()[0]:.1f} in the last minute",
    }


def commit() -> str:
    """Return the commit that is measured, marked when files differ from it; "unknown" outside a checkout."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return f"{head}, with changes" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.replace("\t", "").split(": ", 1) for line in lines if ": " in line)
    vectors = [name for name in ("avx2", "avx512f", "sha_ni") if name in facts.get("flags", "").split()]
    return f"{facts.get('model name', platform.machine())}, {', '.join(vectors)}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except ModuleNotFoundError:
        return None

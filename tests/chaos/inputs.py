"""What jobs are made of, and how they must end, by their IDs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

End = tuple[str, str | None]  # state and error code
Expected = Callable[[str], End | None]  # None where any end will do

IS_KILLER, IS_MISSING = "poison", "missing"


def mixed(spectrogram_id: str) -> End:
    """Killers and missing ones fail, each with its code; the rest is done."""
    if spectrogram_id.startswith(IS_KILLER):
        return "failed", "worker-lost"
    return ("failed", "unknown-spectrogram") if spectrogram_id.startswith(IS_MISSING) else ("done", None)


def all_done(_spectrogram_id: str) -> End:
    """Nothing fails."""
    return "done", None


def any_end(_spectrogram_id: str) -> None:
    """It has to come to an end."""


def job_ids(n_jobs: int, *, n_poison: int, n_missing: int) -> Sequence[str]:
    """Return IDs among which some kill whoever opens them and some have no file, evenly spread."""
    ids = [f"job-{k:06d}" for k in range(n_jobs)]
    for name, count in ((IS_KILLER, n_poison), (IS_MISSING, n_missing)):
        for k in range(count):
            place = (2 * k + 1 + (name == IS_MISSING)) * n_jobs // (2 * count + 2)
            ids[place] = f"{name}-{k}"
    return ids


def write_inputs(dataset: Path, ids: Sequence[str]) -> None:
    """Give each ID but the missing ones a file, all with the same small content."""
    folder = dataset / "spectrograms"
    for spectrogram_id in ids:
        if not spectrogram_id.startswith(IS_MISSING):
            (folder / f"{spectrogram_id}.npy").write_bytes(spectrogram_id.encode())

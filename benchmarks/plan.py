"""What a run measures with: sizes, recordings, the model, and a folder of its own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.progress import tell
from wavemill.dataset.build import build
from wavemill.presets import DEFAULT_PRESET, PRESETS
from wavemill.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything; the defaults take a quarter of an hour on two cores."""

    rounds: int = 5
    clips: int = 300  # for inversion, spread over the recordings
    jobs: int = 320  # through the queue
    slow_jobs: int = 24  # one Celery task each
    single_jobs: int = 15  # submitted one by one
    submitted: int = 200_000
    table_rows: int = 1_000_000
    starts: int = 3  # of a worker

    @classmethod
    def small(cls) -> Sizes:
        """Just enough to see that everything runs."""
        return cls(rounds=1, clips=2, jobs=4, slow_jobs=2, single_jobs=2, submitted=300, table_rows=500, starts=1)


@dataclass(kw_only=True)
class Plan:
    """Handed to every part of the suite."""

    work: Path
    recordings: Sequence[Path]
    model: str
    models_dir: Path
    sizes: Sizes
    _datasets: dict[tuple[int, bool], Path] = field(default_factory=dict)

    def settings(self, name: str, **changes: object) -> Settings:
        """Return the settings of a home of its own."""
        return Settings.model_validate({"home": self.work / name, "models": self.models_dir, **changes})

    def dataset(self, n: int, *, packed: bool = False) -> Path:
        """Return a dataset of at least `n` clips: the recordings, copied into as many folders as it takes."""
        key = (n, packed)
        if key not in self._datasets:
            tell(f"building a dataset of {n} clips")
            audio = self.work / f"audio-{n}"
            for k in range(n):
                path = self.recordings[k % len(self.recordings)]
                copy = audio / f"set-{k // len(self.recordings)}" / path.name
                copy.parent.mkdir(parents=True, exist_ok=True)
                if not copy.exists():
                    shutil.copy(path, copy)
            folder = self.work / f"dataset-{n}{'-packed' if packed else ''}"
            build(audio, folder, PRESETS[DEFAULT_PRESET], jobs=1, packed=packed)
            self._datasets[key] = folder
        return self._datasets[key]

"""Reading one spectrogram with all checks, against the bare `numpy.load` of the same file."""

from __future__ import annotations

import hashlib

import numpy as np

from benchmarks.plan import Plan
from benchmarks.rounds import medians_s
from benchmarks.row import Row
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset

_TIMES = 20  # over each dataset, in one run


def measure(plan: Plan) -> list[Row]:
    """Time a clip, warm, from one file each and from packs."""
    n = min(plan.sizes.jobs, 64)
    with Dataset.open(plan.dataset(n)) as files, Dataset.open(plan.dataset(n, packed=True)) as packs:
        paths = [files.path / entry.file for entry in files.get_many(list(files.ids())).values()]
        block = bytes(4 * int(np.prod(files.features.shape)))
        seconds = medians_s(
            {
                "one file each": lambda: _read_all(files),
                "packed": lambda: _read_all(packs),
                "numpy.load": lambda: [np.load(path) for path in paths * _TIMES],
                "SHA-256": lambda: [hashlib.sha256(block).digest() for _ in paths * _TIMES],
            },
            plan.sizes.rounds,
        )
    per_clip = {name: value / (n * _TIMES) for name, value in seconds.items()}
    remark = f"of it SHA-256 alone {1e3 * per_clip['SHA-256']:.3f} ms"
    return [
        Row.of_times(
            f"reading a spectrogram, {form}, checked",
            per_clip[form],
            "numpy.load, unchecked",
            per_clip["numpy.load"],
            remark=remark,
        )
        for form in ("one file each", "packed")
    ]


def _read_all(dataset: Dataset) -> None:
    for _ in range(_TIMES):
        for entry in dataset.get_many(list(dataset.ids())).values():
            read_spectrogram(dataset, entry)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from wavemill.errors import UsageError
from wavemill.presets import PRESETS
from wavemill.vae.training.joined_source import JoinedSource


class Marked:
    """Spectrograms that hold nothing but their own number."""

    def __init__(self, first: int, n_items: int, preset: str = "digits") -> None:
        self.name = preset
        self.features = replace(PRESETS[preset], n_bins=2, n_frames=3)
        self.labels = [{"number": str(first + i)} for i in range(n_items)]
        self._first = first

    def read_db(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.broadcast_to((self._first + indices)[:, None, None], (len(indices), 2, 3)).astype(np.float32)


def test_spectrograms_are_read_from_the_source_they_belong_to_in_the_order_asked_for() -> None:
    joined = JoinedSource(Marked(0, 4), [Marked(100, 3), Marked(200, 2)])
    assert joined.added.tolist() == [4, 5, 6, 7, 8]
    db = joined.read_db(np.array([8, 0, 5, 3, 7, 4]))
    assert db[:, 1, 2].tolist() == [201, 0, 101, 3, 200, 100]
    assert joined.labels[5] == {"number": "101"}


def test_alone_it_adds_nothing() -> None:
    joined = JoinedSource(Marked(0, 4), [])
    assert joined.added.tolist() == []
    assert joined.read_db(np.array([2]))[0, 0, 0] == 2


def test_other_features_are_refused() -> None:
    with pytest.raises(UsageError, match="course, an added dataset, does not fit digits: it has sample_rate_hz"):
        JoinedSource(Marked(0, 4), [Marked(0, 4, "course")])

from __future__ import annotations

import pytest

from wavemill.rendering.pipeline import sub_batch_size


@pytest.mark.parametrize(
    ("n_jobs", "n_threads", "size"),
    [(1, 2, 1), (16, 2, 8), (64, 1, 32), (64, 2, 32), (64, 3, 22), (64, 8, 8), (65, 2, 17), (4096, 2, 32)],
)
def test_every_core_gets_as_many_sub_batches_and_none_is_larger_than_a_forward_pass(
    n_jobs: int, n_threads: int, size: int
) -> None:
    assert sub_batch_size(n_jobs, n_threads) == size

from __future__ import annotations

import numpy as np

from wavemill.inversion.kernel import kernel

SOURCE = """
def double(values):
    for i in range(values.size):
        values[i] *= 2
"""


def test_a_kernel_works_where_machine_code_cannot_be_kept():
    scope: dict = {}
    exec(SOURCE, scope)  # code without a file: numba knows no place beside it for its cache
    values = np.arange(3, dtype=np.float32)
    kernel(scope["double"])(values)
    assert values.tolist() == [0, 2, 4]


def test_a_kernel_lets_other_threads_run_and_keeps_nan():
    @kernel
    def total(values):
        result = np.float32(0)
        for value in values:
            result += value
        return result

    assert total.targetoptions["nogil"]
    assert np.isnan(total(np.array([1, np.nan], np.float32)))

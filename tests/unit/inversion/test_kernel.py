from __future__ import annotations

import numba
import numpy as np
from numba.core import dispatcher

from wavemill.inversion.kernel import INTERNALS, kernel

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


def test_numba_still_has_the_private_names_that_make_it_notice_changed_sources():
    found = kernel(lambda x: x + 1)
    for name in INTERNALS:
        found = getattr(found, name, None)
        assert found is not None, (
            f"numba {numba.__version__} has no {name}, so each process compiles every kernel anew: "
            "mend wavemill/inversion/kernel.py, or lower the bound in pyproject.toml"
        )


def test_with_a_numba_that_is_not_known_yet_kernels_work_and_keep_no_machine_code(monkeypatch, caplog):
    class Renamed(dispatcher.FunctionCache):
        def __init__(self, function):
            super().__init__(function)
            del self._cache_file

    monkeypatch.setattr(dispatcher, "FunctionCache", Renamed)
    compiled = kernel(lambda x: x + 1)
    assert compiled(1) == 2
    assert not isinstance(compiled._cache, Renamed)
    assert f"wavemill does not know numba {numba.__version__}" in caplog.text

from __future__ import annotations

import os

import pytest

from wavemill.errors import UsageError
from wavemill_worker import devices


@pytest.mark.parametrize(
    ("text", "gpus", "expected"),
    [
        ("auto", [], ["cpu"]),
        ("auto", ["0", "1"], ["0", "1"]),
        ("all", ["0", "1"], ["0", "1"]),
        ("cpu", ["0", "1"], ["cpu"]),
        ("1", ["0", "1"], ["1"]),
        ("1, 0", ["0", "1"], ["1", "0"]),
        ("GPU-8c1e", ["GPU-8c1e"], ["GPU-8c1e"]),
    ],
)
def test_a_choice_of_devices_is_understood(text: str, gpus: list[str], expected: list[str]) -> None:
    assert devices.parse_devices(text, gpus) == expected


@pytest.mark.parametrize(
    ("text", "gpus", "message"),
    [
        ("all", [], "no GPU was found"),
        ("rehearsal:x", [], "expected 0 to 3,600 seconds per job"),
        ("rehearsal:-1", [], "expected 0 to 3,600 seconds per job"),
        ("rehearsal:nan", [], "expected 0 to 3,600 seconds per job"),
        ("rehearsal:inf", [], "expected 0 to 3,600 seconds per job"),
        ("0,2", ["0", "1"], "no GPU 2; found: 0, 1"),
        ("0", [], "found: none"),
        ("", ["0"], "Expected auto"),
        ("tpu", ["0"], "Expected auto"),
        ("0,0", ["0"], "named twice"),
    ],
)
def test_a_choice_that_cannot_be_met_says_what_there_is(text: str, gpus: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        devices.parse_devices(text, gpus)


@pytest.mark.parametrize(("visible", "expected"), [("2,3", ["2", "3"]), ("", []), ("-1", [])])
def test_what_a_scheduler_made_visible_is_respected(
    monkeypatch: pytest.MonkeyPatch, visible: str, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices.discover_gpus() == expected


def test_a_process_is_pinned_by_its_environment() -> None:
    pinned = devices.environment("1", n_threads=3)
    assert (pinned["CUDA_VISIBLE_DEVICES"], pinned["OMP_NUM_THREADS"]) == ("1", "3")
    assert (devices.current(pinned), devices.current_threads(pinned)) == ("gpu1", 3)
    on_cpu = devices.environment(devices.CPU, n_threads=1)
    assert (on_cpu["CUDA_VISIBLE_DEVICES"], devices.current(on_cpu)) == ("-1", "cpu")


def test_cores_are_shared_out_unless_a_number_is_given() -> None:
    n_cores = len(os.sched_getaffinity(0))
    assert devices.threads_per_process(1, 0) == n_cores
    assert devices.threads_per_process(10 * n_cores, 0) == 1
    assert devices.threads_per_process(4, 6) == 6

"""A GPU on which every inversion fails. There is none: TensorFlow is made to list one, and to fail to use it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from support.bench import Bench
from support.outputs import check_outputs

GPU = "/device:GPU:7"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let TensorFlow list a GPU that it cannot use; return a list that grows with each try."""
    import tensorflow as tf

    list_devices, use_device = tf.config.list_logical_devices, tf.device
    tried: list[str] = []

    def listed(kind: str | None = None) -> list[object]:
        return [SimpleNamespace(name=GPU)] if kind == "GPU" else list_devices(kind)

    def used(name: str) -> object:
        if name == GPU:
            tried.append(name)
            raise tf.errors.InternalError(None, None, "no kernel image is available")
        return use_device(name)

    monkeypatch.setattr(tf.config, "list_logical_devices", listed)
    monkeypatch.setattr(tf, "device", used)
    return tried


def test_a_gpu_that_fails_three_times_in_a_row_is_left_alone_and_the_cpu_makes_every_sound(
    bench: Bench, tried: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    batches = [bench.submit() for _ in range(4)]  # two sub-batches each
    for batch in batches:
        bench.render(batch)
    for batch in batches:
        check_outputs(batch, expect_done=20)
    assert 3 <= len(tried) <= 4, "two threads may be at it when it opens"
    said = [message for message in caplog.messages if "inversion on" in message]
    assert len(said) == 1
    assert "failed 3 times in a row: the CPU takes over" in said[0]

"""Devices beyond the CPU and GPUs come from entry points of other packages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from wavemill.errors import UsageError
from wavemill.rendering.device_kinds import device_kind
from wavemill.testing.rehearsal import REHEARSAL
from wavemill_worker import devices

PACKAGE = """
from wavemill.errors import UsageError

class Kind:
    def check(self, device):
        if device != "quiet:1":
            raise UsageError(f"--devices {device}: expected quiet:1")

QUIET = Kind()
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that adds the kinds `quiet` and, by mistake, `broken`, `cpu` and `gpu0`."""
    (tmp_path / "quiet_device.py").write_text(PACKAGE)
    metadata = tmp_path / "quiet_device-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet-device\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        "[wavemill.devices]\nquiet = quiet_device:QUIET\ncpu = quiet_device:QUIET\n"
        "gpu0 = quiet_device:QUIET\nbroken = quiet_device:NOTHING\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    device_kind.cache_clear()
    yield
    device_kind.cache_clear()


def test_wavemill_itself_adds_the_rehearsal() -> None:
    device_kind.cache_clear()
    assert device_kind("rehearsal:0.01") is REHEARSAL
    assert devices.parse_devices("rehearsal:0.01", ["0"]) == ["rehearsal:0.01"]
    assert (devices.name("rehearsal"), devices.name("0")) == ("rehearsal", "gpu0")


@pytest.mark.usefixtures("package")
def test_a_device_of_another_package_is_used_and_its_options_are_checked() -> None:
    assert devices.parse_devices("quiet:1", []) == ["quiet:1"]
    assert devices.environment("quiet:1", n_threads=1)["CUDA_VISIBLE_DEVICES"] == "-1"
    with pytest.raises(UsageError, match="expected quiet:1"):
        devices.parse_devices("quiet:2", [])
    with pytest.raises(UsageError, match="quiet_device:NOTHING cannot be loaded"):
        devices.parse_devices("broken", [])


@pytest.mark.usefixtures("package")
def test_no_package_can_take_over_the_cpu() -> None:
    assert devices.parse_devices("cpu", []) == ["cpu"]
    assert devices.current_kind(devices.environment("cpu", n_threads=1)) is None
    assert devices.current_kind(devices.environment("0", n_threads=1)) is None
    assert devices.current_kind(devices.environment("quiet:1", n_threads=1)) is device_kind("quiet:1")

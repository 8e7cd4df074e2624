from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pytest
from support.slow_store import FAULTS, PROTOCOL, slow_store

from wavemill.storage.stores import open_store


@pytest.fixture
def fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which a test writes how the store is to fail."""
    flag = tmp_path / "fault"
    for name, value in slow_store(tmp_path, delay_s=0.03, fault=flag).items():
        monkeypatch.setenv(name, value)
    return flag


def test_the_slow_store_keeps_what_it_is_given_and_takes_its_time(tmp_path: Path, fault: Path) -> None:
    assert not fault.exists()
    store = open_store(f"{PROTOCOL}://{tmp_path}/bucket")
    started = time.monotonic()
    staged = store.stage("generated/7.wav", b"sound", token="w1-1-1")
    staged.place()
    assert time.monotonic() - started >= 3 * 0.03  # a put, a copy, a removal at least
    assert (tmp_path / "bucket/generated/7.wav").read_bytes() == b"sound"
    with fsspec.open(staged.path, "rb") as file:
        assert file.read() == b"sound"
    store.clear_staging()
    assert not (tmp_path / "bucket/.staging").exists()


@pytest.mark.parametrize("name", FAULTS)
def test_the_slow_store_fails_on_command(tmp_path: Path, fault: Path, name: str) -> None:
    system, inner = fsspec.core.url_to_fs(f"{PROTOCOL}://{tmp_path}/bucket")
    fault.write_text(name)
    with pytest.raises(type(FAULTS[name]())):
        system.pipe_file(f"{inner}/a", b"1")
    fault.unlink()
    system.pipe_file(f"{inner}/a", b"1")
    assert system.cat_file(f"{inner}/a") == b"1"


def test_a_key_is_created_only_where_there_is_none(tmp_path: Path, fault: Path) -> None:
    assert not fault.exists()
    system, inner = fsspec.core.url_to_fs(f"{PROTOCOL}://{tmp_path}/bucket")
    system.pipe_file(f"{inner}/a", b"1", mode="create")
    with pytest.raises(FileExistsError):
        system.pipe_file(f"{inner}/a", b"2", mode="create")
    assert system.find(inner) == [f"{tmp_path}/bucket/a"]
    assert system.cat_file(f"{inner}/a") == b"1"


def test_another_process_knows_the_slow_store(tmp_path: Path, fault: Path) -> None:
    assert not fault.exists()
    put = f"fsspec.open('{PROTOCOL}://{tmp_path}/bucket/a').fs.pipe_file('{tmp_path}/bucket/a', b'1')"
    subprocess.run([sys.executable, "-c", f"import fsspec; {put}"], env=dict(os.environ), check=True)
    assert (tmp_path / "bucket/a").read_bytes() == b"1"

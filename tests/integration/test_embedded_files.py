"""The embedded broker's files: damaged ones end nothing, and nobody else may read any."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from redis import Redis

from wavemill import contract
from wavemill.errors import BrokerUnavailableError
from wavemill.settings import Settings
from wavemill.transport import ping
from wavemill_producer.embedded import embedded_broker


def server_of(settings: Settings) -> Redis:
    return Redis(unix_socket_path=str(settings.valkey_socket))


def the(folder: Path, pattern: str) -> Path:
    (file,) = folder.glob(pattern)
    return file


def garbage_within(folder: Path) -> None:
    log = the(folder, "appendonlydir/*.incr.aof")
    data = log.read_bytes()
    log.write_bytes(data[:100] + os.urandom(200) + data[300:])


def wrong_manifest(folder: Path) -> None:
    the(folder, "appendonlydir/*.manifest").write_text("file nobody.aof seq one type x\n")


def no_base(folder: Path) -> None:
    the(folder, "appendonlydir/*.base.rdb").unlink()


def truncated_base(folder: Path) -> None:
    base = the(folder, "appendonlydir/*.base.rdb")
    base.write_bytes(base.read_bytes()[:20])


def newer_rdb(folder: Path) -> None:
    base = the(folder, "appendonlydir/*.base.rdb")
    base.write_bytes(b"REDIS9999" + base.read_bytes()[9:])


def folder_in_place_of_a_file(folder: Path) -> None:
    log = the(folder, "appendonlydir/*.incr.aof")
    log.unlink()
    log.mkdir()


def zeros_behind_the_end(folder: Path) -> None:
    with the(folder, "appendonlydir/*.incr.aof").open("ab") as log:
        log.write(bytes(512))


def empty_manifest(folder: Path) -> None:
    the(folder, "appendonlydir/*.manifest").write_bytes(b"")


DAMAGES = [
    garbage_within,
    wrong_manifest,
    no_base,
    truncated_base,
    newer_rdb,
    folder_in_place_of_a_file,
    zeros_behind_the_end,
    empty_manifest,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_set_aside_and_the_broker_starts_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    settings = Settings(home=tmp_path / "home")
    folder = settings.home / "valkey"
    with embedded_broker(settings):
        server_of(settings).mset({f"key-{k}": "x" * 50 for k in range(20)})
    damage(folder)
    with embedded_broker(settings):
        assert server_of(settings).dbsize() == 0
        server_of(settings).set("new", 1)
    assert len(caplog.messages) == 1
    assert "set aside" in caplog.messages[0]
    assert list(folder.glob("damaged-*"))
    with embedded_broker(settings):
        assert server_of(settings).get("new") == b"1"
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("name", ['My "Music" #1 [50%] ü;?', "quo'te", "tab\tand\nlines", "back\\slash", "--port 1"])
def test_the_broker_of_a_folder_of_any_name_is_in_it_and_found_there(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    app = Celery("test", set_as_current=False)
    app.conf.update(contract.celery_settings(settings.celery_broker_url))
    with embedded_broker(settings):
        ping(app)
        assert server_of(settings).config_get("dir") == {"dir": str(settings.home / "valkey")}
        assert server_of(settings).config_get("appendonly") == {"appendonly": "yes"}
    assert (settings.home / "valkey" / "appendonlydir").is_dir()


def test_an_end_that_is_merely_cut_off_costs_only_the_last_command(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(home=tmp_path)
    with embedded_broker(settings):
        server_of(settings).set("first", 1)
        server_of(settings).set("last", 1)
    log = the(tmp_path / "valkey", "appendonlydir/*.incr.aof")
    os.truncate(log, log.stat().st_size - 5)
    with embedded_broker(settings):
        assert server_of(settings).keys() == [b"first"]
    assert not caplog.messages


def test_of_what_was_set_aside_only_the_newest_is_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for _ in range(5):
        with embedded_broker(settings):
            server_of(settings).set("key", 1)
        wrong_manifest(tmp_path / "valkey")
    with embedded_broker(settings):
        pass
    assert len({path.name[:30] for path in (tmp_path / "valkey").glob("damaged-*")}) == 3


def test_files_that_are_not_to_blame_are_kept(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("deep" * 30))  # so that its socket is not below it
    with embedded_broker(settings):
        server_of(settings).set("kept", 1)
    obstacle = settings.valkey_socket / "in the way"
    obstacle.mkdir(parents=True)
    with pytest.raises(BrokerUnavailableError), embedded_broker(settings):
        pass
    shutil.rmtree(settings.valkey_socket)
    with embedded_broker(settings):
        assert server_of(settings).get("kept") == b"1"
    settings.valkey_socket.parent.rmdir()


def test_nobody_else_may_read_anything_of_the_broker(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    with embedded_broker(settings):
        server_of(settings).set("key", 1)
        server_of(settings).save()
        found = {path: path.stat().st_mode & 0o777 for path in (settings.home, *settings.home.rglob("*"))}
    assert settings.valkey_socket in found
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}


def test_a_socket_folder_that_another_user_may_write_into_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / ("deep" * 30))
    settings.valkey_socket.parent.mkdir(mode=0o700)
    settings.valkey_socket.parent.chmod(0o777)
    try:
        with pytest.raises(BrokerUnavailableError, match="this user alone"), embedded_broker(settings):
            pass
    finally:
        settings.valkey_socket.parent.rmdir()

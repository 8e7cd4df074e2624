from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from wavemill.errors import SettingsError
from wavemill.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAVEMILL_CHUNK_SIZE", "0"),
        ("WAVEMILL_CHUNK_SIZE", "many"),
        ("WAVEMILL_MAX_ATTEMPTS", "-1"),
        ("WAVEMILL_LEASE_S", "inf"),
        ("WAVEMILL_LEASE_S", "nan"),
        ("WAVEMILL_SWEEP_S", "0"),
        ("WAVEMILL_LOG_LEVEL", "LOUD"),
        ("WAVEMILL_WORKER_NAME", "h" * 101),
    ],
)
def test_a_value_that_cannot_be_used_names_its_variable_and_itself(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=rf"^{variable}='{value}'"):
        Settings.from_env()


def test_a_broker_url_of_another_kind_is_refused_without_showing_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_BROKER_URL", "amqp://user:s3cret@host")
    with pytest.raises(SettingsError, match=r"^WAVEMILL_BROKER_URL=.*redis://") as caught:
        Settings.from_env()
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_CHUNK_SIZE", "")
    assert Settings.from_env().chunk_size == 64


def test_the_embedded_servers_live_in_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVEMILL_HOME", str(tmp_path))
    settings = Settings.from_env()
    assert settings.sqlalchemy_url == f"sqlite:///{tmp_path}/wavemill.db"
    assert settings.celery_broker_url == f"redis+socket://{settings.valkey_socket}"


def test_a_home_too_deep_for_a_socket_has_it_elsewhere_and_always_at_the_same_place(tmp_path: Path) -> None:
    deep = Settings(home=tmp_path / ("d" * 100))
    assert len(bytes(deep.valkey_socket)) <= 100
    assert deep.valkey_socket == Settings(home=tmp_path / ("d" * 100)).valkey_socket
    assert deep.valkey_socket != Settings(home=tmp_path / ("e" * 100)).valkey_socket


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_postgresql_means_psycopg_3(scheme: str) -> None:
    settings = Settings(database_url=f"{scheme}://u:p@host/name")
    assert settings.sqlalchemy_url == "postgresql+psycopg://u:p@host/name"


def test_a_started_process_reads_equal_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, chunk_size=7, lease_s=33.5, broker_url="rediss://:s3cret@host:1/2")
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.from_env() == settings

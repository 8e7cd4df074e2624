from __future__ import annotations

import traceback
from pathlib import Path
from urllib.parse import unquote

import pytest
from kombu import Connection
from sqlalchemy import make_url

from wavemill.errors import SettingsError
from wavemill.server_urls import check_broker_url
from wavemill.settings import Settings


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WAVEMILL_CHUNK_SIZE", "0"),
        ("WAVEMILL_CHUNK_SIZE", "many"),
        ("WAVEMILL_MAX_ATTEMPTS", "-1"),
        ("WAVEMILL_LEASE_S", "inf"),
        ("WAVEMILL_LEASE_S", "nan"),
        ("WAVEMILL_LEASE_S", "1e300"),
        ("WAVEMILL_SILENCE_S", "1e18"),
        ("WAVEMILL_THREADS", "99999999999999999999"),
        ("WAVEMILL_MAX_MESSAGES", "9223372036854775808"),
        ("WAVEMILL_HOME", "~nobody-of-that-name/x"),
        ("WAVEMILL_MODELS", "~nobody-of-that-name/x"),
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


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/abc",
        "redis://localhost:6379/-1",
        "redis://localhost:6379/0/1",
        "redis://localhost:99999/0",
        "redis://localhost:0/0",
        "redis://localhost:port/0",
        "redis://[::1/0",
        "redis://localhost/0#x",
        "redis://localhost:6379/0?password=x",
        "redis://localhost:6379/0?ssl_cert_reqs=none",
        "rediss://localhost:6379/0?ssl_cert_reqs=perhaps",
        "redis+socket://",
        "redis+socket://run/valkey.sock",
        "redis+socket:///run/valkey.sock?virtual_host=x",
        "redis://a:1;redis://b:99999",
        "redis://a:1;",
        "sentinel://localhost:26379",
        "memory://",
        "filesystem://",
        "localhost:6379",
        "redis:localhost",
    ],
)
def test_a_broker_url_that_leads_nowhere_is_refused_when_it_is_read(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WAVEMILL_BROKER_URL", url)
    with pytest.raises(SettingsError, match=r"^WAVEMILL_BROKER_URL=\.\.\.: [^\n]*(expected|ways)"):
        Settings.from_env()


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///file::memory:?cache=shared&uri=true",
        "sqlite:///file:x?mode=memory&uri=true",
        "sqlite:///what?.db",
        "sqlite://table.db",
        "sqlite:/table.db",
        "sqlite:////tmp",
        "sqlite:///a%00b.db",
        "sqlite:///~nobody-of-that-name/x.db",
        "sqlite+aiosqlite:///x.db",
        "postgresql+asyncpg://h/n",
        "postgresql+psycopg2://h/n",
        "postgresql://h:abc/n",
        "postgresql://h:99999/n",
        "postgresql://h/n?port=abc",
        "postgresql://h/n?host=a:1&host=b:0",
        "postgresql://h/n?connect_timeout=soon",
        "postgresql://h/n?sslmode=perhaps",
        "postgresql://h/n?no_such_option=1",
        "mysql://h/n",
        "host=h dbname=n",
    ],
)
def test_a_database_url_that_leads_nowhere_is_refused_when_it_is_read(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("WAVEMILL_DATABASE_URL", url)
    with pytest.raises(SettingsError, match=r"^WAVEMILL_DATABASE_URL=\.\.\.: [^\n]+$"):
        Settings.from_env()


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WAVEMILL_HOME", "~/wm")
    monkeypatch.setenv("WAVEMILL_MODELS", "~/models")
    monkeypatch.setenv("WAVEMILL_DATABASE_URL", "sqlite:///~/a b/table.db")
    settings = Settings.from_env()
    assert (settings.home, settings.models) == (tmp_path / "wm", tmp_path / "models")
    assert make_url(settings.sqlalchemy_url).database == f"{tmp_path}/a b/table.db"


@pytest.mark.parametrize(
    "name", ['My "Music" #1 [50%] ü;?', "quo'te", "tab\tline\nend", "a%20b", "c:d@e//f", "x;redis:"]
)
def test_a_home_of_any_name_is_in_the_urls_as_it_is(tmp_path: Path, name: str) -> None:
    settings = Settings(home=tmp_path / name)
    assert make_url(settings.sqlalchemy_url).database == str(tmp_path / name / "wavemill.db")
    check_broker_url(settings.celery_broker_url)
    assert unquote(Connection(settings.celery_broker_url).hostname) == f"socket://{settings.valkey_socket}"
    assert not Connection(settings.celery_broker_url).alt


def test_what_can_be_used_is_used_and_each_problem_has_its_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WAVEMILL_HOME", str(tmp_path))
    monkeypatch.setenv("WAVEMILL_LEASE_S", "0")
    monkeypatch.setenv("WAVEMILL_BROKER_URL", "amqp://h")
    settings, problems = Settings.as_far_as_usable()
    assert (settings.home, settings.lease_s, settings.broker_url) == (tmp_path, 20.0, "")
    assert sorted(problems) == ["broker_url", "lease_s"]


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

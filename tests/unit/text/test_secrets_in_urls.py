from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from wavemill.errors import BrokerUnavailableError, SettingsError, WavemillError
from wavemill.settings import Settings
from wavemill.text.secrets_in_urls import without_secrets

SECRET = "sesame"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("redis://user:p@sesame@host", "redis://***@host"),
        ("redis://:sesame/1@host:6379/0", "redis://***@host:6379/0"),
        ("redis://u:a?sesame@host", "redis://***"),
        ("redis://u:a#sesame@host", "redis://***@host"),
        ("redis://sesame@host:6379", "redis://***@host:6379"),
        ("rediss://h:6379/0?password=sesame&ssl_cert_reqs=none", "rediss://h:6379/0?password=***&ssl_cert_reqs=none"),
        ("redis+socket:///run/v.sock?password=sesame&virtual_host=2",
         "redis+socket:///run/v.sock?password=***&virtual_host=2"),
        ("sentinel://:sesame@a:1;sentinel://:sesame@b:2", "sentinel://***@a:1;sentinel://***@b:2"),
        ("sentinel://a:1;sentinel://b:2", "sentinel://a:1;sentinel://b:2"),
        ("postgresql+psycopg://u:sesame@h:5432/db?sslmode=require&sslpassword=sesame",
         "postgresql+psycopg://***@h:5432/db?sslmode=require&sslpassword=***"),
        ("postgresql://a:1,b:2/db?user=u&pass%77ord=sesame", "postgresql://a:1,b:2/db?user=***&***"),
        ("s3://key:se/same@bucket/a", "s3://***@bucket/a"),
        ("https://user:12#sesame@host/x", "https://***@host/x"),
        ("s3://key:#sesame@bucket/a", "s3://***@bucket/a"),
        ("https://host:80/page#top", "https://host:80/page#top"),
        ("s3://bucket/ann@example.com/x", "s3://bucket/ann@example.com/x"),
        ("https://host/x?X-Amz-Signature=sesame", "https://host/x?X-Amz-Signature=***"),
        ("https://host/x#access_token=sesame", "https://host/x#***"),
        ("cannot reach (redis://:sesame@h:1//): refused", "cannot reach (redis://***@h:1//): refused"),
        ("host=h password='sesame street' port=1", "host=h password=*** port=1"),
        ("{'password': 'sesame street', 'host': 'h'}", "{'password': '***', 'host': 'h'}"),
        ("expected postgresql+psycopg://USER:PASSWORD@HOST/NAME", "expected postgresql+psycopg://USER:PASSWORD@HOST/NAME"),
        ("sqlite:////data/wave mill.db", "sqlite:////data/wave mill.db"),
        ("nothing: to@hide", "nothing: to@hide"),
    ],
)  # fmt: skip
def test_secrets_are_hidden_and_the_rest_stays(text: str, expected: str) -> None:
    assert without_secrets(text) == expected
    assert without_secrets(expected) == expected


PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F, exclude_categories=["Z", "C"]), max_size=12)
SHAPES = [
    "redis://user:{}@host:6379/0",
    "rediss://:{}@host",
    "amqp://user:{}@host//",
    "postgresql+psycopg://user:{}@host/name?sslmode=require",
    "sentinel://:{}@a:26379;sentinel://b:26379",
]
QUERIES = [
    "redis://host:6379/0?password={}",
    "redis+socket:///run/valkey.sock?virtual_host=1&password={}",
    "postgresql://host/name?password={}&sslmode=require",
    "postgresql://host/name?sslpassword={}",
    "s3://bucket/key?token={}",
    "s3://key:{}@bucket/prefix",
    "ftp://user:{}@host/x",
]


@given(st.sampled_from(SHAPES), PASSWORDS)
def test_no_raw_password_of_a_server_is_left(shape: str, before: str) -> None:
    password = f"{before}Sesame"
    assume("://" not in password)
    assert "Sesame" not in without_secrets(f"the broker {shape.format(password)} does not answer")


@given(st.sampled_from([*SHAPES, *QUERIES]), st.text(max_size=12))
def test_no_encoded_password_is_left(shape: str, before: str) -> None:
    assume(not any("\ud800" <= character <= "\udfff" for character in before))
    password = quote(f"{before}Sesame", safe="")
    assert "Sesame" not in without_secrets(f"cannot open {shape.format(password)}: refused")


def test_settings_that_are_made_by_hand_never_repeat_a_password() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(broker_url="redis://:sesame@host:99999", database_url="postgresql://u:sesame@host:0/x")
    assert "sesame" not in str(caught.value)


def test_an_error_of_ours_never_repeats_a_password() -> None:
    for kind in (WavemillError, BrokerUnavailableError):
        assert str(kind("no answer from redis://:sesame@host")) == "no answer from redis://***@host"


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("BROKER", "redis://:sesame/1@host:6379"),
        ("BROKER", "redis://u:1/sesame@host"),
        ("BROKER", "redis://u:ses ame@host"),
        ("BROKER", "redis://u:sesame#@host"),
        ("BROKER", "redis://a:1;redis://:sesame/@b:2"),
        ("DATABASE", "postgresql://u:p@sesame@host/name"),
        ("DATABASE", "postgresql://u:1/sesame@host/name"),
        ("DATABASE", "postgresql://u:sesame x@host/name"),
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(f"WAVEMILL_{name}_URL", url)
    with pytest.raises(SettingsError, match="percent-encoded") as caught:
        Settings.from_env()
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://u:p%40@h:1/0", "redis+socket:///a@b/c.sock?virtual_host=2", "redis://a:1;redis://b:2",
     "redis://[::1]:6379/0", "redis://user:p@ss@host", "rediss://h/?ssl_cert_reqs=none", "redis+socket://:p@/a/c.sock"],
)  # fmt: skip
def test_a_clear_broker_url_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WAVEMILL_BROKER_URL", url)
    assert Settings.from_env().broker_url == url


@pytest.mark.parametrize(
    "url", ["postgresql://u:p%40@h:1/n?sslmode=require", "postgresql:///n?host=/run/pg", "sqlite:////a b@c/d.db",
     "postgres://h/n?host=a:1&host=b:2&target_session_attrs=primary", "postgresql://[::1]:5432/n", "sqlite:///rel.db"],
)  # fmt: skip
def test_a_clear_database_url_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("WAVEMILL_DATABASE_URL", url)
    assert Settings.from_env().database_url == url


@pytest.mark.timeout(60)
def test_a_long_name_takes_no_longer_than_its_length_is_worth() -> None:
    text = "token-" * 10_000
    assert without_secrets(text) == text

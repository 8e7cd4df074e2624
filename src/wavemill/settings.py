"""Every setting. An entry point reads them once from `WAVEMILL_*` and passes them on."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from pathlib import Path
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from wavemill.contract import MAX_JOBS_IN_CHUNK
from wavemill.errors import SettingsError
from wavemill.places import expanded
from wavemill.server_urls import check_broker_url, checked_database_url
from wavemill.text.shown import is_plain_text, shown
from wavemill.webhook_signing import webhook_key

_MAX_NAME = 100  # with device and process it must fit the table's 200 characters
_MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit for a Unix socket's path is 108 with the final NUL
_A_DAY_S = 86_400.0
_MOST = 2**31 - 1  # the largest value of the table's integer columns


class Settings(BaseSettings):
    """One object for the whole process; `wavemill doctor` lists the fields with their values."""

    model_config = SettingsConfigDict(
        env_prefix="WAVEMILL_",
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # URLs hold passwords
    )

    home: Path = Field(Path(".wavemill"), description="Folder of the embedded table, broker and logs.")
    database_url: str = Field("", description="postgresql+psycopg://... or sqlite:///...; empty: SQLite in home.")
    broker_url: str = Field("", description="redis://... or rediss://...; empty: the embedded Valkey in home.")
    models: Path = Field(Path("models"), description="Folder in which models are looked up by name.")
    chunk_size: int = Field(64, ge=1, le=MAX_JOBS_IN_CHUNK, description="Jobs in one message.")
    max_attempts: int = Field(3, ge=1, le=100, description="Claims of a job before it fails for good.")
    max_deaths: int = Field(
        20,
        ge=1,
        le=_MOST,
        description="Worker deaths in a row, with none of its jobs done in between, that stop a batch.",
    )
    lease_s: float = Field(20.0, ge=1, le=_A_DAY_S, description="A worker that is silent for this long loses its jobs.")
    sweep_s: float = Field(5.0, gt=0, le=_A_DAY_S, description="Pause between searches for lost jobs and messages.")
    message_grace_s: float = Field(
        10.0, gt=0, le=_A_DAY_S, description="A message neither queued nor claimed after this long is sent again."
    )
    silence_s: float = Field(
        20.0, ge=2, le=_A_DAY_S, description="A server that does not answer for this long counts as gone."
    )
    max_messages: int = Field(
        10_000,
        ge=1,
        le=_MOST,
        description="Most messages in the broker at a time; more work waits in the table.",
    )
    retry_delay_s: float = Field(
        2.0, ge=0, le=_A_DAY_S, description="First pause after a transient error; doubles each time."
    )
    stop_grace_s: float = Field(
        30.0, ge=0, le=_A_DAY_S, description="Time a stopping worker has to return its jobs before it is killed."
    )
    threads: int = Field(
        0, ge=0, le=4096, description="CPU threads of one worker process; 0: an equal share of the cores."
    )
    mixed_precision: bool = Field(
        False, description="Multiply in bfloat16 on a CPU, in float16 on a GPU: faster; the sound changes by 0.05 dB."
    )
    gpu_memory_mb: int = Field(
        0,
        ge=0,
        le=_MOST,
        description="GPU memory that one worker process may take; 0: as much as it needs, in growing steps.",
    )
    worker_name: str = Field(
        default_factory=lambda: socket.gethostname()[:_MAX_NAME],
        min_length=1,
        max_length=_MAX_NAME,
        description="First part of a worker's name; the host's by default.",
    )
    celery_events: bool = Field(
        False, description="Workers answer `celery inspect`, and send the events that Flower shows."
    )
    webhook_secret: str = Field(
        "",
        description="whsec_ and random bytes in base64: signs the calls to webhooks; empty: this process makes none.",
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level that is logged.")
    log_format: str = Field("text", pattern="^(text|json)$", description="Form of log lines: text or json.")

    @field_validator("home", "models")
    @classmethod
    def _is_clear(cls, folder: Path) -> Path:
        found = expanded(folder)
        expanded(found.absolute())  # refuses a relative path below a working folder that is not in UTF-8
        return found

    @field_validator("broker_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        if url:
            check_broker_url(url)
        return url

    @field_validator("webhook_secret")
    @classmethod
    def _is_secret(cls, secret: str) -> str:
        if secret:
            webhook_key(secret)
        return secret

    @field_validator("worker_name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if not is_plain_text(name):
            raise ValueError("expected no control characters or line ends")
        return name

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, url: str) -> str:
        return checked_database_url(url) if url else ""

    @classmethod
    def from_env(cls) -> Settings:
        """Read the environment; SettingsError names a variable whose value cannot be used."""
        settings, problems = cls.as_far_as_usable()
        for problem in problems.values():
            raise SettingsError(problem)
        return settings

    @classmethod
    def as_far_as_usable(cls) -> tuple[Settings, dict[str, str]]:
        """Read the environment, with defaults for bad values; also return field -> problem."""
        try:
            return cls(), {}
        except ValidationError as exc:
            problems = {str(error["loc"][0]): _sentence(error) for error in exc.errors()}
        fields = cls.model_fields
        return cls(**{name: fields[name].get_default(call_default_factory=True) for name in problems}), problems

    def as_environment(self) -> dict[str, str]:
        """Return the environment in which `from_env` makes an equal object, for a child process."""
        return {f"WAVEMILL_{name.upper()}": str(value) for name, value in self.model_dump().items()}

    @property
    def sqlalchemy_url(self) -> str:
        """The table's URL; SQLite in `home` unless `database_url` says otherwise."""
        if self.database_url.startswith(("postgres://", "postgresql://")):
            return "postgresql+psycopg://" + self.database_url.split("://", 1)[1]
        if self.database_url:
            return self.database_url
        from sqlalchemy import URL

        return URL.create("sqlite", database=str(self.home.resolve() / "wavemill.db")).render_as_string()

    @property
    def celery_broker_url(self) -> str:
        """The broker's URL; the embedded Valkey's socket unless `broker_url` says otherwise."""
        return self.broker_url or f"redis+socket://{quote(bytes(self.valkey_socket))}"

    @property
    def valkey_socket(self) -> Path:
        """Socket of the embedded Valkey: in `home`, or under the temporary folder where `home` is too deep."""
        beside = self.home.resolve() / "valkey" / "valkey.sock"
        if len(bytes(beside)) <= _MAX_SOCKET_PATH_BYTES:
            return beside
        digest = hashlib.sha256(bytes(beside)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"wavemill-{digest}" / "valkey.sock"


def _sentence(error: ErrorDetails) -> str:
    name = f"WAVEMILL_{error['loc'][0]}".upper()
    value = "..." if name.endswith(("_URL", "_SECRET")) else shown(repr(error["input"]))
    return f"{name}={value}: {error['msg'].removeprefix('Value error, ')}"

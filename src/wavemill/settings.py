"""Every setting, read once from `WAVEMILL_*` by an entry point and passed on from there."""

from __future__ import annotations

import hashlib
import socket
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from wavemill.contract import MAX_JOBS_IN_CHUNK
from wavemill.errors import SettingsError
from wavemill.shown import is_plain_text, shown

_MAX_NAME = 100  # with device and process it must fit the table's 200 characters
_MAX_SOCKET_PATH_BYTES = 100  # the kernel's limit for a Unix socket's path is 108 with the final NUL
_BROKER_SCHEMES = ("redis://", "rediss://", "redis+socket://", "sentinel://")
_UNCLEAR = (
    "it can be read in two ways; write each character of user and password that is no letter, digit, - . _ or ~ "
    "percent-encoded, as %40 for @"
)


class Settings(BaseSettings):
    """One object for the whole process; `wavemill doctor` lists the fields with their values."""

    model_config = SettingsConfigDict(
        env_prefix="WAVEMILL_", frozen=True, extra="ignore", env_ignore_empty=True, allow_inf_nan=False
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
        description="A batch that killed so many workers, one after another and none of its jobs done, is stopped.",
    )
    lease_s: float = Field(20.0, ge=1, description="A worker that is silent for so long has lost its jobs.")
    sweep_s: float = Field(5.0, gt=0, description="Pause between two looks for lost jobs and messages.")
    message_grace_s: float = Field(
        10.0, gt=0, description="A message neither seen nor claimed for so long is published again."
    )
    silence_s: float = Field(20.0, ge=2, description="A server that does not answer for so long counts as gone.")
    max_messages: int = Field(
        10_000, ge=1, description="Messages in the broker at a time; what is due beyond these waits in the table."
    )
    retry_delay_s: float = Field(2.0, ge=0, description="First pause after a transient error; doubles each time.")
    stop_grace_s: float = Field(30.0, ge=0, description="Time to give work back before a worker is killed.")
    threads: int = Field(0, ge=0, description="CPU threads of one worker process; 0: an equal share of the cores.")
    mixed_precision: bool = Field(
        False, description="Multiply in bfloat16 on a CPU, in float16 on a GPU: faster, and another sound by 0.05 dB."
    )
    gpu_memory_mb: int = Field(
        0, ge=0, description="GPU memory that one worker process may take; 0: as much as it needs, in growing steps."
    )
    worker_name: str = Field(
        default_factory=lambda: socket.gethostname()[:_MAX_NAME],
        min_length=1,
        max_length=_MAX_NAME,
        description="First part of a worker's name; the host's by default.",
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Least level that is logged.")

    @field_validator("broker_url")
    @classmethod
    def _is_redis(cls, url: str) -> str:
        # Not repeated in the message: it may hold a password.
        if url and not url.startswith(_BROKER_SCHEMES):
            raise ValueError(f"expected a URL that begins with one of {', '.join(_BROKER_SCHEMES)}")
        for part in url.split(";"):
            _require_clear_host(part)
        return url

    @field_validator("worker_name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if not is_plain_text(name):
            raise ValueError("expected no control characters or line ends")
        return name

    @field_validator("database_url")
    @classmethod
    def _has_clear_host(cls, url: str) -> str:
        if not url.startswith("sqlite"):
            if url.partition("?")[0].count("@") > 1:  # SQLAlchemy takes the first one, others the last
                raise ValueError(_UNCLEAR)
            _require_clear_host(url)
        return url

    @classmethod
    def from_env(cls) -> Settings:
        """Read the environment; a value that cannot be used is a SettingsError that names its variable."""
        try:
            return cls()
        except ValidationError as exc:
            first = exc.errors()[0]
            name = "WAVEMILL_" + "_".join(str(part) for part in first["loc"]).upper()
            value = "..." if name.endswith("_URL") else shown(repr(first["input"]))
            # Not `from exc`: it repeats the value.
            raise SettingsError(f"{name}={value}: {first['msg']}") from None

    def as_environment(self) -> dict[str, str]:
        """Return the variables from which `from_env` makes an equal object, for a process that is started."""
        return {f"WAVEMILL_{name.upper()}": str(value) for name, value in self.model_dump().items()}

    @property
    def sqlalchemy_url(self) -> str:
        """The table's URL; SQLite in `home` unless `database_url` says otherwise."""
        if self.database_url.startswith(("postgres://", "postgresql://")):
            return "postgresql+psycopg://" + self.database_url.split("://", 1)[1]
        return self.database_url or f"sqlite:///{self.home.resolve() / 'wavemill.db'}"

    @property
    def celery_broker_url(self) -> str:
        """The broker's URL; the embedded Valkey's socket unless `broker_url` says otherwise."""
        return self.broker_url or f"redis+socket://{self.valkey_socket}"

    @property
    def valkey_socket(self) -> Path:
        """Socket of the embedded Valkey: in `home`, or under the temporary folder where `home` is too deep."""
        beside = self.home.resolve() / "valkey" / "valkey.sock"
        if len(bytes(beside)) <= _MAX_SOCKET_PATH_BYTES:
            return beside
        digest = hashlib.sha256(bytes(beside)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"wavemill-{digest}" / "valkey.sock"


def _require_clear_host(url: str) -> None:
    """Refuse a URL of which part of the password would be taken for host, port or name, and be shown as such."""
    try:
        parts = urlsplit(url)
        is_clear = (parts.port or 0) >= 0 and not (parts.netloc and "@" in parts.path + parts.fragment)
    except ValueError:
        is_clear = False
    if not is_clear or any(character.isspace() for character in url):
        raise ValueError(_UNCLEAR)

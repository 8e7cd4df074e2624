"""Checks the URLs of brokers and databases when settings are read, before anything connects.

Error sentences never repeat a URL: it may hold a password.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qsl, urlsplit

from wavemill.places import expanded

if TYPE_CHECKING:
    from sqlalchemy import URL

_BROKERS = ("redis://", "rediss://", "redis+socket://")
_TLS = {
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_check_hostname",
    "ssl_cert_reqs",
}
_TLS_LEVELS = {"required", "optional", "none", "CERT_REQUIRED", "CERT_OPTIONAL", "CERT_NONE"}
_DATABASES = "expected sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
_NUMBERS = {"connect_timeout", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"}
_CHOICES = {"sslmode": {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}}
_ENCODING = (
    "user and password must be percent-encoded, except letters, digits and - . _ ~; for example, %40 stands for @"
)
_UNCLEAR = f"it can be read in two ways; {_ENCODING}"
_MAX_PORT = 65_535


def check_broker_url(url: str) -> None:
    """Raise ValueError unless `url` names a Redis or Valkey server, or several, separated by semicolons."""
    for part in url.split(";"):
        if not part.startswith(_BROKERS):
            raise ValueError(f"expected a URL that begins with one of {', '.join(_BROKERS)}")
        parts = _split(part)
        if parts.fragment:
            raise ValueError(f"expected nothing after a #; {_ENCODING}")
        if parts.scheme == "redis+socket":
            _check_socket(parts)
        else:
            _check_server(parts)


def _check_socket(parts: SplitResult) -> None:
    if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
        raise ValueError("expected redis+socket:///PATH, with three slashes")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not options.pop("virtual_host", "0").isdecimal() or options:
        raise ValueError("expected nothing after the socket's path but ?virtual_host=NUMBER, the database's number")


def _check_server(parts: SplitResult) -> None:
    database = parts.path.removeprefix("/")
    if database and not (database.isdecimal() and len(database) < 6):
        raise ValueError("expected the number of a database after HOST:PORT, as in redis://HOST:6379/0")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _TLS if parts.scheme == "rediss" else set()
    if options.keys() - known:
        raise ValueError(
            "expected user and password before the host, as in redis://USER:PASSWORD@HOST, and nothing after a ?"
            + (f" but {', '.join(sorted(known))}" if known else "")
        )
    if options.get("ssl_cert_reqs", "required") not in _TLS_LEVELS:
        raise ValueError("ssl_cert_reqs: expected required, optional or none")


def checked_database_url(url: str) -> str:
    """Return `url` with `~` expanded; ValueError unless it names an SQLite file or PostgreSQL."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if not url.startswith("sqlite"):
        if url.partition("?")[0].count("@") > 1:  # SQLAlchemy splits at the first @, other libraries at the last
            raise ValueError(_UNCLEAR)
        _split(url)
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(_DATABASES) from None
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _checked_file(url, parsed)
    if parsed.drivername not in {"postgres", "postgresql", "postgresql+psycopg"}:
        raise ValueError(f"wavemill does not know the database or driver {parsed.drivername}; {_DATABASES}")
    _check_postgresql(parsed)
    return url


def _checked_file(url: str, parsed: URL) -> str:
    if parsed.host or parsed.username or parsed.port:
        raise ValueError("expected sqlite:///PATH, with three slashes; with four, the path is absolute")
    path = parsed.database or ""
    if path in {"", ":memory:"} or path.startswith("file:"):
        raise ValueError("expected the path of a file: a table in memory ends with this process")
    if "?" in url:
        raise ValueError("expected nothing after the path; write %3F for a ? in it")
    found = expanded(path)
    if "\0" in path or found.is_dir():
        raise ValueError(f"expected the path of a file, but {found} is not one")
    if str(found) == path:
        return url
    return parsed.set(database=str(found)).render_as_string(hide_password=False)


def _check_postgresql(parsed: URL) -> None:
    try:
        from psycopg.pq import Conninfo
    except ImportError:
        raise ValueError("this database needs psycopg: pip install 'wavemill[producer]'") from None
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    if unknown := parsed.query.keys() - known:
        raise ValueError(f"PostgreSQL has no option {', '.join(sorted(unknown))}")
    _require_port(parsed.port)
    for name, value in parsed.normalized_query.items():
        for text in (one for given in value for one in given.split(",")):
            _check_option(name, text)


def _check_option(name: str, text: str) -> None:
    if name == "port" and text:
        _require_port(int(text) if text.isdecimal() else 0)
    if name == "host" and text.count(":") == 1:  # one of several hosts, each with its port
        port = text.rpartition(":")[2]
        _require_port(int(port) if port.isdecimal() else 0)
    if name in _NUMBERS and not text.lstrip("-").isdecimal():
        raise ValueError(f"{name}: expected a number")
    if text not in _CHOICES.get(name, {text}):
        raise ValueError(f"{name}: expected one of {', '.join(sorted(_CHOICES[name]))}")


def _split(url: str) -> SplitResult:
    """Split a URL; refuse it if part of a password would be read as host, port or name."""
    try:
        parts = urlsplit(url)
        hidden = bool(parts.netloc) and "@" in parts.path + parts.fragment
    except ValueError:
        hidden = True
    if hidden or any(character.isspace() for character in url):
        raise ValueError(_UNCLEAR)
    try:
        port = parts.port
    except ValueError:
        port = 0
    _require_port(port)
    return parts


def _require_port(port: int | None) -> None:
    if port is not None and not 1 <= port <= _MAX_PORT:
        raise ValueError(f"expected HOST:PORT with a port of 1 to {_MAX_PORT:,}; {_ENCODING}")

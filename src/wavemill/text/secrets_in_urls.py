"""Hide the secrets of URLs in text. All output passes through here: terminal, log, database, errors.

A URL may carry a password before its host, as `user:password@`, or in its query, as `?password=...`; libraries repeat
URLs in their errors. If an unencoded password makes a URL ambiguous, more is hidden than needed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?:(?!;[A-Za-z][A-Za-z0-9+.-]*://)\S)*")  # ";" parts lists of sentinels
# URLs with these schemes have no "@" after the host.
_SERVERS = frozenset({"redis", "rediss", "sentinel", "amqp", "amqps", "postgres", "postgresql", "mysql", "mariadb"})
_PLACES = frozenset({"dataset", "latents", "model", "output", "webhook_url"})  # fields that may hold a URL
_EXAMPLE = "USER:PASSWORD"  # in error messages that show the expected form
_PLAIN_VALUE = re.compile(r"[\w.:/,+-]*")
_PLAIN_KEYS = frozenset(
    {
        "application_name",
        "connect_timeout",
        "db",
        "dbname",
        "host",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "mode",
        "port",
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
        "timeout",
        "uri",
        "virtual_host",
    }
)
# Bounded at both ends: without bounds a long run of letters takes time that grows with the cube of its length.
_SECRET_NAME = r"[\w-]{0,64}(?:passw(?:or)?d|passphrase|secret|token|credential|api_?key|access_?key)[\w-]{0,64}"  # noqa: S105  names, no secret
# PGPASSWORD=..., password='...' as libpq writes it, and {'password': '...'}; what comes before has been hidden already.
_ASSIGNED = re.compile(rf"(?i)\b({_SECRET_NAME})(\s?=\s?)(?!\*\*\*)('[^']*'?|\"[^\"]*\"?|[^\s&]+)")
_QUOTED_KEY = re.compile(rf"(?i)(['\"]{_SECRET_NAME}['\"]\s*:\s*)('[^']*'?|\"[^\"]*\"?)")


def without_secrets(text: str) -> str:
    """Return `text` with every user name, password and unknown query value of its URLs as `***`."""
    if "://" in text:
        text = _URL.sub(lambda match: _hidden(match[0]), text)
    text = _ASSIGNED.sub(rf"\1\2{HIDDEN}", text)
    return _QUOTED_KEY.sub(rf"\1'{HIDDEN}'", text)


def places_without_secrets(value: Any, name: str = "") -> Any:
    """Return JSON values without the passwords of places such as a batch's output. IDs stay as they are."""
    if isinstance(value, Mapping):
        return {key: places_without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [places_without_secrets(inner, name) for inner in value]
    is_place = name in _PLACES or name.endswith("_path")
    return without_secrets(value) if is_place and isinstance(value, str) else value


def _hidden(url: str) -> str:
    scheme, _, rest = url.partition("://")
    head, question, tail = rest.partition("?")
    if scheme.partition("+")[0].lower() in _SERVERS:
        end = head.rfind("@")
        if "@" in tail:  # part of a password with a "?" in it, perhaps
            return f"{scheme}://{HIDDEN}"
    else:
        end = _end_of_user(head)
    shown = head if end < 0 or head[:end] == _EXAMPLE else f"{HIDDEN}@{head[end + 1 :]}"
    if _has_odd_port(shown):  # a password, cut off where it holds "?" or "/"
        return f"{scheme}://{HIDDEN}"
    path, hash_sign, fragment = shown.partition("#")
    shown = f"{path}#{HIDDEN}" if hash_sign and "=" in fragment else shown
    return f"{scheme}://{shown}" + (f"?{_hidden_query(tail)}" if question else "")


def _end_of_user(head: str) -> int:
    """Return where the "@" behind user and password stands; -1 without one. A path may hold others."""
    authority = re.split(r"[/#]", head, maxsplit=1)[0]
    user = authority.rpartition("@")[0]
    is_cut_off = ":" in authority and (_has_odd_port(authority) or "@" in head.partition("#")[2])
    if ":" in user or (not user and is_cut_off):  # a password with "/" or "#" in it
        return head.rfind("@")
    return authority.rfind("@")


def _has_odd_port(head: str) -> bool:
    """Whether what should be `host:port` cannot be one."""
    host = re.split(r"[/#]", head, maxsplit=1)[0].rpartition("@")[2]
    return not re.fullmatch(r"(?:\[[^\]]*\]|[^:]*)(?::\d*\W*)?(?:,[^:]*(?::\d*)?)*", host)


def _hidden_query(query: str) -> str:
    return "&".join(_hidden_value(part) for part in query.split("&"))


def _hidden_value(part: str) -> str:
    key, separator, value = part.partition("=")
    if not separator:
        return HIDDEN if key else ""
    if not re.fullmatch(r"[\w.-]+", key):  # may be the rest of a value
        return HIDDEN
    return part if key.lower() in _PLAIN_KEYS and _PLAIN_VALUE.fullmatch(value) else f"{key}={HIDDEN}"

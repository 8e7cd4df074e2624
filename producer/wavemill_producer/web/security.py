"""The outermost layer of the application: who sent a request, and whether it may come in at all.

Every request passes `Security` before any route:

- its size and speed are limited (`limits.py`);
- its `Host` must be a name of this machine while no token is needed (against DNS rebinding);
- its token is looked up: `Authorization: Bearer TOKEN`, or the cookie that the sign-in form sets.
  `request.state.caller` is then a `Caller`, or None. `may(role)` of each route checks it;
- a write that a browser sends must come from this site (`Origin`, `Sec-Fetch-Site`) and carry the
  CSRF token. A script that sends its own bearer token needs none;
- every answer carries the content security policy: no inline script, no inline style, nothing from
  other hosts.

For templates: `request.state.csrf_token` is the CSRF token. HTMX sends it with each request by
`<body hx-headers='{"X-CSRF-Token": "{{ request.state.csrf_token }}"}'>`. Scripts of the page read it from there, or
from a `<meta name="csrf-token">`, and send the header `X-CSRF-Token` with each fetch that writes. A plain form
cannot send a header; only the sign-in form is one, and its route reads the field `csrf_token`.

HTMX must neither evaluate strings nor add a style element, which the policy forbids:
`<meta name="htmx-config" content='{"includeIndicatorStyles": false, "allowEval": false}'>`.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wavemill.errors import DatabaseUnavailableError
from wavemill.text.shown import shown
from wavemill_producer.web.access import Caller, RefusedError, no_caller
from wavemill_producer.web.answers import refusal
from wavemill_producer.web.exposition import exposition
from wavemill_producer.web.keyring import Keyring
from wavemill_producer.web.limits import limited_receive, limited_send
from wavemill_producer.web.options import WebOptions, is_loopback
from wavemill_producer.web.roles import Role

logger = logging.getLogger(__name__)

CSRF_HEADER = "x-csrf-token"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METRICS = "/metrics"
_PROBES = frozenset({"/health", "/ready"})
_FORWARDED = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-proto"})  # a proxy is in between
_COOKIE_AGE_S = 30 * 86_400
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
}


def cookie_name(scope: Scope) -> str:
    """Return the name of the session's cookie. Browsers send cookies to all ports of a host, so the port is in it."""
    server = scope.get("server") or ("", 0)
    return f"wavemill_session_{server[1]}"


def csrf_token(cookie: str) -> str:
    """Return the CSRF token that belongs to a cookie; another site can read neither."""
    return hmac.new(cookie.encode(errors="replace"), b"wavemill csrf", hashlib.sha256).hexdigest()


def set_cookie(headers: MutableHeaders, value: str, scope: Scope) -> None:
    """Set the session's cookie, or remove it if `value` is empty."""
    parts = [f"{cookie_name(scope)}={value}", f"Path={scope.get('root_path') or '/'}", "HttpOnly", "SameSite=Strict"]
    parts.append(f"Max-Age={_COOKIE_AGE_S if value else 0}")
    if scope["scheme"] == "https":
        parts.append("Secure")
    headers.append("set-cookie", "; ".join(parts))


class Security:
    """ASGI middleware, see above."""

    def __init__(self, app: ASGIApp, *, keyring: Keyring, options: WebOptions) -> None:
        self._app = app
        self._keyring = keyring
        self._options = options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or answer it with a refusal."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        cookie = _cookie(headers, scope)
        visit = cookie or secrets.token_urlsafe(24)
        guarded_send = _with_headers(limited_send(send), scope, None if cookie else visit)
        state = scope.setdefault("state", {})
        state.update(caller=None, csrf_token=csrf_token(visit))
        try:
            state["caller"] = await self._admit(scope, headers, cookie)
            _require_caller(scope, state["caller"])
            guarded_receive = limited_receive(receive, scope, headers)
        except (RefusedError, HTTPException, DatabaseUnavailableError) as exc:
            # Who may read is not known before the table was first seen, but that it is away is no secret.
            is_away = isinstance(exc, DatabaseUnavailableError) and _path_in_app(scope) == _METRICS
            await (exposition(None) if is_away else refusal(scope, exc))(scope, receive, guarded_send)
            return
        is_begun = False

        async def sent(message: Message) -> None:
            nonlocal is_begun
            is_begun = True
            await guarded_send(message)

        try:
            await self._app(scope, guarded_receive, sent)
        except Exception as exc:
            if is_begun:  # the answer is cut off: nothing else can be said
                raise
            logger.exception("%s %s failed", scope["method"], shown(scope["path"]), extra=_log_fields(scope))
            await refusal(scope, exc)(scope, receive, guarded_send)

    async def _admit(self, scope: Scope, headers: Headers, cookie: str | None) -> Caller | None:
        host = _host_name(headers.get("host", ""))
        bearer = _bearer(headers)
        path = _path_in_app(scope)
        if path.startswith("/static/") or path in _PROBES:  # the same for everybody: needs no look at the table
            return None
        caller = await self._caller(bearer, cookie, host, is_direct=not _FORWARDED & set(headers.keys()))
        if scope["method"] not in _SAFE and bearer is None:
            _require_own_page(headers, cookie, is_form=path == SIGN_IN)
        return caller

    async def _caller(self, bearer: str | None, cookie: str | None, host: str, *, is_direct: bool) -> Caller | None:
        holders, is_open = await self._keyring.living()
        if is_open and self._options.needs_no_token and is_direct:
            if not is_loopback(host) and host not in self._options.host_names:
                raise RefusedError(
                    421,
                    "this server needs no token, so it answers only under the names of this machine; "
                    "allow another with: wavemill web --host-name NAME",
                )
            return Caller(name="anybody", role=Role.ADMIN, has_cookie=cookie is not None)
        token = bearer if bearer is not None else cookie
        digest = "" if token is None else self._keyring.digest(token)
        if (holder := holders.get(digest)) is None:
            return None
        return Caller(name=holder.name, role=Role(holder.role), has_cookie=bearer is None, token_sha256=digest)


def _require_caller(scope: Scope, caller: Caller | None) -> None:
    """Refuse a write before its body is read, unless it is the form that makes a caller."""
    if scope["method"] not in _SAFE and caller is None and _path_in_app(scope) not in {SIGN_IN, SIGN_OUT}:
        raise no_caller(scope)


def _path_in_app(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _cookie(headers: Headers, scope: Scope) -> str | None:
    found = cookie_parser(headers.get("cookie", ""))  # also beside malformed ones of other programs
    return found.get(cookie_name(scope)) or None


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _require_own_page(headers: Headers, cookie: str | None, *, is_form: bool) -> None:
    """Refuse a write without a bearer token unless a page of this server, or no browser at all, has sent it."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site not in {None, "same-origin", "none"} or (origin is not None and _netloc(origin) != headers.get("host")):
        raise RefusedError(403, "this request comes from a page of another site")
    if is_form or (origin is None and site is None and cookie is None):
        return  # the form's route checks the token; a script on this machine has no cookie that could be misused
    expected = csrf_token(cookie or "")
    if cookie is None or not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), expected.encode()):
        raise RefusedError(403, "the CSRF token is missing or old: load the page again")


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _with_headers(send: Send, scope: Scope, visit: str | None) -> Send:
    """Return a `send` that adds the headers of every answer, and a cookie to a page's first."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers.setdefault("cache-control", "no-store")
            is_page = headers.get("content-type", "").startswith("text/html")
            if visit is not None and is_page and "set-cookie" not in headers:
                set_cookie(headers, visit, scope)
        await send(message)

    return wrapped


def _log_fields(scope: Scope) -> dict[str, object]:
    """Return batch and job of a request's path, for its log line."""
    ids = scope.get("path_params", {})
    return {name: ids[f"{name}_id"] for name in ("batch", "job") if f"{name}_id" in ids}

"""Answers of the API: JSON that is safe to show, and one shape for every error.

An error is `{"error": {"code": ..., "message": ...}}`. The code is that of `wavemill.errors`, the
message one sentence that says what to do.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import Scope

from wavemill.errors import NotFoundError, OutageError, UsageError, WavemillError
from wavemill.text.secrets_in_urls import places_without_secrets
from wavemill.text.shown import json_text, shown
from wavemill_producer.web.access import RefusedError

_RETRY_AFTER_S = "5"
_LONGEST_QUERY = 1_000  # characters that the sign-in form carries to the next page


class Json(Response):
    """A JSON answer; times in ISO 8601, passwords in URLs left out, no control characters, NaN as null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the answer."""
        return as_json(content).encode()


def as_json(value: Any) -> str:
    """Return the JSON text of an answer."""
    return json_text(_finite(places_without_secrets(value)), default=_plain, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")


def refusal(scope: Scope, exc: Exception) -> Response:
    """Return the answer to a request that an error ends: JSON below /api, else text or the sign-in form."""
    status, code, sentence = _judged(exc)
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    headers = dict(getattr(exc, "headers", None) or {})
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status == 503:
        headers["retry-after"] = _RETRY_AFTER_S
    if path.startswith("/api/"):
        return Json({"error": {"code": code, "message": sentence}}, status, headers)
    if status == 401:
        return _to_sign_in(scope, path)
    return PlainTextResponse(shown(sentence), status, headers)


def _to_sign_in(scope: Scope, path: str) -> Response:
    if any(name == b"hx-request" for name, _ in scope["headers"]):  # the page that holds this part is to come back
        return Response(status_code=401, headers={"hx-refresh": "true"})
    query = scope["query_string"].decode("latin-1")
    to = f"{quote(path)}?{query}" if 0 < len(query) < _LONGEST_QUERY else quote(path)
    return RedirectResponse(f"{scope.get('root_path', '')}/sign-in?next={quote(to)}", 303)


def _judged(exc: Exception) -> tuple[int, str, str]:
    if isinstance(exc, RefusedError):
        return exc.status, exc.code, str(exc)
    if isinstance(exc, RequestValidationError):
        return 422, UsageError.code, _sentence(exc)
    if isinstance(exc, HTTPException):
        return exc.status_code, "http", str(exc.detail)
    if isinstance(exc, NotFoundError):
        return 404, exc.code, str(exc)
    if isinstance(exc, OutageError):
        return 503, exc.code, str(exc)
    if isinstance(exc, WavemillError):
        return 400, exc.code, str(exc)
    return 500, "internal", "the server failed; its log says why"


def _sentence(exc: RequestValidationError) -> str:
    first = exc.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where[:200]}: {first['msg']}"


async def answer_error(request: Request, exc: Exception) -> Response:
    """Handle an exception of a route."""
    return refusal(request.scope, exc)

"""Turns templates into answers: the environment, its filters, and links that hold below any sub-path."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse
from markupsafe import Markup

import wavemill
from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import shown
from wavemill_producer.web.access import Caller, Role
from wavemill_producer.web.pages import words

_FILTERS = ("ago", "clock", "count", "duration", "figure", "percent", "rate")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("wavemill_producer.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update({name: getattr(words, name) for name in _FILTERS})
    return environment


def _safe(value: Any) -> Any:
    """Hide passwords in URLs and escape control characters; what a template marked as HTML stays."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return shown(without_secrets(value))
    return "" if value is None else value


class Links:
    """Paths of the page, of the API and of static files, below the sub-path at which the page is served."""

    def __init__(self, request: Request) -> None:
        self.root = str(request.scope.get("app_root_path", request.scope.get("root_path", ""))).rstrip("/")

    def page(self, path: str, query: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """Return the path of a page, with the query and its changes; a value of None drops a parameter."""
        merged = {key: value for key, value in {**(query or {}), **changes}.items() if value not in (None, "", [], ())}
        return f"{self.root}{quote(path)}" + (f"?{urlencode(merged, doseq=True)}" if merged else "")

    def api(self, path: str, **query: Any) -> str:
        """Return the path of an API route."""
        return self.page(f"/api/v1{path}", query)

    def static(self, path: str) -> str:
        """Return the path of a file below `static/`; it changes with each version, so that caches notice."""
        return self.page(f"/static/{path}", {"v": wavemill.__version__})


def render(
    request: Request, template: str, *, status_code: int = 200, events: str = "/events", **values: Any
) -> HTMLResponse:
    """Return a template's HTML.

    It sees `links`, `csrf_token`, `caller`, `may_write`, `here`, the path of the page, and `events`, the API's route
    of the events that the page follows.
    """
    links = Links(request)
    caller: Caller | None = request.state.caller
    text = (
        _environment()
        .get_template(template)
        .render(
            links=links,
            here=request.url.path.removeprefix(links.root) or "/",
            csrf_token=request.state.csrf_token,
            caller=caller,
            may_write=caller is not None and caller.role.covers(Role.SUBMIT),
            events=links.api(events),
            **values,
        )
    )
    return HTMLResponse(text, status_code=status_code)


def is_fragment(request: Request) -> bool:
    """Whether HTMX asks for a part of a page."""
    return request.headers.get("HX-Request") == "true"

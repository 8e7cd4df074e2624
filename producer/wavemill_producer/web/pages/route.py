"""The class of the page's routes: errors become a page, or a banner where HTMX asked for a part."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from wavemill.errors import DatabaseUnavailableError, NotFoundError, OutageError, UsageError, WavemillError
from wavemill_producer.web.access import RefusedError
from wavemill_producer.web.pages.rendering import is_fragment, render

_TITLES = {404: "Not found", 400: "That does not work", 503: "Waiting for the table", 500: "An error"}


class PageRoute(APIRoute):
    """A route of the page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler so that wavemill's own errors are shown as sentences."""
        handler = super().get_route_handler()

        async def shown_as_page(request: Request) -> Response:
            try:
                return await handler(request)
            except RefusedError:  # the application sends the caller to sign in
                raise
            except WavemillError as exc:
                return error_page(request, exc)

        return shown_as_page


def error_page(request: Request, exc: WavemillError) -> Response:
    """Return an error as a page that tries again by itself while the table is away."""
    status = status_of(exc)
    template = "parts/error.html" if is_fragment(request) else "error.html"
    is_away = isinstance(exc, DatabaseUnavailableError)
    response = render(request, template, status_code=status, title=_TITLES[status], sentence=str(exc), is_away=is_away)
    if is_away:
        response.headers["Retry-After"] = "2"
    return response


def status_of(exc: WavemillError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(exc, NotFoundError):
        return 404
    if isinstance(exc, UsageError):
        return 400
    return 503 if isinstance(exc, OutageError) else 500

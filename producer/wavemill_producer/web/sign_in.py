"""The form that turns a token into a cookie, so that a browser can use the page."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.templating import Jinja2Templates
from starlette.responses import RedirectResponse, Response

from wavemill_producer.web.access import RefusedError
from wavemill_producer.web.keyring import Keyring
from wavemill_producer.web.security import SIGN_IN, cookie_name, csrf_token, set_cookie

router = APIRouter(include_in_schema=False)
_templates = Jinja2Templates(Path(__file__).with_name("templates"))


@router.get(SIGN_IN, name="sign_in")
def form(request: Request, next: str = "/") -> Response:  # noqa: A002  its name in the URL
    """Show the form."""
    return _templates.TemplateResponse(request, "sign_in.html", {"next": next, "problem": None})


@router.post(SIGN_IN)
async def sign_in(
    request: Request,
    token: Annotated[str, Form(max_length=200)],
    csrf: Annotated[str, Form(alias="csrf_token", max_length=200)],
    next: Annotated[str, Form(max_length=2_000)] = "/",  # noqa: A002
) -> Response:
    """Set the cookie if the token is alive, and go on to the page that was asked for."""
    expected = csrf_token(request.cookies.get(cookie_name(request.scope), ""))
    if not hmac.compare_digest(csrf.encode(), expected.encode()):
        raise RefusedError(403, "the form is old: load it again")
    keyring: Keyring = request.app.state.keyring
    holders, _ = await keyring.living()
    if keyring.digest(token.strip()) not in holders:
        context = {"next": next, "problem": "This token is not valid, or it was revoked or has expired."}
        return _templates.TemplateResponse(request, "sign_in.html", context, status_code=401)
    root = request.scope.get("root_path", "")
    response = RedirectResponse(f"{root}{_own_path(next)}", 303)
    set_cookie(response.headers, token.strip(), request.scope)
    return response


@router.post("/sign-out", name="sign_out")
def sign_out(request: Request) -> Response:
    """Remove the cookie, and show the form."""
    where = f"{request.scope.get('root_path', '')}{SIGN_IN}"
    is_htmx = request.headers.get("HX-Request") == "true"
    response = Response(status_code=204, headers={"hx-redirect": where}) if is_htmx else RedirectResponse(where, 303)
    set_cookie(response.headers, "", request.scope)
    return response


def _own_path(path: str) -> str:
    """Return a path of this site, so that a link cannot lead a signed-in user elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_own else "/"

"""Who may do what: the dependency by which each route names the role that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from wavemill.errors import PermanentError
from wavemill_producer.web.roles import Role

__all__ = ["Caller", "RefusedError", "Role", "may"]


SEND_ONE = "send a token, as `Authorization: Bearer TOKEN`; `wavemill token create` makes one"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who sent a request, as `request.state.caller`; None there for one without a valid token.

    Attributes
    ----------
    name : str
        The token's name; "anybody" where the server needs no token.
    has_cookie : bool
        Whether a cookie stands for the token: then writes need a CSRF token.
    token_sha256 : str or None
        Of the token; None where the server needs none.
    """

    name: str
    role: Role
    has_cookie: bool = False
    token_sha256: str | None = None


class RefusedError(PermanentError):
    """A request that its sender may not make; `status` is the HTTP status."""

    code = "refused"

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def may(role: Role) -> Callable[[Request], None]:
    """Return the dependency of a route that needs a role: `Depends(may(Role.SUBMIT))`."""

    def check(request: Request) -> None:
        caller: Caller | None = request.state.caller
        if caller is None:
            raise RefusedError(401, SEND_ONE)
        if not caller.role.covers(role):
            raise RefusedError(403, f"token {caller.name!r} has the role {caller.role}; this needs the role {role}")

    check.role = role  # type: ignore[attr-defined]  # read by the test that goes through all routes
    return check

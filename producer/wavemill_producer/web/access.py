"""Who may do what: the dependency by which each route names the role that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request
from starlette.types import Scope

from wavemill.errors import PermanentError
from wavemill_producer.web.roles import Role

__all__ = ["Caller", "RefusedError", "Role", "may", "no_caller"]


_SEND_ONE = "send a token, as `Authorization: Bearer TOKEN`; `wavemill token create` makes one"
_SEND_ANOTHER = "this token is not valid, or it was revoked or has expired; `wavemill token create` makes another"


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


def no_caller(scope: Scope) -> RefusedError:
    """Return the refusal of a request without a valid token: it has none, or a wrong one."""
    has_token = any(name == b"authorization" for name, _ in scope["headers"])
    return RefusedError(401, _SEND_ANOTHER if has_token else _SEND_ONE)


def may(role: Role) -> Callable[[Request], None]:
    """Return the dependency of a route that needs a role: `Depends(may(Role.SUBMIT))`."""

    def check(request: Request) -> None:
        caller: Caller | None = request.state.caller
        if caller is None:
            raise no_caller(request.scope)
        if not caller.role.covers(role):
            raise RefusedError(403, f"token {caller.name!r} has the role {caller.role}; this needs the role {role}")

    check.role = role  # type: ignore[attr-defined]  # read by the test that goes through all routes
    return check

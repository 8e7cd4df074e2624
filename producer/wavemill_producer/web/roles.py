"""Roles: what the holder of a token may do."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a caller may do; each role may also do what the roles before it may."""

    READ = "read"  # look and listen
    SUBMIT = "submit"  # queue, control, rate
    ADMIN = "admin"  # delete, manage tokens

    def covers(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)

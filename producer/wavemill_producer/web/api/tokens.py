"""Tokens: made, listed, revoked."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from wavemill.jobs.tokens import create_token, list_tokens, revoke_token
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json

router = APIRouter(dependencies=[Depends(may(Role.ADMIN))], tags=["tokens"])
_A_DAY_S = 86_400.0


class NewToken(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    role: Role
    days: int | None = Field(None, ge=1, le=36_500, description="Days until it expires; null: never.")


@router.get("/tokens")
def tokens(request: Request) -> Json:
    """Return the tokens' names, roles and times; never the tokens themselves."""
    return Json({"tokens": [dict(row) for row in list_tokens(request.app.state.producer.database)]})


@router.post("/tokens", status_code=201)
def make_token(request: Request, new: NewToken) -> Json:
    """Make a token and return it, for this once."""
    valid_s = None if new.days is None else new.days * _A_DAY_S
    made = create_token(request.app.state.producer.database, new.name, new.role, valid_s=valid_s)
    request.app.state.keyring.forget()
    return Json({"name": new.name, "role": new.role, "token": made}, 201)


@router.delete("/tokens/{name}")
def end_token(request: Request, name: Annotated[str, Path(max_length=100)]) -> Json:
    """Revoke a token."""
    revoke_token(request.app.state.producer.database, name)
    request.app.state.keyring.forget()
    return Json({"name": name})

"""The description of the API itself."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json

router = APIRouter()


@router.get("/openapi.json", dependencies=[Depends(may(Role.READ))], include_in_schema=False)
def openapi(request: Request) -> Json:
    """Return the API's description, OpenAPI 3.1."""
    return Json(request.app.openapi())

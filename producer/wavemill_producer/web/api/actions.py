"""Actions on all jobs that match a filter."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse

from wavemill.errors import NotFoundError
from wavemill.jobs.bulk import Action
from wavemill.jobs.filters import parse
from wavemill.jobs.matching import count_matching
from wavemill_producer.bulk import EXPORTS, BulkActions
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json
from wavemill_producer.web.api.arguments import Where
from wavemill_producer.web.api.exports import MEDIA_TYPES

router = APIRouter(tags=["actions"])
_MAY_READ, _MAY_SUBMIT = [Depends(may(Role.READ))], [Depends(may(Role.SUBMIT))]
ActionId = Annotated[int, InPath(ge=1, le=2**63 - 1)]
BatchName = Annotated[
    str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="A batch's ID or name; null: all batches.")
]
_FILE: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


class NewAction(BaseModel):
    """What to do, to which jobs."""

    model_config = ConfigDict(extra="forbid")

    action: Action
    batch: str | None = Field(None, max_length=200, pattern=r"^[^\x00]*$", description="A batch's ID or name.")
    where: list[Annotated[str, Field(max_length=300)]] = Field(default_factory=list, max_length=20)
    params: dict[str, str | float | int | None] = Field(
        default_factory=dict,
        max_length=10,
        description="`rating` for rate; `format` (csv, jsonl, zip) for export; `model`, `method`, `temperature`, "
        "`output` and `name` for render.",
    )


def begin(
    request: Request, action: Action, *, batch: str | None, where: list[str], params: dict[str, Any]
) -> dict[str, Any]:
    """Check an action, write it down for this server's threads, and return its status. Only an admin may delete."""
    if action is Action.DELETE:
        may(Role.ADMIN)(request)
    actions = BulkActions(request.app.state.producer)
    action_id = actions.start(action, batch=batch, where=where, params=params)
    request.app.state.bulk.wake()
    return actions.status(action_id)


@router.post("/actions", status_code=201, dependencies=_MAY_SUBMIT)
def start_action(request: Request, new: NewAction) -> Json:
    """Begin an action on all jobs that match, of one batch or of all; `delete` needs the role admin."""
    return Json(begin(request, new.action, batch=new.batch, where=new.where, params=new.params), 201)


@router.get("/actions/{action_id}", dependencies=_MAY_READ)
def action(request: Request, action_id: ActionId) -> Json:
    """Return where an action stands: `state` is running, done or failed; `seen` of `total` jobs were looked at."""
    return Json(BulkActions(request.app.state.producer).status(action_id))


@router.get("/actions/{action_id}/file", dependencies=_MAY_READ, response_class=FileResponse, responses=_FILE)
def action_file(request: Request, action_id: ActionId) -> FileResponse:
    """Return the file that an export has written."""
    found = BulkActions(request.app.state.producer).status(action_id)
    name = Path((found["result"] or {}).get("path", "")).name
    path = request.app.state.settings.home / EXPORTS / name
    if found["action"] != Action.EXPORT or not name or not path.is_file():
        raise NotFoundError(f"action {action_id} has no file here: it has not ended, or its file was removed")
    return FileResponse(path, filename=name, media_type=MEDIA_TYPES[found["params"]["format"]])


@router.get("/count", dependencies=_MAY_READ)
def count(request: Request, batch: BatchName = None, where: Where = []) -> Json:  # noqa: B006  FastAPI copies it
    """Return how many jobs match; without `is_exact`, at least that many do."""
    producer = request.app.state.producer
    batch_id = None if batch is None else producer.batch(batch).id
    found, is_exact = count_matching(producer.database, batch_id=batch_id, conditions=parse(where))
    return Json({"count": found, "is_exact": is_exact})

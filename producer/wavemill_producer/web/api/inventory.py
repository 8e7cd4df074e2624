"""What a submission can name: the workers, the models, and the datasets that batches were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Request

from wavemill.errors import WavemillError
from wavemill.settings import Settings
from wavemill.vae.folder.finding import known_models
from wavemill.vae.folder.record import read_record
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json

router = APIRouter(dependencies=[Depends(may(Role.READ))], tags=["inventory"])
_BATCHES_LOOKED_AT = 200


@router.get("/workers")
def workers(request: Request) -> Json:
    """Return the living workers, and a sentence for each problem that one reports."""
    producer = request.app.state.producer
    return Json({"workers": [dict(row) for row in producer.workers()], "troubles": producer.troubles()})


@router.get("/models")
def models(request: Request) -> Json:
    """Return the models that this server knows by name."""
    settings: Settings = request.app.state.settings
    return Json({"models": [_about(folder) for folder in known_models(settings.models)]})


def _about(folder: Path) -> dict[str, Any]:
    try:
        record = read_record(folder)
    except WavemillError as exc:
        return {"name": folder.name, "error": str(exc)}
    return {
        "name": folder.name,
        "kind": record.kind,
        "architecture": record.architecture,
        "labels": {label: list(values) for label, values in record.labels.items()},
    }


@router.get("/datasets")
def datasets(request: Request) -> Json:
    """Return the datasets that the newest batches were made from."""
    newest = request.app.state.producer.batches(limit=_BATCHES_LOOKED_AT)
    return Json({"datasets": sorted({status["dataset"] for status in newest if status["dataset"]})})

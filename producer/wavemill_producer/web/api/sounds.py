"""Sounds of jobs: the files themselves, their pictures, and their peaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from wavemill.errors import NotFoundError
from wavemill.jobs.queries import SoundPlace, find_sound
from wavemill.storage.reading import open_output
from wavemill_producer.nearest import NearestClips
from wavemill_producer.web.access import Role, may
from wavemill_producer.web.answers import Json, as_json
from wavemill_producer.web.api.arguments import JobId, Which
from wavemill_producer.web.picture_cache import PictureCache
from wavemill_producer.web.sound_response import NO_CHANGE, caching, etag_of, is_known, sound_response

router = APIRouter(dependencies=[Depends(may(Role.READ))], tags=["sounds"])

_LONGEST_COMPARED_S = 60.0
_PNG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/png": {}}}}
_SOUND: dict[int | str, dict[str, Any]] = {200: {"content": {"audio/*": {}}}, 206: {"content": {"audio/*": {}}}}
Digest = Annotated[
    str, Query(max_length=64, description="The digest that a listing gave: then the answer may be kept for ever.")
]
Width = Annotated[int, Query(ge=16, le=2_000, description="In pixels.")]
Height = Annotated[int, Query(ge=16, le=600, description="In pixels.")]


def _place(request: Request, job_id: int, which: str) -> SoundPlace:
    place = find_sound(request.app.state.producer.database, job_id, is_original=which == "original")
    if place is None:
        raise NotFoundError(f"job {job_id} has no {which} sound; `wavemill job {job_id}` says where it stands")
    return place


@router.head("/jobs/{job_id}/audio/{which}", include_in_schema=False)
@router.get("/jobs/{job_id}/audio/{which}", name="audio", responses=_SOUND, response_class=Response)
async def audio(request: Request, job_id: JobId, which: Which, v: Digest = "") -> Response:
    """Return a sound file. Part of it with `Range`; the ETag is its SHA-256."""
    place = await to_thread.run_sync(_place, request, job_id, which)
    return await sound_response(request, place, is_pinned=v == place.sha256)


@router.get("/jobs/{job_id}/spectrogram/{which}.png", name="spectrogram", responses=_PNG, response_class=Response)
async def spectrogram(
    request: Request, job_id: JobId, which: Which, width: Width = 800, height: Height = 256, v: Digest = ""
) -> Response:
    """Return a picture of a sound's spectrogram: time to the right, frequency upwards."""
    from wavemill_producer.pictures import spectrogram_png

    return await _picture(
        request, job_id, which, f"spectrogram {width} {height}", v,
        lambda file: spectrogram_png(file, width=width, height=height),
    )  # fmt: skip


@router.get("/jobs/{job_id}/waveform/{which}.png", name="waveform", responses=_PNG, response_class=Response)
async def waveform(
    request: Request, job_id: JobId, which: Which, width: Width = 800, height: Height = 128, v: Digest = ""
) -> Response:
    """Return a picture of a sound's waveform, on a transparent ground."""
    from wavemill_producer.pictures import waveform_png

    return await _picture(
        request, job_id, which, f"waveform {width} {height}", v,
        lambda file: waveform_png(file, width=width, height=height),
    )  # fmt: skip


@router.get("/jobs/{job_id}/peaks/{which}", name="peaks")
async def peaks(
    request: Request, job_id: JobId, which: Which, bins: Annotated[int, Query(ge=1, le=4_000)] = 400, v: Digest = ""
) -> Response:
    """Return the lowest and highest sample of `bins` stretches of a sound; full scale is 1.

    The answer is `{"duration_s", "sample_rate_hz", "lows": [...], "highs": [...]}`.
    """
    return await _picture(request, job_id, which, f"peaks {bins}", v, lambda file: _peaks_json(file, bins), "json")


@router.get("/jobs/{job_id}/nearest", name="nearest")
def nearest(request: Request, job_id: JobId) -> Json:
    """Return the clip that a job's sound is most like, of the dataset that was last used with its model.

    The answer is `{"dataset", "spectrogram_id", "distance_db", "compared", "clips", "job_id"}`. Of a dataset of more
    than 5,000 clips, that many drawn at random are compared.
    """
    return Json(nearest_clip(request, job_id))


def nearest_clip(request: Request, job_id: int) -> dict[str, Any]:
    """Compare a job's sound with the clips of a dataset; NotFoundError if there is none."""
    from wavemill_producer.pictures import read_start

    place = _place(request, job_id, "generated")
    with open_output(place.path, output=place.output, batch_id=place.batch_id) as (file, _):
        samples, rate_hz = read_start(file, seconds=_LONGEST_COMPARED_S)
    producer = request.app.state.producer
    clips: NearestClips = request.app.state.nearest_clips
    return clips.find(producer.database, producer.job(job_id), samples, rate_hz)


def _peaks_json(file: IO[bytes], bins: int) -> bytes:
    from wavemill_producer.pictures import measure_peaks

    found = measure_peaks(file, bins)
    values: dict[str, Any] = {"duration_s": found.duration_s, "sample_rate_hz": found.sample_rate_hz}
    for name in ("lows", "highs"):
        values[name] = [round(float(value), 4) for value in getattr(found, name)]
    return as_json(values).encode()


async def _picture(
    request: Request, job_id: int, which: str, what: str, v: str, draw: Callable[[IO[bytes]], bytes], kind: str = "png"
) -> Response:
    place = await to_thread.run_sync(_place, request, job_id, which)
    etag = etag_of(place, what)
    headers = caching(etag, is_pinned=v == place.sha256)
    if is_known(request, etag):
        return Response(status_code=NO_CHANGE, headers=headers)

    def drawn() -> bytes:
        with open_output(place.path, output=place.output, batch_id=place.batch_id) as (file, _):
            return draw(file)

    cache: PictureCache = request.app.state.pictures
    data = await cache.get(f"{place.sha256 or place.path} {what}", drawn)
    return Response(data, headers=headers, media_type="image/png" if kind == "png" else "application/json")

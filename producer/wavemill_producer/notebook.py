"""HTML for notebooks: progress of batches, players and spectrograms of jobs. All text from outside is escaped."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from wavemill.errors import WavemillError
from wavemill.operations.formats import MEDIA_TYPES
from wavemill.text.secrets_in_urls import without_secrets
from wavemill.text.shown import shown

if TYPE_CHECKING:
    from wavemill_producer.job import Job, Which

_MOST_BYTES = 2**20  # of a sound within a notebook; its file would grow by a third more
_COLOURS = {"done": "#2e7d32", "failed": "#c62828", "running": "#1565c0", "cancelled": "#757575", "queued": "#bdbdbd"}


def text(value: object) -> str:
    """Return a value as HTML text: escaped, invisible characters shown, secrets of URLs left out."""
    return escape(shown(without_secrets("" if value is None else str(value))))


def table_html(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table. The cells are HTML already."""
    head = "".join(f"<th style='text-align:left'>{text(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td style=text-align:left>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def progress_html(status: Mapping[str, Any]) -> str:
    """Return a batch's name, its bar, and its counts, rate and time left."""
    total = max(status["total"], 1)
    parts = "".join(
        f"<span style='display:inline-block;height:100%;width:{100 * count / total:.2f}%;"
        f"background:{_COLOURS[state]}' title='{count} {state}'></span>"
        for state in _COLOURS
        if (count := status["counts"][state])
    )
    bar = (
        "<div role='img' style='display:flex;width:30em;max-width:100%;height:0.8em;border-radius:4px;"
        f"overflow:hidden;background:#e0e0e0' aria-label='{text(counts(status))}'>{parts}</div>"
    )
    name = f" ({text(status['name'])})" if status["name"] else ""
    rate = "" if status["jobs_per_second"] is None else f", {status['jobs_per_second']:.1f} jobs/s"
    left = "" if not status["eta_s"] else f", {status['eta_s']:.0f} s left"
    said = f"{text(status['operation'])}: {text(status['state'])}, {text(counts(status))} of {status['total']}"
    return f"<div><strong>{text(status['id'])}</strong>{name}<br>{bar}{said}{rate}{left}</div>"


def counts(status: Mapping[str, Any]) -> str:
    """Say how many jobs are in each state, without the zeros."""
    return ", ".join(f"{count} {state}" for state, count in status["counts"].items() if count) or "empty"


def batch_html(status: Mapping[str, Any], jobs: Iterable[Job]) -> str:
    """Return a batch's progress, and players of some of its jobs."""
    players = "".join(job_html(job) for job in jobs)
    return progress_html(status) + players


def job_html(job: Job) -> str:
    """Return a job's facts, and a player and a spectrogram for each of its sounds."""
    named = f" ({text(job.custom_id)})" if job.custom_id else ""
    facts = f"<strong>{text(job.spectrogram_id)}</strong>{named} job {job.id}: {text(job.state)}, attempt {job.attempt}"
    error = f"<br>{text(job.error_code)}: {text(job.error)}" if job.error else ""
    distance = (job.quality or {}).get("log_spectral_distance_db")
    quality = "" if distance is None else f", {distance:.1f} dB from the original"
    which: tuple[Which, ...] = ("generated", "original")
    sounds = "".join(_sound_html(job, one) for one in which if job.state == "done" and job[f"{one}_path"])
    return f"<div style='margin:0.5em 0'>{facts}{quality}{error}<div style='display:flex;gap:1em'>{sounds}</div></div>"


def _sound_html(job: Job, which: Which) -> str:
    from wavemill_producer.pictures import spectrogram_png
    from wavemill_producer.sounds import decoded, read_bytes

    path = job.path(which)
    try:
        data = read_bytes(path, at_most=_MOST_BYTES)
        if data is None:
            return f"<figure><figcaption>{which}: too long to play here: {text(path)}</figcaption></figure>"
        samples, rate_hz = decoded(data, path)
    except WavemillError as exc:
        return f"<figure><figcaption>{which}: {text(exc)}</figcaption></figure>"
    caption = f"{which}, {len(samples) / rate_hz:.2f} s at {rate_hz} Hz"
    picture = _data_url("image/png", spectrogram_png(io.BytesIO(data), width=480, height=128))
    sound = _data_url(MEDIA_TYPES[_form_of(path)], data)
    return (
        f"<figure style='margin:0'><figcaption>{caption}</figcaption>"
        f"<img alt='spectrogram, {caption}' style='width:18em;height:8em;display:block' src='{picture}'>"
        f"<audio controls preload='metadata' style='width:18em' src='{sound}'></audio></figure>"
    )


def _form_of(path: str) -> str:
    suffix = path.rpartition(".")[2]
    return suffix if suffix in MEDIA_TYPES else "wav"


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

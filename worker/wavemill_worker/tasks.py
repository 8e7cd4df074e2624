"""The tasks: parse the message, call a plain function."""

from __future__ import annotations

from celery import shared_task

from wavemill import contract
from wavemill_worker.child import child


@shared_task(name=contract.RENDER_CHUNK)  # type: ignore[untyped-decorator] # Celery has no types
def render_chunk(batch_id: str, first: int, last: int) -> None:
    """Render the jobs `first` to `last` of a batch; the work is in `wavemill.render`."""
    process = child()
    process.keep_beating()
    with process.giving_back_on_sigterm():
        process.renderer.render_chunk(batch_id, first, last)

"""The Celery tasks: each parses its message and calls a plain function."""

from __future__ import annotations

import logging
from typing import Any

from celery import shared_task

from wavemill import contract
from wavemill.errors import MessageError
from wavemill.messages import checked_chunk
from wavemill_worker.child import child

logger = logging.getLogger(__name__)


@shared_task(name=contract.RENDER_CHUNK)  # type: ignore[untyped-decorator] # Celery has no types
def render_chunk(*arguments: Any, **_: Any) -> None:
    """Render the jobs `first` to `last` of a batch; the work is in `wavemill.rendering.renderer`."""
    try:
        batch_id, first, last = checked_chunk(arguments)
    except MessageError as exc:
        logger.warning("dropped a message that wavemill did not send: %s", exc)
        return
    process = child()
    process.keep_beating()
    with process.giving_back_on_sigterm():
        process.renderer.render_chunk(batch_id, first, last)

"""Finds the job that a user names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavemill_producer.producer import Producer

LAST_JOB_ID = 2**63 - 1  # the largest integer that the databases hold


def found_job(producer: Producer, named: str, *, batch_id: str | None) -> dict[str, Any]:
    """Return the job with this number, or the newest of the spectrogram with this ID.

    With `batch_id` it is always a spectrogram's ID.
    """
    is_number = (
        batch_id is None and named.isascii() and named.isdecimal() and len(named) < 20 and int(named) <= LAST_JOB_ID
    )
    return producer.job(int(named)) if is_number else producer.find_job(named, batch_id=batch_id)

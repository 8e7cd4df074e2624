"""The light side: submit jobs and query them; never imports TensorFlow.

>>> from wavemill_producer import Producer
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavemill_producer.producer import Batch, Producer

__all__ = ["Batch", "Producer"]


def __getattr__(name: str) -> Any:
    # Late, so that `wavemill --help` does not pay for SQLAlchemy and Celery.
    if name in __all__:
        from wavemill_producer import producer

        return getattr(producer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

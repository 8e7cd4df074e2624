"""The producer: submits jobs and asks about them. Never imports TensorFlow.

>>> from wavemill_producer import Producer
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavemill_producer.batch import Batch
    from wavemill_producer.producer import Producer

__all__ = ["Batch", "Producer"]


def __getattr__(name: str) -> Any:
    # Import late: `wavemill --help` must not wait for SQLAlchemy and Celery.
    if name in __all__:
        return getattr(import_module(f"wavemill_producer.{name.lower()}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

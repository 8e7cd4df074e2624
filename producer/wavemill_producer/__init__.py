"""The producer: submits jobs and asks about them. Never imports TensorFlow.

All that a script or a notebook needs is importable from here.

>>> from wavemill_producer import Producer
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavemill.errors import (
        BrokerUnavailableError,
        DatabaseUnavailableError,
        NotFoundError,
        OutputError,
        UsageError,
        WavemillError,
    )
    from wavemill.jobs.flags import Flag
    from wavemill.jobs.states import BatchState, State
    from wavemill.operations.requests import (
        DecodeParams,
        EncodeParams,
        InterpolateParams,
        InvertParams,
        ReconstructParams,
        SampleParams,
        VaryParams,
    )
    from wavemill.settings import Settings
    from wavemill_producer.batch import Batch
    from wavemill_producer.bulk import BulkActions
    from wavemill_producer.client import ApiError, AsyncClient
    from wavemill_producer.job import Job
    from wavemill_producer.producer import Producer

_HOMES = {
    "wavemill.errors": (
        "BrokerUnavailableError",
        "DatabaseUnavailableError",
        "NotFoundError",
        "OutputError",
        "UsageError",
        "WavemillError",
    ),
    "wavemill.jobs.flags": ("Flag",),
    "wavemill.jobs.states": ("BatchState", "State"),
    "wavemill.operations.requests": (
        "DecodeParams",
        "EncodeParams",
        "InterpolateParams",
        "InvertParams",
        "ReconstructParams",
        "SampleParams",
        "VaryParams",
    ),
    "wavemill.settings": ("Settings",),
    "wavemill_producer.batch": ("Batch",),
    "wavemill_producer.bulk": ("BulkActions",),
    "wavemill_producer.client": ("ApiError", "AsyncClient"),
    "wavemill_producer.job": ("Job",),
    "wavemill_producer.producer": ("Producer",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ApiError",
    "AsyncClient",
    "Batch",
    "BatchState",
    "BrokerUnavailableError",
    "BulkActions",
    "DatabaseUnavailableError",
    "DecodeParams",
    "EncodeParams",
    "Flag",
    "InterpolateParams",
    "InvertParams",
    "Job",
    "NotFoundError",
    "OutputError",
    "Producer",
    "ReconstructParams",
    "SampleParams",
    "Settings",
    "State",
    "UsageError",
    "VaryParams",
    "WavemillError",
]


def __getattr__(name: str) -> Any:
    # Import late: `wavemill --help` must not wait for SQLAlchemy and Celery.
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

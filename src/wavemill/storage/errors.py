"""What an error of a file system or an object store means: in vain, for now, or nobody knows. Standard library only.

Object stores raise errors of their own libraries, which may not be installed here. They are told apart by what they
carry: an HTTP status, a code of S3, an errno, the name of their class.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from wavemill.errors import OutputError, StorageError, StorageUnavailableError, WavemillError


class Verdict(StrEnum):
    """What to do about an error."""

    PERMANENT = "permanent"  # give up: the same request fails again
    OUTAGE = "outage"  # wait: the storage is full, away or busy, for everybody
    UNKNOWN = "unknown"  # try a few times, and give up


def _numbers(names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names.split() if hasattr(errno, name))


_PERMANENT_ERRNOS = _numbers(
    "EACCES EPERM ENOTDIR EISDIR ENAMETOOLONG ELOOP EEXIST ENOTEMPTY EINVAL EFBIG EMSGSIZE EXDEV EMLINK ENOSYS ENOTSUP"
)
# ENOENT: writing makes the folders that it needs, so one that is not there was taken away meanwhile.
_OUTAGE_ERRNOS = _numbers(
    "ENOENT EROFS ENOSPC EDQUOT EIO EREMOTEIO ESTALE ETIMEDOUT ETIME ECONNABORTED ECONNREFUSED ECONNRESET EPIPE "
    "ESHUTDOWN EHOSTDOWN EHOSTUNREACH ENETDOWN ENETRESET ENETUNREACH ENONET ENOTCONN ENODEV ENXIO ENOMEDIUM ENOLINK "
    "ECOMM EPROTO EBUSY ETXTBSY EAGAIN EINTR EMFILE ENFILE ENOBUFS ENOMEM ENOLCK EKEYEXPIRED"
)
_PERMANENT_CLASSES = frozenset(  # their names; each stands for its subclasses too
    {"SSLCertVerificationError", "ClientConnectorCertificateError", "ParamValidationError", "error_perm"}
)
_OUTAGE_CLASSES = frozenset(
    {
        *(
            "ConnectionError",
            "Timeout",
            "SSLError",
            "gaierror",
            "error_temp",
        ),  # requests, botocore, ssl, socket, ftplib
        *("ClientConnectionError", "ClientPayloadError"),  # aiohttp
        *("HTTPClientError", "ConnectionClosedError", "EndpointConnectionError", "ConnectTimeoutError"),  # botocore
        *("ReadTimeoutError", "ResponseStreamingError", "IncompleteReadError", "IncompleteRead"),
        *("ProtocolError", "MaxRetryError", "NewConnectionError"),  # urllib3
        *("TransportError", "ServiceRequestError", "ServiceResponseError"),  # google.auth, azure.core
    }
)
_OUTAGE_STATUSES = frozenset({307, 408, 409, 423, 425, 429})  # beside 500 and above
_NOT_IMPLEMENTED = 501
# S3 says these with a status of 400 or 403, but they pass: a slow client, a wrong clock, credentials to be renewed.
_OUTAGE_CODES = frozenset(
    {"RequestTimeout", "RequestTimeTooSkewed", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
    | {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "InternalError", "ServiceUnavailable"}
)
_MOST_CAUSES = 8


def verdict(exc: BaseException) -> Verdict:
    """Judge an exception of a local file system or an fsspec store, or of what it was raised from."""
    for judge in (_by_answer, _by_class, _by_errno, _by_type):
        for one in _chain(exc):
            if found := judge(one):
                return found
    return Verdict.UNKNOWN


def is_missing(exc: BaseException) -> bool:
    """Whether an exception says that there is nothing under a name; what is above that may be missing too."""
    return isinstance(exc, FileNotFoundError | NotADirectoryError) or any(_status(one) == 404 for one in _chain(exc))


def reason(exc: BaseException) -> str:
    """Say what went wrong, in the system's words."""
    said = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return " ".join(said.split()) or type(exc).__name__


@contextmanager
def translated(path: object, *, verb: str = "write") -> Iterator[None]:
    """Turn what goes wrong while `path` is written, or removed, into an error of wavemill.

    Raises
    ------
    OutputError
        Trying again is in vain.
    StorageUnavailableError
        The storage is full or away: everybody waits for it.
    StorageError
        Nobody knows: it costs the job an attempt.
    """
    try:
        yield
    except WavemillError:
        raise
    except Exception as exc:
        raise _ERRORS[verdict(exc)](f"cannot {verb} {path}", exc) from exc


_ERRORS: dict[Verdict, Callable[[str, Exception], WavemillError]] = {
    Verdict.PERMANENT: lambda what, exc: OutputError(f"{what}: {reason(exc)}; choose another --output or mend it"),
    Verdict.OUTAGE: lambda what, exc: StorageUnavailableError(f"{what} now: {reason(exc)}"),
    Verdict.UNKNOWN: lambda what, exc: unknown_error(what, exc),
}


def unknown_error(what: str, exc: Exception) -> StorageError:
    """Return the error for an exception that nobody knows."""
    return StorageError(f"{what}: {type(exc).__name__}: {reason(exc)}")


def require_there(folder: Path, what: str) -> None:
    """Raise StorageUnavailableError while a folder to read from is gone, empty, or does not answer.

    What is called "not found" in such a folder may be there again in a moment: a disk that is not mounted leaves
    nothing, or an empty folder. A folder that cannot be looked into for another reason is left to whoever reads it.
    """
    try:
        with os.scandir(folder) as children:
            if next(children, None) is not None:
                return
        problem = "is empty, as the place of a disk that is not mounted is"
    except FileNotFoundError:
        problem = "is not there"
    except OSError as exc:
        if verdict(exc) is not Verdict.OUTAGE:
            return
        problem = f"does not answer: {reason(exc)}"
    raise StorageUnavailableError(f"{what} {folder} {problem}; jobs wait for it, `wavemill cancel` ends that")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what it was raised from, and so on."""
    one: BaseException | None = exc
    for _ in range(_MOST_CAUSES):
        if one is None:
            return
        yield one
        one = one.__cause__


def _by_answer(exc: BaseException) -> Verdict | None:
    """Judge by what the store answered: its code, or the HTTP status."""
    response = getattr(exc, "response", None)
    if isinstance(response, dict) and _nested(response, "Error", "Code") in _OUTAGE_CODES:
        return Verdict.OUTAGE
    status = _status(exc)
    if status in _OUTAGE_STATUSES or (status >= 500 and status != _NOT_IMPLEMENTED):
        return Verdict.OUTAGE
    return Verdict.PERMANENT if status >= 300 else None


def _status(exc: BaseException) -> int:
    """Return the HTTP status that an exception carries; 0 for none."""
    response = getattr(exc, "response", None)
    for found in (
        getattr(exc, "status", None),  # aiohttp
        getattr(exc, "code", None),  # gcsfs, google.api_core, urllib
        getattr(exc, "status_code", None),  # azure
        getattr(response, "status_code", None),  # requests, httpx
        _nested(response, "ResponseMetadata", "HTTPStatusCode"),  # botocore
    ):
        if isinstance(found, str) and found.isdecimal():
            return int(found)
        if isinstance(found, int) and 100 <= found < 600:
            return int(found)
    return 0


def _nested(response: object, outer: str, inner: str) -> object:
    part = response.get(outer) if isinstance(response, dict) else None
    return part.get(inner) if isinstance(part, dict) else None


def _by_class(exc: BaseException) -> Verdict | None:
    names = {kind.__name__ for kind in type(exc).__mro__}
    if names & _PERMANENT_CLASSES:
        return Verdict.PERMANENT
    return Verdict.OUTAGE if names & _OUTAGE_CLASSES else None


def _by_errno(exc: BaseException) -> Verdict | None:
    if not isinstance(exc, OSError) or exc.errno is None:
        return None
    if exc.errno in _PERMANENT_ERRNOS:
        return Verdict.PERMANENT
    return Verdict.OUTAGE if exc.errno in _OUTAGE_ERRNOS else None


def _by_type(exc: BaseException) -> Verdict | None:
    if isinstance(exc, TimeoutError | InterruptedError | BlockingIOError):
        return Verdict.OUTAGE
    # Stores raise these without a number: no such bucket, forbidden. The last two: of a URL that cannot be used.
    permanent = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
    return Verdict.PERMANENT if isinstance(exc, (*permanent, ImportError, ValueError)) else None

"""Sorts errors of file systems and object stores: permanent, an outage, or unknown.

Uses the standard library only. Object stores raise errors of their own libraries, which may not be
installed here. So an error is recognised by what it carries: an HTTP status, an S3 code, an errno,
or the name of its class.
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
    OUTAGE = "outage"  # wait: the storage is full, away or busy, for every job
    UNKNOWN = "unknown"  # try a few times, then give up


def _numbers(names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names.split() if hasattr(errno, name))


_PERMANENT_ERRNOS = _numbers(
    "EACCES EPERM ENOTDIR EISDIR ENAMETOOLONG ELOOP EEXIST ENOTEMPTY EINVAL EFBIG EMSGSIZE EXDEV EMLINK ENOSYS ENOTSUP"
)
# ENOENT is an outage: a writer makes the folders it needs, so a missing one was removed later.
_OUTAGE_ERRNOS = _numbers(
    "ENOENT EROFS ENOSPC EDQUOT EIO EREMOTEIO ESTALE ETIMEDOUT ETIME ECONNABORTED ECONNREFUSED ECONNRESET EPIPE "
    "ESHUTDOWN EHOSTDOWN EHOSTUNREACH ENETDOWN ENETRESET ENETUNREACH ENONET ENOTCONN ENODEV ENXIO ENOMEDIUM ENOLINK "
    "ECOMM EPROTO EBUSY ETXTBSY EAGAIN EINTR EMFILE ENFILE ENOBUFS ENOMEM ENOLCK EKEYEXPIRED"
)
_PERMANENT_CLASSES = frozenset(  # names of classes; each stands for its subclasses too
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
_OUTAGE_STATUSES = frozenset({307, 408, 409, 423, 425, 429})  # besides 500 and above
_NOT_IMPLEMENTED = 501
# S3 sends these with status 400 or 403, but they pass: a slow client, a wrong clock, expired
# credentials.
_OUTAGE_CODES = frozenset(
    {"RequestTimeout", "RequestTimeTooSkewed", "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"}
    | {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "InternalError", "ServiceUnavailable"}
)
_MOST_CAUSES = 8


def verdict(exc: BaseException) -> Verdict:
    """Judge an exception of a local file system or an fsspec store, and the causes it carries."""
    for judge in (_by_answer, _by_class, _by_errno, _by_type):
        for one in _chain(exc):
            if found := judge(one):
                return found
    return Verdict.UNKNOWN


def is_missing(exc: BaseException) -> bool:
    """Whether an exception says that a file or object is missing; its folder may be missing too."""
    return isinstance(exc, FileNotFoundError | NotADirectoryError) or any(_status(one) == 404 for one in _chain(exc))


def reason(exc: BaseException) -> str:
    """Say what went wrong, in the system's words."""
    said = (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
    return " ".join(said.split()) or type(exc).__name__


@contextmanager
def translated(path: object, *, verb: str = "write") -> Iterator[None]:
    """Turn errors that occur while `path` is written or removed into errors of wavemill.

    Raises
    ------
    OutputError
        Trying again cannot help.
    StorageUnavailableError
        The storage is full or away: every job waits for it.
    StorageError
        The error is unknown: it costs the job an attempt.
    """
    try:
        yield
    except WavemillError:
        raise
    except Exception as exc:
        raise classified(f"cannot {verb} {path}", exc, permanent=_unwritable) from exc


def _unwritable(said: str) -> OutputError:
    return OutputError(f"{said}; fix this or choose another --output")


def classified(what: str, exc: Exception, *, permanent: Callable[[str], WavemillError]) -> WavemillError:
    """Return wavemill's error for an error of a store; `what` begins its sentence.

    `permanent` makes the error from the sentence where trying again cannot help. Otherwise it is a
    StorageUnavailableError for an outage, and a StorageError for an unknown kind of error.
    """
    match verdict(exc):
        case Verdict.PERMANENT:
            return permanent(f"{what}: {reason(exc)}")
        case Verdict.OUTAGE:
            return StorageUnavailableError(f"{what} now: {reason(exc)}")
        case Verdict.UNKNOWN:
            return StorageError(f"{what}: {type(exc).__name__}: {reason(exc)}")


def require_there(folder: Path, what: str) -> None:
    """Raise StorageUnavailableError while a folder to read from is gone, empty, or does not answer.

    A file that is "not found" in such a folder may come back: where a disk is not mounted, its
    folder is missing or empty. Other errors of the folder are left to the code that reads it.
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
    raise StorageUnavailableError(f"{what} {folder} {problem}; jobs wait for it, `wavemill cancel` ends the wait")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its cause, the cause of that, and so on."""
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
    # Stores raise these without an errno: no such bucket, forbidden. The last two come from an
    # unusable URL.
    permanent = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
    return Verdict.PERMANENT if isinstance(exc, (*permanent, ImportError, ValueError)) else None

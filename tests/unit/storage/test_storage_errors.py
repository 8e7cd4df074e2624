from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
from support.slow_store import FAULTS, PROTOCOL, StatusError, slow_store

from wavemill.errors import (
    LatentError,
    OutageError,
    OutputError,
    StorageError,
    StorageUnavailableError,
    TransientError,
    WavemillError,
)
from wavemill.storage.errors import Verdict, is_missing, require_there, translated, verdict

PERMANENT, OUTAGE, UNKNOWN = Verdict.PERMANENT, Verdict.OUTAGE, Verdict.UNKNOWN


def number(name: str) -> OSError:
    """Return what the operating system raises."""
    code = getattr(errno, name)
    return OSError(code, os.strerror(code), "/out/7.wav")


def foreign(name: str, *bases: type[Exception], **attributes: object) -> Exception:
    """Return an exception of a library that need not be installed."""
    exc = type(name, bases or (Exception,), {})("words of its own")
    for key, value in attributes.items():
        setattr(exc, key, value)
    return exc


def s3(code: str, status: int) -> Exception:
    """Return botocore's exception for an answer of S3."""
    response = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return foreign("ClientError", response=response)


def caused(exc: Exception, cause: Exception) -> Exception:
    """Return `exc` as raised from `cause`."""
    exc.__cause__ = cause
    return exc


PERMANENT_NUMBERS = """EACCES EPERM ENOTDIR EISDIR ENAMETOOLONG ELOOP EEXIST EINVAL EFBIG ENOSYS"""
OUTAGE_NUMBERS = """ENOENT EROFS ENOSPC EDQUOT EIO EREMOTEIO ESTALE ETIMEDOUT ECONNRESET ECONNREFUSED ECONNABORTED
EPIPE EHOSTUNREACH EHOSTDOWN ENETUNREACH ENETDOWN ENOTCONN ENODEV ENXIO EBUSY EAGAIN EMFILE ENFILE ENOMEM ENOLCK"""

CASES: Mapping[str, tuple[Exception, Verdict]] = {
    **{name: (number(name), PERMANENT) for name in PERMANENT_NUMBERS.split()},
    **{name: (number(name), OUTAGE) for name in OUTAGE_NUMBERS.split()},
    "an unusual number": (number("EBADF"), UNKNOWN),
    "no number": (OSError("what?"), UNKNOWN),
    "s3fs, forbidden": (PermissionError("Forbidden"), PERMANENT),
    "s3fs, no bucket": (caused(FileNotFoundError("no such bucket"), s3("NoSuchBucket", 404)), PERMANENT),
    "s3fs, expired credentials": (caused(PermissionError("expired"), s3("ExpiredToken", 400)), OUTAGE),
    "s3fs, a clock that is off": (caused(PermissionError("skewed"), s3("RequestTimeTooSkewed", 403)), OUTAGE),
    "s3fs, slow down": (caused(number("EBUSY"), s3("SlowDown", 503)), OUTAGE),
    "s3fs, an unknown code": (caused(number("EIO"), s3("SomethingNew", 403)), PERMANENT),
    "s3fs, an unknown code of a sick server": (caused(number("EIO"), s3("SomethingNew", 500)), OUTAGE),
    "botocore, a wrong name": (foreign("ParamValidationError"), PERMANENT),
    "botocore, nobody there": (foreign("EndpointConnectionError"), OUTAGE),
    "botocore, silence": (foreign("ReadTimeoutError"), OUTAGE),
    "botocore, no credentials": (foreign("NoCredentialsError"), UNKNOWN),
    "aiohttp, hung up": (foreign("ServerDisconnectedError", type("ClientConnectionError", (Exception,), {})), OUTAGE),
    **{f"aiohttp, {code}": (StatusError(code), OUTAGE) for code in (408, 429, 500, 502, 503, 504)},
    **{f"aiohttp, {code}": (StatusError(code), PERMANENT) for code in (301, 400, 401, 403, 404, 412, 501)},
    "gcsfs, 503": (foreign("HttpError", code=503), OUTAGE),
    "gcsfs, 503 as text": (foreign("HttpError", code="503"), OUTAGE),
    "gcsfs, 403": (foreign("HttpError", code=403), PERMANENT),
    "gcsfs, without a code": (foreign("HttpError", code=None), UNKNOWN),
    "azure, 503": (foreign("HttpResponseError", status_code=503), OUTAGE),
    "requests, 500": (foreign("HTTPError", OSError, response=SimpleNamespace(status_code=500)), OUTAGE),
    "requests, hung up": (foreign("ConnectionError", OSError), OUTAGE),
    "google, a name server that is down": (foreign("TransportError"), OUTAGE),
    "a certificate": (ssl.SSLCertVerificationError(1, "self-signed"), PERMANENT),
    "a torn connection": (ssl.SSLEOFError(8, "EOF occurred"), OUTAGE),
    "no name server": (socket.gaierror(-3, "Temporary failure in name resolution"), OUTAGE),
    "a timeout": (TimeoutError(), OUTAGE),
    "a connection": (ConnectionError("lost"), OUTAGE),
    "wrapped": (caused(RuntimeError("the upload failed"), TimeoutError()), OUTAGE),
    "no library": (ImportError("install s3fs"), PERMANENT),
    "a bad URL": (ValueError("Protocol not known"), PERMANENT),
    "a fault of ours": (TypeError("unsupported operand"), UNKNOWN),
    "another": (AttributeError("no attribute"), UNKNOWN),
    "a third": (KeyError("size"), UNKNOWN),
    "a code that is no status": (foreign("Odd", code=7, status="off"), UNKNOWN),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_store_raises_is_judged(name: str) -> None:
    exc, expected = CASES[name]
    assert verdict(exc) == expected


@pytest.mark.parametrize("name", CASES)
def test_writing_raises_what_the_retry_policy_knows(name: str) -> None:
    exc, expected = CASES[name]
    kind = {PERMANENT: OutputError, OUTAGE: StorageUnavailableError, UNKNOWN: StorageError}[expected]
    with pytest.raises(kind, match=r"^cannot write s3://bucket/7\.wav") as caught, translated("s3://bucket/7.wav"):
        raise exc
    assert caught.value.__cause__ is exc
    assert "\n" not in str(caught.value)


def test_an_unknown_error_costs_attempts_and_says_its_kind() -> None:
    assert issubclass(StorageError, TransientError)
    assert not issubclass(StorageError, OutageError)
    with pytest.raises(StorageError, match=r"^cannot write out/7\.wav: TypeError: NoneType$"), translated("out/7.wav"):
        raise TypeError("NoneType")


def test_an_error_of_ours_stays_what_it_is() -> None:
    with pytest.raises(LatentError, match=r"^short$"), translated("x"):
        raise LatentError("short")


def test_what_is_missing_is_told_from_what_is_forbidden() -> None:
    assert is_missing(FileNotFoundError("no such key"))
    assert is_missing(number("ENOENT"))
    assert is_missing(StatusError(404))
    assert not is_missing(PermissionError("Forbidden"))
    assert not is_missing(number("ESTALE"))


STORE: Mapping[str, type[WavemillError]] = {
    "busy": StorageUnavailableError,
    "forbidden": OutputError,
    "no-bucket": OutputError,
    "reset": StorageUnavailableError,
    "silent": StorageUnavailableError,
    "bug": StorageError,
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_real_store_that_fails_is_judged_and_written_to_when_it_is_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault = tmp_path / "fault"
    for key, value in slow_store(tmp_path, fault=fault).items():
        monkeypatch.setenv(key, value)
    system, inner = fsspec.core.url_to_fs(f"{PROTOCOL}://{tmp_path}/bucket/7.wav")
    fault.write_text(name)
    with pytest.raises(STORE[name]), translated(inner):
        system.pipe_file(inner, b"sound")
    fault.unlink()
    with translated(inner):
        system.pipe_file(inner, b"sound")
    assert system.cat_file(inner) == b"sound"


def test_a_folder_to_read_from_that_is_gone_or_empty_is_an_outage(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(StorageUnavailableError, match=r"^the folder .*data is not there; .*wavemill cancel"):
        require_there(folder, "the folder")
    folder.mkdir()
    with pytest.raises(StorageUnavailableError, match=r"data is empty, .*wavemill cancel"):
        require_there(folder, "the folder")
    (folder / "file").touch()
    require_there(folder, "the folder")
    require_there(folder / "file", "the folder")  # no folder, which waiting will not make it


def test_a_folder_that_does_not_answer_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(_: Path) -> None:
        raise number("ESTALE")

    monkeypatch.setattr(os, "scandir", stale)
    with pytest.raises(StorageUnavailableError, match=r"does not answer: Stale file handle"):
        require_there(tmp_path, "the folder")

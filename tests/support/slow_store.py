"""An object store in a folder, `slowfile:///folder`, that takes its time for each request and fails on command.

fsspec finds it by an entry point, in processes of ours and in workers that know nothing of it. As in an object store,
a key needs no folder, a put is seen whole or not at all, and a move is a copy and a removal.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import fsspec
from fsspec.spec import AbstractFileSystem

PROTOCOL = "slowfile"
_DELAY, _FAULT, _LOG = "SLOW_STORE_S", "SLOW_STORE_FAULT", "SLOW_STORE_LOG"


class StatusError(Exception):
    """As gcsfs and aiohttp tell of an answer that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the store answered {status}")
        self.status = status


# What a request raises while the flag file holds this word.
FAULTS: Mapping[str, Callable[[], Exception]] = {
    "busy": lambda: StatusError(503),
    "forbidden": lambda: PermissionError("Forbidden"),  # no errno, as s3fs raises it
    "no-bucket": lambda: FileNotFoundError("The specified bucket does not exist"),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)),
    "silent": lambda: TimeoutError(),
    "bug": lambda: TypeError("unsupported operand type(s)"),
}


class SlowFileSystem(AbstractFileSystem):
    """Each method below with `_request` in it is one request."""

    protocol: ClassVar[str] = PROTOCOL
    root_marker: ClassVar[str] = "/"

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List what is right below a prefix."""
        folder = _request("ls", self._strip_protocol(path))
        if folder.is_file():
            children = [folder]
        else:
            children = sorted(child for child in folder.iterdir() if not child.name.endswith(".part"))
        return [_described(child) if detail else str(child) for child in children]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Describe a key or a prefix."""
        return _described(_request("info", self._strip_protocol(path)))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """Get a key."""
        return _request("get", self._strip_protocol(path)).read_bytes()[start:end]

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Put a key; with mode "create" only where there is none."""
        target = _request("put", self._strip_protocol(path))
        _place(target, value, replaces=mode == "overwrite")

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Copy a key."""
        source = _request("copy", self._strip_protocol(path1))
        _place(Path(self._strip_protocol(path2)), source.read_bytes(), replaces=True)

    def rm_file(self, path: str) -> None:
        """Remove a key."""
        _request("delete", self._strip_protocol(path)).unlink()

    def rm(self, path: str, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove a key, or all below a prefix: a listing, and one request for up to a thousand keys."""
        if not recursive:
            self.rm_file(path)
            return
        folder = _request("ls", self._strip_protocol(path))
        if not folder.exists():
            raise FileNotFoundError(str(folder))
        _request("delete", str(folder))
        shutil.rmtree(folder, ignore_errors=True)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Do nothing: a key needs no folder."""

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Do nothing: a key needs no folder."""

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        return _request("get", self._strip_protocol(path)).open(mode)


def _request(verb: str, path: str) -> Path:
    """Take as long as a request does, and fail as it would."""
    if log := os.environ.get(_LOG):
        with Path(log).open("a") as file:
            file.write(f"{time.time_ns()} {os.getpid()} {verb} {path}\n")
    time.sleep(float(os.environ.get(_DELAY) or 0))
    try:
        fault = Path(os.environ.get(_FAULT) or "/nowhere").read_text().strip()
    except OSError:
        return Path(path)
    raise FAULTS[fault]()


def _described(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"name": str(path), "size": found.st_size, "type": "directory" if path.is_dir() else "file"}


def _place(target: Path, data: bytes, *, replaces: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{os.getpid()}-{threading.get_ident()}-{time.time_ns()}.part")
    part.write_bytes(data)
    if replaces:
        part.replace(target)
        return
    try:
        target.hardlink_to(part)
    finally:
        part.unlink()


def slow_store(
    folder: Path, *, delay_s: float = 0.0, fault: Path | None = None, log: Path | None = None
) -> dict[str, str]:
    """Return the environment of processes that know `slowfile://`; give it to workers, or set it here.

    Parameters
    ----------
    folder : a place for the entry point
    delay_s : of each request
    fault : while this file exists, each request raises what `FAULTS` has for the word in it
    log : file to which each request adds a line: time in ns, process, verb, path
    """
    entry = folder / "slow_store-1.dist-info"
    entry.mkdir(exist_ok=True)
    (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-store\nVersion: 1\n")
    (entry / "entry_points.txt").write_text(f"[fsspec.specs]\n{PROTOCOL} = {__name__}:SlowFileSystem\n")
    tests = Path(__file__).parents[1]
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH"), str(tests)]))
    fsspec.register_implementation(PROTOCOL, SlowFileSystem, clobber=True)
    return {"PYTHONPATH": path, _DELAY: str(delay_s), _FAULT: str(fault or ""), _LOG: str(log or "")}

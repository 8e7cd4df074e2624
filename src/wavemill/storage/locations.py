"""Locations of inputs and outputs: telling paths from URLs, listing and opening files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from wavemill.errors import UsageError
from wavemill.places import expanded

_URL = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")


def batch_root(output: str, batch_id: str) -> str:
    """Return the folder or URL of a batch's outputs, below the batch's `output`."""
    return f"{output.rstrip('/')}/{batch_id}"


def is_url(location: str) -> bool:
    """Whether a location is a URL such as `s3://bucket/prefix`, not a path."""
    return _URL.match(location) is not None


def is_remote(location: str) -> bool:
    """Whether writing there waits for a network rather than for a core."""
    return is_url(location) and not location.startswith("file://")


def require_known_scheme(url: str) -> None:
    """Raise UsageError if fsspec does not know the URL's scheme; its library may be missing."""
    scheme = url.partition("://")[0]
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError:
        return  # only the workers need the library
    except ValueError as exc:
        raise UsageError(f"{url}: fsspec has no storage for {scheme}://: {exc}") from exc


def absolute(location: str) -> str:
    """Return a path as an absolute one, which workers in other folders can use; a URL unchanged."""
    return location if is_url(location) else str(expanded(location).resolve())


def names_below(root: str, suffix: str) -> Iterator[str]:
    """Yield the names of files below a folder or URL that end in `suffix`, sorted.

    Names are relative and lack the suffix. The `._NAME` files that macOS makes are left out.

    Raises
    ------
    UsageError
        There is no such folder, or it cannot be listed.
    """
    try:
        file_system, inner = file_system_of(root)
        found = sorted(file_system.find(inner))
    except Exception as exc:  # each store raises errors of its own
        raise UsageError(f"cannot list {root}: {exc}") from exc
    inner = inner.rstrip("/") + "/"
    found = [path for path in found if path.endswith(suffix) and not path.rpartition("/")[2].startswith("._")]
    names = [path.removeprefix(inner).removesuffix(suffix) for path in found]
    if not names:
        raise UsageError(f"there is no {suffix} file below {root}")
    yield from names


def file_system_of(location: str) -> tuple[Any, str]:
    """Return the fsspec file system of a path or URL, and the path within it.

    fsspec reads every "::" as a chain of file systems. Here it chains only before a scheme;
    elsewhere it is part of a name.
    """
    if not is_url(location):
        return LocalFileSystem(), str(Path(location).resolve())
    if location.startswith("file://"):
        return LocalFileSystem(), location.removeprefix("file://")
    behind_schemes = location.rindex("://") + len("://")
    in_a_name = location.find("::", behind_schemes)
    if in_a_name < 0:
        system, inner = fsspec.core.url_to_fs(location)
        return system, inner
    end = max(location.rfind("/", 0, in_a_name), behind_schemes)
    system, inner = fsspec.core.url_to_fs(location[:end])
    return system, f"{inner.rstrip('/')}/{location[end:].lstrip('/')}"


def opened(location: str) -> IO[bytes]:
    """Open the file at a path or URL for reading."""
    system, inner = file_system_of(location)
    file: IO[bytes] = system.open(inner, "rb")
    return file

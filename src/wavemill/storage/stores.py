"""Opens the store for a location: a folder or an object store."""

from __future__ import annotations

from pathlib import Path

from wavemill.storage.folder import FolderStore
from wavemill.storage.locations import is_remote
from wavemill.storage.objects import UrlStore
from wavemill.storage.staging import OutputStore


def open_store(root: str, *, must_exist: bool = False) -> OutputStore:
    """Return the store for a folder's path or an fsspec URL such as `s3://bucket/prefix`; see `FolderStore`."""
    if is_remote(root):
        return UrlStore(root)
    return FolderStore(Path(root.removeprefix("file://")), must_exist=must_exist)

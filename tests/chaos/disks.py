"""Disks of the arena's own, where it may mount some: to be full, or read-only."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from pathlib import Path

_SIZE_MB = 400
_BUSY_S = 10.0


class Disk:
    """A file system in memory, mounted at `folder`; a plain folder where this process may not mount."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.is_mounted = os.geteuid() == 0 and _mount("-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "tmpfs", str(folder))

    def fill(self) -> None:
        """Write until there is no room."""
        with (self.folder / "fill").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 16)):
                    pass
            except OSError as exc:
                if exc.errno != errno.ENOSPC:
                    raise

    def empty(self) -> None:
        """Give the room back."""
        (self.folder / "fill").unlink()

    def set_writable(self, *, writable: bool) -> bool:
        """Mount it read-only, or writable again; False while somebody would not close a file."""
        deadline = time.monotonic() + _BUSY_S
        while not _mount("-o", f"remount,{'rw' if writable else 'ro'}", str(self.folder)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)  # the kernel does not say when the last writer closes its file
        return True

    def close(self) -> None:
        """Unmount it."""
        if self.is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)
            self.is_mounted = False


def _mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], capture_output=True).returncode == 0

"""Models that a worker cannot serve, so that it does not claim their batches for a while."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

_Identity = tuple[int, int, int] | None


class RefusedModels:
    """The digests of models that one worker lacks.

    Each is looked for again after `look_again_s`, and as soon as something is added to or removed
    from the models' folder.
    """

    def __init__(self, models_dir: Path, *, look_again_s: float) -> None:
        self._models_dir = models_dir
        self._look_again_s = look_again_s
        self._refused: dict[str, tuple[float, _Identity]] = {}  # digest -> until when, and the folder's identity

    def digests(self) -> list[str]:
        """Return the digests of models whose batches must not be claimed now."""
        if not self._refused:
            return []
        now, identity = monotonic(), self._identity()
        return [digest for digest, (until, then) in self._refused.items() if now < until and identity == then]

    @property
    def pause_s(self) -> float:
        """Seconds until the first refused model is looked for again; 0 if none is refused."""
        now, refused = monotonic(), self.digests()
        return min((self._refused[digest][0] - now for digest in refused), default=0.0)

    def add(self, digest: str, *, ask_again: bool = False) -> None:
        """Refuse a model from now on; with `ask_again`, claim its batches all the same."""
        self._refused[digest] = (monotonic() + (0.0 if ask_again else self._look_again_s), self._identity())

    def discard(self, digest: str) -> bool:
        """Forget a refusal; return whether there was one."""
        return self._refused.pop(digest, None) is not None

    def _identity(self) -> _Identity:
        try:
            found = self._models_dir.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_mtime_ns

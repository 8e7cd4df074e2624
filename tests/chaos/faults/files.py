"""What happens to folders: gone, read-only, full, slow; as a network file system that hiccups."""

from __future__ import annotations

import random
from pathlib import Path

from chaos.arena import Arena, move_back

_GONE_S = 5.0
_SHORT_S = 2.0


def lose_the_dataset(arena: Arena, _chance: random.Random) -> str:
    """Its folder is not there."""
    return _gone(arena, arena.dataset)


def lose_the_spectrograms(arena: Arena, _chance: random.Random) -> str:
    """The dataset is there, and what is in it is not."""
    return _gone(arena, arena.dataset / "spectrograms")


def lose_the_outputs(arena: Arena, _chance: random.Random) -> str:
    """With all that is in it."""
    return _gone(arena, arena.output)


def _gone(arena: Arena, folder: Path) -> str:
    away = folder.with_name(f"{folder.name}.away")
    try:
        folder.rename(away)
    except FileNotFoundError:
        return f"{folder.name} was gone already"

    def end() -> None:
        for name in move_back(away, folder):
            arena.complaints.append(f"{folder / name} was gone, and was made anew instead of waited for")

    arena.later(_GONE_S, end)
    return f"{folder.name} is gone for {_GONE_S:.0f} s"


def make_outputs_read_only(arena: Arena, _chance: random.Random) -> str:
    """The disk they are on is mounted read-only, as the kernel does after an error."""
    if not arena.output_disk.is_mounted:
        return "SKIPPED: only root may mount a disk of its own"
    if not arena.output_disk.set_writable(writable=False):
        return "somebody wrote all the time"
    arena.later(_GONE_S, lambda: arena.output_disk.set_writable(writable=True))
    return f"for {_GONE_S:.0f} s"


def slow_disk(arena: Arena, _chance: random.Random) -> str:
    """Each file takes long to open."""
    return _while_there(arena, arena.slow)


def full_disk(arena: Arena, _chance: random.Random) -> str:
    """No file can be written."""
    return _while_there(arena, arena.full)


def _while_there(arena: Arena, flag: Path) -> str:
    flag.touch()
    arena.later(_SHORT_S, lambda: flag.unlink(missing_ok=True))
    return f"for {_SHORT_S:.0f} s"


EVENTS = {
    "lose the dataset": lose_the_dataset,
    "lose the spectrograms": lose_the_spectrograms,
    "lose the outputs": lose_the_outputs,
    "make the outputs read-only": make_outputs_read_only,
    "slow disk": slow_disk,
    "full disk": full_disk,
}

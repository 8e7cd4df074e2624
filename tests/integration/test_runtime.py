"""What a worker keeps open, and lets go of."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

from support.material import save_untrained_model

from wavemill.rendering.resources import Runtime


def test_a_model_that_gave_way_to_others_is_freed(models: Path, tmp_path: Path) -> None:
    """Cycles lead through a model, and what is frozen is never collected."""
    folder = tmp_path / "models"
    shutil.copytree(models, folder)
    digests = {name: save_untrained_model(folder / name) for name in ("second", "third")}
    runtime = Runtime(folder)
    try:
        first = runtime.model("second", digests["second"])
        parts = [weakref.ref(first), weakref.ref(first.network), weakref.ref(first.network.encoder)]
        del first
        assert all(part() is not None for part in parts), "it is kept for the next chunk"
        runtime.model("third", digests["third"])
        runtime.model("third", digests["third"])
        for name in ("fourth", "fifth"):
            runtime.model(name, save_untrained_model(folder / name))
        assert [part() for part in parts] == [None, None, None]
        assert gc.get_freeze_count() > 0, "the others' objects stay out of collections"
    finally:
        gc.unfreeze()


def test_the_model_used_last_stays(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    digests = {name: save_untrained_model(folder / name) for name in ("a", "b", "c")}
    runtime = Runtime(folder)
    try:
        a = runtime.model("a", digests["a"])
        runtime.model("b", digests["b"])
        assert runtime.model("a", digests["a"]) is a
        runtime.model("c", digests["c"])
        assert runtime.model("a", digests["a"]) is a
    finally:
        gc.unfreeze()

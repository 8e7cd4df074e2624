"""The checker of histories finds what it is for, in histories made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from chaos.check import check

Line = dict[str, Any]
PATH = "/out/b/generated/x.wav"


def line(event: str, at: float, *, job: int = 1, worker: str | None = None, attempt: int = 0, **more: Any) -> Line:
    states = {"queue": "queued", "claim": "running", "give-back": "queued", "reclaim": "queued", "requeue": "queued"}
    basis = {"batch": "b", "state": states.get(event), "counted": attempt, "files": []}
    return {"event": event, "time": at, "job": job, "worker": worker, "attempt": attempt, **basis, **more}


def queue(at: float = 0.0, **more: Any) -> Line:
    return line("queue", at, **more)


def claim(at: float, worker: str, attempt: int = 1, **more: Any) -> Line:
    return line("claim", at, worker=worker, attempt=attempt, **more)


def done(at: float, worker: str, attempt: int = 1, sha256: str = "aa", **more: Any) -> Line:
    files = [{"path": PATH, "sha256": sha256}]
    return line("finish", at, worker=worker, attempt=attempt, state="done", files=files, **more)


def place(at: float, worker: str | None, attempt: int | None = 1, sha256: str = "aa") -> Line:
    return {**line("place", at, worker=worker, path=PATH, sha256=sha256), "attempt": attempt}


def given_back(at: float, worker: str, attempt: int = 1) -> Line:
    return line("give-back", at, worker=worker, attempt=attempt, counted=attempt - 1)


def reclaimed(at: float, worker: str, attempt: int = 1) -> Line:
    return line("reclaim", at, worker=worker, attempt=attempt)


GOOD: dict[str, Sequence[Line]] = {
    "done at once": [queue(), claim(1, "v"), place(2, "v"), done(3, "v")],
    "given back and done by another": [
        *(queue(), claim(1, "v"), given_back(2, "v"), claim(3, "w"), place(4, "w"), done(5, "w")),
    ],
    "lost, and done in the next attempt": [
        *(queue(), claim(1, "v"), place(2, "v", sha256="bb"), reclaimed(3, "v")),
        *(claim(4, "w", 2), place(5, "w", 2), done(6, "w", 2)),
    ],
    "placed late, before another has": [
        *(queue(), claim(1, "v"), reclaimed(3, "v"), claim(4, "w", 2)),
        *(place(4.5, "v", sha256="bb"), place(5, "w", 2), done(6, "w", 2)),
    ],
    "left there by one who died": [
        *(queue(), claim(1, "v"), place(2, "v"), reclaimed(3, "v"), claim(4, "w", 2), done(6, "w", 2)),
    ],
    "failed, and requeued": [
        *(queue(), claim(1, "v"), line("finish", 2, worker="v", attempt=1, state="failed")),
        *(line("requeue", 3, attempt=1), claim(4, "w", 2), place(5, "w", 2), done(6, "w", 2)),
    ],
    "cancelled": [queue(), line("end", 1, state="cancelled")],
    "a pruned job's number is used again": [
        *(
            queue(),
            claim(1, "v"),
            line("finish", 2, worker="v", attempt=1, state="failed"),
            line("delete", 3, state=None),
        ),
        *(queue(4, batch="c"), claim(5, "w", batch="c"), place(6, "w"), done(7, "w", batch="c")),
    ],
    "pruned": [queue(), line("end", 1, state="cancelled"), line("delete", 2, state=None)],
}
BAD: dict[str, tuple[str, Sequence[Line]]] = {
    "never claimed": ("lost", [queue()]),
    "running at the end": ("lost", [queue(), claim(1, "v")]),
    "finished twice": ("twice", [queue(), claim(1, "v"), place(2, "v"), done(3, "v"), done(4, "v")]),
    "done and claimed again": ("twice", [queue(), claim(1, "v"), done(3, "v"), claim(4, "w", 2), done(5, "w", 2)]),
    "done and queued again": (
        "twice",
        [queue(), claim(1, "v"), done(3, "v"), line("requeue", 4, attempt=1), claim(5, "w", 2), done(6, "w", 2)],
    ),
    "done and cancelled": ("twice", [queue(), claim(1, "v"), done(3, "v"), line("end", 4, state="cancelled")]),
    "finished without a claim": ("order", [queue(), done(3, "v")]),
    "claimed while held": ("order", [queue(), claim(1, "v"), claim(2, "w", 2), done(3, "w", 2)]),
    "claimed and never queued": ("order", [claim(1, "v"), done(3, "v")]),
    "an attempt is left out": ("order", [queue(), claim(1, "v", 2), done(3, "v", 2)]),
    "an attempt counts twice": (
        "order",
        [queue(), claim(1, "v"), reclaimed(2, "v"), claim(3, "w", 1), done(4, "w", 1)],
    ),
    "finished by one who lost it": (
        "fencing",
        [queue(), claim(1, "v"), reclaimed(2, "v"), claim(3, "w", 2), done(4, "v", 1)],
    ),
    "overwritten when done": (
        "fencing",
        [
            *(queue(), claim(1, "v"), reclaimed(2, "v"), claim(3, "w", 2), place(4, "w", 2), done(5, "w", 2)),
            place(6, "v", sha256="bb"),
        ],
    ),
    "overwritten when done, with the same bytes": (
        "fencing",
        [
            *(queue(), claim(1, "v"), reclaimed(2, "v"), claim(3, "w", 2), place(4, "w", 2), done(5, "w", 2)),
            place(6, "v"),
        ],
    ),
    "placed last by one who lost it": (
        "fencing",
        [
            *(queue(), claim(1, "v"), reclaimed(2, "v"), claim(3, "w", 2), place(3.5, "w", 2)),
            *(place(4, "v"), done(5, "w", 2)),
        ],
    ),
    "placed by nobody": ("fencing", [queue(), claim(1, "v"), place(2, None, None), done(3, "v")]),
    "not what was recorded": ("fencing", [queue(), claim(1, "v"), place(2, "v", sha256="bb"), done(3, "v")]),
    "nothing was placed": (
        "fencing",
        [queue(), claim(1, "v"), done(3, "v"), {**place(2, "u"), "path": "/elsewhere"}],
    ),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_violates_nothing(name: str) -> None:
    assert check(GOOD[name])[1] == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_violates_what_it_should_and_nothing_else(name: str) -> None:
    kind, lines = BAD[name]
    assert {found for found, _ in check(lines)[1]} == {kind}


def test_each_job_is_judged_by_itself() -> None:
    lines = [queue(), queue(job=2), claim(1, "v"), claim(1, "v", job=2), done(2, "v"), done(3, "v", job=2)]
    assert check(lines)[1] == []


@pytest.mark.parametrize(("lines", "code"), [(GOOD["done at once"], 0), (BAD["finished twice"][1], 1)])
def test_the_checker_is_a_script_that_needs_nothing_but_python(
    lines: Sequence[Line], code: int, tmp_path: Path
) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    script = Path(__file__).with_name("check.py")
    done = subprocess.run([sys.executable, "-I", "-S", script, history], capture_output=True, text=True)
    assert done.returncode == code
    assert ("\n0 violations" in done.stdout) == (code == 0)

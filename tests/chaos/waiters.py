"""`wavemill submit --wait` and `wavemill wait`, run through all of a storm: they get through, and say little."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from chaos.arena import Arena, Entry, patiently
from chaos.hosts import WAVEMILL
from chaos.inputs import all_done, write_inputs

from wavemill_producer import Batch

_N_JOBS = 20
_START_S = 60.0
_END_S = 60.0
_LINES_PER_EVENT = 3


class Waiters:
    """One who submits and waits, one who waits; for a batch that is paused until the storm is over."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._folder = arena.folder / "waiters"
        self._folder.mkdir()
        ids = [f"waited-{k}" for k in range(_N_JOBS)]
        write_inputs(arena.dataset, ids)
        (self._folder / "ids").write_text("\n".join(ids))
        output = arena.output_disk.folder / "waited"
        self._submit = self._start(
            "submit",
            *("submit", "invert", "--dataset", str(arena.dataset), "--output", str(output), "--no-check-ids"),
            *("--ids", str(self._folder / "ids"), "--priority", "0", "--wait", "--json"),
        )
        self._batch = self._submitted()
        self._batch.pause()
        self._wait = self._start("wait", "wait", self._batch.id, "--json")
        arena.entries.append(Entry(what="waited for", batch=self._batch, output=output, expected=all_done))

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{name}.out").open("wb") as out, (self._folder / f"{name}.err").open("wb") as err:
            return subprocess.Popen(
                [*WAVEMILL, *arguments], env=self._arena.environment, cwd=self._folder, stdout=out, stderr=err
            )

    def _submitted(self) -> Batch:
        deadline = time.monotonic() + _START_S
        while not (said := _read(self._folder / "submit.out")).endswith("}\n"):
            assert time.monotonic() < deadline, f"nothing was submitted: {said} {_read(self._folder / 'submit.err')}"
            assert self._submit.poll() is None, _read(self._folder / "submit.err")
            time.sleep(0.05)
        return self._arena.producer.batch(json.loads(said)["batch_id"])

    def release(self) -> None:
        """Let them come to their end."""
        patiently(self._batch.resume)

    def complaints(self, n_events: int) -> Iterator[str]:
        """Wait for their ends, which must come; yield what is wrong with those."""
        for name, process in (("submit", self._submit), ("wait", self._wait)):
            said = _read(self._folder / f"{name}.err")
            try:
                code: int | str = process.wait(_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = "nothing, and was killed"
            if code != 0:
                yield f"wavemill {name} ended with {code}: {said[-300:]}"
            if "Traceback" in said or said.count("\n") > _LINES_PER_EVENT * (n_events + 2):
                yield f"wavemill {name} said {said.count(chr(10))} lines: {said[-300:]}"

    def close(self) -> None:
        """End what still waits."""
        for process in (self._submit, self._wait):
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()


def _read(path: Path) -> str:
    return path.read_text(errors="replace")

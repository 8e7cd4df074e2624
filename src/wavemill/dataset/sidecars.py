"""Reads the labels that lie beside a recording in a tar file, as WebDataset has them: `key.json`, `.cls`, `.txt`."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import Any

from wavemill.audio.tars import index_of, opened, tar_above
from wavemill.dataset.sources import SIDECARS, Problem
from wavemill.labels import number_in

_MOST_BYTES = 2**20


def sidecar_labels(path: Path) -> tuple[dict[str, Any], list[Problem]]:
    """Return what is said about a recording, not yet checked, and which members say nothing although they should.

    The fields of `key.json` have their own names; the texts of `key.cls` and `key.txt` are named `cls`
    and `txt`. A key ends at the first dot of a name. Outside tar files nothing is said.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    if (inside := tar_above(path)) is not None:
        tar, member = inside[0], PurePosixPath(inside[1])
        places, key = index_of(tar).places, member.name.partition(".")[0]
        for name in (str(member.with_name(key + suffix)) for suffix in SIDECARS):
            try:
                values |= _read(tar / name, places[name][1]) if name in places else {}
            except (OSError, ValueError, RecursionError) as exc:
                problems.append((PurePosixPath(name).name, f"cannot be read as labels: {exc}"))
    return values, problems


def _read(path: Path, n_bytes: int) -> dict[str, Any]:
    if n_bytes > _MOST_BYTES:
        raise ValueError(f"expected at most {_MOST_BYTES} bytes, received {n_bytes}")
    with opened(path) as file:
        text = file.read().decode().strip()
    if path.suffix == ".txt":
        return {"txt": text}
    if path.suffix == ".cls":
        number = number_in(text)
        return {"cls": text if number is None else number}
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("expected an object with a field for each label")  # noqa: TRY004 as other bad contents
    return fields

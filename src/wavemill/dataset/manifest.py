"""`dataset.json`: what a dataset folder holds and how it was made; and the names of all files in the folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import wavemill
from wavemill.errors import DatasetError, UsageError
from wavemill.presets import Features

FORMAT = 1
PACKED_FORMAT = 2  # versions that know no packs refuse it
MANIFEST_NAME = "dataset.json"
TEMPORARY_MANIFEST_NAME = ".dataset.json.tmp"
INDEX_NAME = "index.sqlite"
SPECTROGRAMS_NAME = "spectrograms"
SCRATCH_NAME = ".building"  # unfinished files


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `dataset.json`."""

    features: Features
    origin: str  # "build" or "import-course": the command that may continue it
    packed: bool = False  # many spectrograms a file, see `wavemill.dataset.packs`
    complete: bool = False  # False while a build runs, and after one that was killed
    counts: dict[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()  # names of the labels that at least one spectrogram has
    wavemill_version: str = wavemill.__version__


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `dataset.json` whole: a reader sees the old one or the new one."""
    number = PACKED_FORMAT if manifest.packed else FORMAT
    content = {"format": number, "preset": manifest.features.preset, **asdict(manifest)}
    temporary = folder / TEMPORARY_MANIFEST_NAME
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST_NAME)


def read_manifest(folder: Path) -> Manifest:
    """Read `dataset.json`, or raise DatasetError that says why the folder is no dataset."""
    try:
        content = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        problem = f"holds no {MANIFEST_NAME}" if folder.is_dir() else "is not an existing folder"
        raise DatasetError(
            f"{folder} {problem}; make a dataset with: wavemill dataset build AUDIO_DIR DATASET"
        ) from exc
    except (OSError, ValueError) as exc:
        raise DatasetError(f"{folder / MANIFEST_NAME} cannot be read: {exc}; build the dataset again") from exc
    return _parse(content, folder / MANIFEST_NAME)


def _parse(content: Any, path: Path) -> Manifest:
    if not isinstance(content, dict) or content.get("format") not in (FORMAT, PACKED_FORMAT):
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DatasetError(
            f"{path}: expected dataset format {FORMAT} or {PACKED_FORMAT}, received {found!r}; build the dataset again"
        )
    try:
        return Manifest(
            features=Features.from_dict(content["features"]),
            origin=str(content["origin"]),
            packed=content.get("packed") is True,
            complete=content["complete"] is True,
            counts={str(name): int(count) for name, count in content["counts"].items()},
            labels=tuple(map(str, content["labels"])),
            wavemill_version=str(content["wavemill_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as exc:
        raise DatasetError(f"{path} is damaged: {exc}; build the dataset again") from exc

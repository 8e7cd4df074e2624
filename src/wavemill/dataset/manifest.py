"""`dataset.json`: what a dataset holds and how it was made. Also names of the folder's files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import wavemill
from wavemill.dataset.extents import LONG, Long
from wavemill.errors import DatasetError, StorageUnavailableError, UsageError
from wavemill.files.bounded import NotAFileError, TooLargeError, read_file
from wavemill.presets import Features
from wavemill.storage.errors import Verdict, reason, verdict

FORMAT = 1
PACKED_FORMAT = 2  # refused by versions of wavemill that cannot read packs
KEPT_FORMAT = 3  # refused by versions that cannot read spectrograms of several lengths
_FORMATS = (FORMAT, PACKED_FORMAT, KEPT_FORMAT)
MANIFEST_NAME = "dataset.json"
TEMPORARY_MANIFEST_NAME = ".dataset.json.tmp"
INDEX_NAME = "index.sqlite"
SPECTROGRAMS_NAME = "spectrograms"
SCRATCH_NAME = ".building"  # unfinished files
_MOST_BYTES = 2**20  # a valid manifest has about a thousand bytes


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `dataset.json`."""

    features: Features
    origin: str  # "build" or "import-course": the command that may continue it
    long: Long = "cut"  # what becomes of long recordings
    packed: bool = False  # many spectrograms per file, see `wavemill.dataset.packs`
    complete: bool = False  # False while a build runs, and after a killed one
    counts: dict[str, int] = field(default_factory=dict)
    labels: tuple[str, ...] = ()  # names of the labels that at least one spectrogram has
    wavemill_version: str = wavemill.__version__


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace `dataset.json` atomically: a reader sees the old content or the new."""
    number = KEPT_FORMAT if manifest.long == "keep" else PACKED_FORMAT if manifest.packed else FORMAT
    content = {"format": number, "preset": manifest.features.preset, **asdict(manifest)}
    temporary = folder / TEMPORARY_MANIFEST_NAME
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / MANIFEST_NAME)


def read_manifest(folder: Path) -> Manifest:
    """Read `dataset.json`.

    Raises
    ------
    DatasetError
        The folder is not a dataset; the message says why.
    StorageUnavailableError
        Its disk does not answer.
    """
    path = folder / MANIFEST_NAME
    try:
        content = json.loads(read_file(path, most_bytes=_MOST_BYTES))
    except FileNotFoundError as exc:
        problem = f"holds no {MANIFEST_NAME}" if folder.is_dir() else "is not an existing folder"
        raise DatasetError(
            f"{folder} {problem}; make a dataset with: wavemill dataset build AUDIO_DIR DATASET"
        ) from exc
    except OSError as exc:
        if verdict(exc) is Verdict.OUTAGE:
            raise StorageUnavailableError(f"{path} cannot be read now: {reason(exc)}") from exc
        raise DatasetError(f"{path} cannot be read: {exc}") from exc
    except NotAFileError as exc:
        raise DatasetError(f"{path} is not a file; build the dataset again") from exc
    except (ValueError, RecursionError, TooLargeError) as exc:
        raise DatasetError(f"{path} cannot be read: {exc}; build the dataset again") from exc
    return _parse(content, path)


def _parse(content: Any, path: Path) -> Manifest:
    if not isinstance(content, dict) or content.get("format") not in _FORMATS:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise DatasetError(f"{path}: expected dataset format 1, 2 or 3, received {found!r}; build the dataset again")
    if (long := content.get("long", Manifest.long)) not in LONG:
        raise DatasetError(f"{path} is damaged: long {long!r:.40}: expected one of {', '.join(LONG)}; build it again")
    try:
        return Manifest(
            features=Features.from_dict(content["features"]),
            origin=str(content["origin"]),
            long=long,
            packed=content.get("packed") is True,
            complete=content["complete"] is True,
            counts={str(name): int(count) for name, count in content["counts"].items()},
            labels=tuple(map(str, content["labels"])),
            wavemill_version=str(content["wavemill_version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, UsageError) as exc:
        raise DatasetError(f"{path} is damaged: {exc}; build the dataset again") from exc

"""Where a recording's labels come from: a table beside the recordings, their names, or their folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from wavemill.errors import UsageError
from wavemill.labels import SPLIT, LabelValue

LabelDict = dict[str, LabelValue]

_DIGIT_SPEAKER_INDEX = re.compile(r"(?P<digit>[0-9])_(?P<speaker>[^_]+)_(?P<index>[0-9]+)")
_FOLDER_LABEL = "label"  # as Hugging Face's AudioFolder calls it
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(:[df])?\}")
_KINDS: Mapping[str | None, tuple[str, Callable[[str], LabelValue]]] = {
    None: ("[^/]+?", str),
    ":d": ("[+-]?[0-9]{1,18}", int),
    ":f": (r"[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?", float),
}


@dataclass(frozen=True, kw_only=True)
class LabelChoice:
    """How to label recordings, as the options of `dataset build` say it."""

    metadata: Path | None = None  # a table; by default one that lies in the folder of recordings
    pattern: str | None = None  # such as `{digit}_{speaker}_{index}`
    from_folders: bool = False

    @property
    def by_names(self) -> bool:
        """Whether an option says how names give labels."""
        return self.pattern is not None or self.from_folders


def name_labels(choice: LabelChoice) -> Callable[[str], LabelDict]:
    """Return the function that reads the labels out of a recording's ID; UsageError for a bad pattern."""
    if not choice.by_names:
        return labels_of
    pattern = None if choice.pattern is None else _Pattern(choice.pattern)

    def read(spectrogram_id: str) -> LabelDict:
        labels = folder_labels(spectrogram_id) if choice.from_folders else {}
        return labels | (pattern.labels(spectrogram_id) if pattern else {})

    return read


def labels_of(spectrogram_id: str) -> LabelDict:
    """Return the labels of an ID whose last component is `digit_speaker_index`, else {}."""
    match = _DIGIT_SPEAKER_INDEX.fullmatch(PurePosixPath(spectrogram_id).name)
    return dict(match.groupdict()) if match else {}


def folder_labels(spectrogram_id: str) -> LabelDict:
    """Return `label`, the name of the folder that holds the recording, and `split` if a folder is named after one."""
    labels: LabelDict = {}
    for folder in PurePosixPath(spectrogram_id).parts[:-1]:
        split = _SPLIT_NAMES.get(folder.lower())
        labels[SPLIT if split else _FOLDER_LABEL] = split or folder
    return labels


def with_known_split(labels: LabelDict) -> LabelDict:
    """Return labels whose `split` has one of the usual names, such as `validation` for `dev`."""
    split = labels.get(SPLIT)
    known = _SPLIT_NAMES.get(split.lower()) if isinstance(split, str) else None
    return labels | {SPLIT: known} if known else labels


class _Pattern:
    """A name such as `{digit}_{speaker}_{index}`; `{pitch:d}` and `{gain:f}` are numbers, others are texts."""

    def __init__(self, pattern: str) -> None:
        names = [name for name, _ in _FIELD.findall(pattern)]
        if not names or len(set(names)) < len(names) or re.search(r"[{}]", _FIELD.sub("", pattern)):
            raise UsageError(
                f"--label-pattern {pattern!r}: expected names in braces, each once, such as "
                "'{digit}_{speaker}_{index}' or '{instrument}_{pitch:d}'"
            )
        self._depth = pattern.count("/") + 1
        self._readers: dict[str, Callable[[str], LabelValue]] = {}
        self._expression = re.compile(self._parts(pattern))

    def labels(self, spectrogram_id: str) -> LabelDict:
        """Return the labels in the last components of an ID; {} if they do not follow the pattern."""
        parts = PurePosixPath(spectrogram_id).parts[-self._depth :]
        match = self._expression.fullmatch("/".join(parts))
        return {} if match is None else {name: self._readers[name](text) for name, text in match.groupdict().items()}

    def _parts(self, pattern: str) -> str:
        expression, end = "", 0
        for field in _FIELD.finditer(pattern):
            name, kind = field.groups()
            matching, self._readers[name] = _KINDS[kind]
            expression += re.escape(pattern[end : field.start()]) + f"(?P<{name}>{matching})"
            end = field.end()
        return expression + re.escape(pattern[end:])

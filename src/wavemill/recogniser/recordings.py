"""A folder of labelled recordings, with the same IDs as in a dataset built from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from wavemill.arrays import FloatArray
from wavemill.audio.load import audio_suffixes, load_recording
from wavemill.audio.tars import is_tar
from wavemill.dataset.label_sources import labels_of
from wavemill.dataset.parts import part_in
from wavemill.dataset.sources import Findings, find_recordings
from wavemill.errors import AudioError, NotFoundError
from wavemill.labels import Labels
from wavemill.presets import Features


class Recordings:
    """The recordings below a folder, by ID: the path below the folder, without the suffix.

    Raises
    ------
    NotFoundError
        When there are no recordings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, list[str]] = {}
        if folder.is_dir() or is_tar(folder):
            for source in find_recordings(folder, audio_suffixes(), Findings()):
                self._files.setdefault(source.spectrogram_id, []).append(source.path)
        if not self._files:
            raise NotFoundError(f"{folder} holds no recordings; expected files such as 7_george_0.wav below it")

    @property
    def ids(self) -> Sequence[str]:
        """Every ID, sorted."""
        return sorted(self._files)

    def labels(self, recording_id: str) -> Labels:
        """Return the labels in the recording's name; none unless it is `digit_speaker_index`."""
        return labels_of(recording_id)

    def read(
        self, recording_id: str, features: Features, *, longest_s: float | None = None, frame_s: float | None = None
    ) -> FloatArray:
        """Return a recording at the features' rate, cut to a length, by default theirs, float32 [shape=(samples,)].

        An ID such as `song@12.5-14` is that of a part of a recording, `song.0002` that of a frame of a long
        one in a dataset with frames of `frame_s`, by default the features'.

        Raises
        ------
        NotFoundError
            When there is no recording with that ID.
        AudioError
            When the recording cannot be read as sound.
        """
        file_id, start_s, longest_s = recording_id, 0.0, features.duration_s if longest_s is None else longest_s
        frame_s = features.duration_s if frame_s is None else frame_s
        if recording_id not in self._files and (found := part_in(recording_id, frame_s=frame_s)):
            file_id, start_s, longest_s = found[0], found[1].start_s, min(found[1].length_s, longest_s)
        if file_id not in self._files:
            raise NotFoundError(
                f"{self._folder} holds no recording {recording_id!r}; give the folder that the dataset was built from"
            )
        # If several files have the same ID, take the first by name that can be read, as `dataset
        # build` does.
        *others, last = sorted(self._files[file_id])
        for path in others:
            with suppress(AudioError):
                return load_recording(self._folder / path, features, start_s=start_s, longest_s=longest_s).signal
        return load_recording(self._folder / last, features, start_s=start_s, longest_s=longest_s).signal

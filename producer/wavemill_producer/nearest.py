"""Finds the clip of a dataset that a sound is most like, to tell a new sound from a copy."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from sqlalchemy import func, literal, select

from wavemill.arrays import FloatArray
from wavemill.audio.features import extract, normalise, pad_or_cut
from wavemill.dataset.arrays import read_spectrogram
from wavemill.dataset.index import Dataset
from wavemill.dataset.manifest import INDEX_NAME
from wavemill.errors import NotFoundError, WavemillError
from wavemill.jobs.database import Database
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.states import State
from wavemill.presets import Features

MOST_CLIPS = 5_000  # of a dataset that are compared; of a larger one, this many drawn at random
_SIDE = 32  # pixels of a picture, at most
_KEPT = 4  # datasets in memory, 20 MB each at most
_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Clips:
    """The pictures of a dataset's clips: their spectrograms in [0, 1], made small.

    Attributes
    ----------
    pictures : float32 [shape=(clips, pixels)]
    count : int
        Clips in the dataset, of which these may be a part.
    """

    features: Features
    ids: tuple[str, ...]
    pictures: FloatArray
    count: int


class NearestClips:
    """Compares sounds with the clips of datasets, and keeps what it has read of them."""

    def __init__(self) -> None:
        self._clips: OrderedDict[tuple[str, int], Clips] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, database: Database, job: dict[str, Any], samples: FloatArray, rate_hz: int) -> dict[str, Any]:
        """Return the clip that a job's sound is most like, of the dataset that was last used with its model.

        Parameters
        ----------
        job : as `queries.get_job` returns it
        samples : float32 [shape=(samples,)]

        Returns
        -------
        {"dataset", "spectrogram_id", "distance_db", "compared", "clips", "job_id"}
            `distance_db` is the root mean square difference of the spectrograms, each scaled to its own range.
            `job_id` is the newest done job of the clip, or None.

        Raises
        ------
        NotFoundError
            The job uses no model, no batch has used a dataset with its model, or the dataset is not here.
        """
        if job["model_digest"] is None:
            raise NotFoundError("this job uses no model, so there are no training clips to compare it with")
        folder = _dataset_of(database, job["model_digest"])
        if folder is None:
            raise NotFoundError(
                "no dataset is known for this model: queue a batch of its training clips, such as with "
                "`wavemill submit reconstruct`"
            )
        clips = self._read(folder)
        picture = _picture(_spectrogram(samples, rate_hz, clips.features), clips.features)
        squares = np.square(clips.pictures - picture).mean(axis=1)
        nearest = int(squares.argmin())
        return {
            "dataset": folder,
            "spectrogram_id": clips.ids[nearest],
            "distance_db": float(np.sqrt(squares[nearest]) * clips.features.range_db),
            "compared": len(clips.ids),
            "clips": clips.count,
            "job_id": _job_of(database, folder, clips.ids[nearest]),
        }

    def _read(self, folder: str) -> Clips:
        try:
            with self._lock, Dataset.open(folder) as dataset:  # one at a time: reading takes seconds
                key = folder, (Path(folder) / INDEX_NAME).stat().st_mtime_ns
                if key not in self._clips:
                    self._clips[key] = _read_clips(dataset)
                    if len(self._clips) > _KEPT:
                        self._clips.popitem(last=False)
                self._clips.move_to_end(key)
                return self._clips[key]
        except (WavemillError, OSError) as exc:
            raise NotFoundError(f"the clips of {folder} cannot be compared here: {exc}") from exc


def _dataset_of(database: Database, model_digest: str) -> str | None:
    used = select(batches.c.dataset).where(
        batches.c.model_digest == model_digest, batches.c.dataset.is_not(None), batches.c.pruned_at.is_(None)
    )
    with database.reading() as connection:
        found: str | None = connection.scalar(used.order_by(batches.c.created_at.desc()).limit(1))
    return found


def _job_of(database: Database, dataset: str, spectrogram_id: str) -> int | None:
    is_done = jobs.c.state == literal(State.DONE.value, literal_execute=True)  # as the partial index is written
    of_clip = jobs.c.spectrogram_id == spectrogram_id, batches.c.dataset == dataset, batches.c.pruned_at.is_(None)
    newest = select(func.max(jobs.c.id)).join_from(jobs, batches).where(is_done, *of_clip)
    with database.reading() as connection:
        found: int | None = connection.scalar(newest)
    return found


def _read_clips(dataset: Dataset) -> Clips:
    count = dataset.count
    ids = list(dataset.ids()) if count <= MOST_CLIPS else dataset.random_ids(MOST_CLIPS, _SEED)
    pictures: dict[str, FloatArray] = {}
    for name, entry in dataset.get_many(ids).items():
        with suppress(WavemillError):  # a damaged clip is left out
            pictures[name] = _picture(read_spectrogram(dataset, entry), dataset.features)
    if not pictures:
        raise NotFoundError("it has no readable clip")
    return Clips(
        features=dataset.features, ids=tuple(pictures), pictures=np.stack(list(pictures.values())), count=count
    )


def _spectrogram(samples: FloatArray, rate_hz: int, features: Features) -> FloatArray:
    if rate_hz != features.sample_rate_hz:
        samples = soxr.resample(samples, rate_hz, features.sample_rate_hz).astype(np.float32)
    return normalise(extract(pad_or_cut(samples, features.n_samples), features))[0]


def _picture(x: NDArray[np.float32], features: Features) -> FloatArray:
    """Return the first frame's part of a spectrogram as the means of at most 32 x 32 blocks, float32 [shape=(pixels,)].

    A shorter one is padded with silence.
    """
    frame = np.zeros((features.n_bins, features.n_frames), np.float32)
    width = min(x.shape[1], features.n_frames)
    frame[:, :width] = x[:, :width]
    rows, columns = (np.linspace(0, n, min(n, _SIDE) + 1).astype(int)[:-1] for n in frame.shape)
    sums = np.add.reduceat(np.add.reduceat(frame, rows, axis=0), columns, axis=1)
    sizes = np.outer(np.diff(rows, append=frame.shape[0]), np.diff(columns, append=frame.shape[1]))
    picture: FloatArray = (sums / sizes).astype(np.float32).ravel()
    return picture

"""Each bad input fails alone, with a code and a sentence, and harms nothing else."""

from __future__ import annotations

import io
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.outputs import check_outputs
from support.stack import Stack

from wavemill.dataset.index import Dataset
from wavemill.errors import InvalidIdError, PresetMismatchError, UnknownSpectrogramError
from wavemill_producer import Batch


@pytest.fixture
def dataset_copy(small_dataset: Path, tmp_path: Path) -> Path:
    """A dataset that a test may spoil."""
    return Path(shutil.copytree(small_dataset, tmp_path / "dataset"))


def _submit(stack: Stack, dataset: Path, folder: Path, ids: list[str] | None = None, **options) -> Batch:
    if ids is None:
        with Dataset.open(dataset) as opened:
            ids = list(opened.ids())
    return stack.producer.reconstruct(ids, dataset=dataset, model="small", output=folder / "out", **options)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


SPECTROGRAM = np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128)
BAD_FILES = {
    "0_anna_0": (None, "unknown-spectrogram", "missing"),
    "0_clara_0": (_npy(SPECTROGRAM)[:1000], "bad-spectrogram", "truncated"),
    "1_ben_0": (pickle.dumps(SPECTROGRAM), "bad-spectrogram", "a pickle"),
    "1_dan_0": (_npy(SPECTROGRAM[:100]), "bad-spectrogram", "wrong shape"),
    "2_anna_0": (_npy(np.where(SPECTROGRAM > 0.5, np.nan, SPECTROGRAM)), "bad-spectrogram", "NaN"),
    "2_clara_0": (_npy(np.zeros_like(SPECTROGRAM)), "silent-spectrogram", "silent"),
    "3_ben_0": (b"hello, I am text", "bad-spectrogram", "text"),
    "3_dan_0": (_npy(SPECTROGRAM), "bad-spectrogram", "changed since the dataset was built"),
    "4_ben_0": (_npy(SPECTROGRAM.astype(np.float64)), "bad-spectrogram", "wrong type"),
}


def test_bad_spectrograms_fail_alone_each_with_its_reason(living: Stack, dataset_copy: Path, tmp_path: Path) -> None:
    with Dataset.open(dataset_copy) as dataset:
        entries = dataset.get_many(list(BAD_FILES))
    for ID, (content, _, _) in BAD_FILES.items():
        path = dataset_copy / entries[ID].file
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    batch = _submit(living, dataset_copy, tmp_path)
    assert living.wait(batch) == "failed"
    check_outputs(batch, expect_done=20 - len(BAD_FILES))
    failed = {job.spectrogram_id: job for job in batch.jobs(state="failed")}
    assert {ID: job.error_code for ID, job in failed.items()} == {ID: code for ID, (_, code, _) in BAD_FILES.items()}
    for ID, job in failed.items():
        assert ID in job.error, "the sentence names the input"
        assert job.attempt == 1, "what cannot get better is not tried again"


def test_an_unknown_or_dangerous_id_refuses_the_batch_and_queues_nothing(
    living: Stack, small_dataset: Path, tmp_path: Path
) -> None:
    before = len(living.producer.batches(limit=1000))
    with pytest.raises(UnknownSpectrogramError, match="no-such-clip"):
        _submit(living, small_dataset, tmp_path, ["0_anna_0", "no-such-clip"])
    for evil in ("../outside", "/etc/passwd", "a/../../b", "nul\0"):
        with pytest.raises(InvalidIdError):
            _submit(living, small_dataset, tmp_path, ["0_anna_0", evil], check_ids=False)
    assert len(living.producer.batches(limit=1000)) == before


def test_unchecked_unknown_ids_fail_alone(living: Stack, small_dataset: Path, tmp_path: Path) -> None:
    batch = _submit(living, small_dataset, tmp_path, ["0_anna_0", "no-such-clip", "9_dan_0"], check_ids=False)
    assert living.wait(batch) == "failed"
    check_outputs(batch, expect_done=2)
    (failed,) = batch.jobs(state="failed")
    assert (failed.spectrogram_id, failed.error_code) == ("no-such-clip", "unknown-spectrogram")


def test_an_id_that_comes_twice_is_rendered_once(living: Stack, small_dataset: Path, tmp_path: Path) -> None:
    batch = _submit(living, small_dataset, tmp_path, ["0_anna_0", "9_dan_0", "0_anna_0"])
    assert living.wait(batch) == "done"
    check_outputs(batch, expect_done=2)


def test_a_model_of_another_preset_is_refused_at_submit(
    living: Stack, small_dataset: Path, tmp_path: Path, clips: Path
) -> None:
    living.cli("dataset", "build", clips, tmp_path / "course", "--preset", "course")
    with pytest.raises(PresetMismatchError, match="wavemill dataset build AUDIO_DIR DATASET --preset digits"):
        _submit(living, tmp_path / "course", tmp_path, ["0_anna_0"])

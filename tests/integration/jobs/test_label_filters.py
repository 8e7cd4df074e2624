"""Filters by label, whose values lie in datasets; on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from wavemill.dataset.new_entries import NewEntry
from wavemill.dataset.writing import DatasetWriter
from wavemill.errors import UsageError
from wavemill.jobs.database import Database
from wavemill.jobs.filtered import filtered_page
from wavemill.jobs.filters import parse
from wavemill.jobs.schema import batches, jobs
from wavemill.jobs.submit import BatchRequest, write_batch
from wavemill.presets import PRESETS
from wavemill_producer import Producer
from wavemill_producer.job_labels import label_names

# One letter is one spectrogram.
LABELS: dict[str, dict[str, str | int | float]] = {
    "a": {"speaker": "theo", "pitch": 60},
    "b": {"speaker": "Theodora [x]", "pitch": 60.5},
    "c": {"speaker": "anna", "pitch": 71},
    "d": {"take": "007"},
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    with DatasetWriter.open(tmp_path / "data", PRESETS["digits"], origin="build") as writer:
        writer.put(
            NewEntry(
                spectrogram_id=ID, file=f"spectrograms/{ID}.npy", labels=labels, min_db=-80.0, max_db=0.0,
                duration_s=0.5, sha256="0" * 64, cut=False, source=f"{ID}.wav", source_bytes=1, source_mtime_ns=0,
            )
            for ID, labels in LABELS.items()
        )  # fmt: skip
        writer.finish({})
    return tmp_path / "data"


def made(producer: Producer, operation: str, dataset: Path | None, *new: Any, **params: Any) -> str:
    request = BatchRequest(
        operation=operation,
        dataset=None if dataset is None else str(dataset),
        model=None,
        model_digest=None,
        output="/out",
        params=params,
        priority=4,
        chunk_size=64,
        max_attempts=3,
    )
    return write_batch(producer.database, request, new)[0]


def found(producer: Producer, batch_id: str | None, *where: str) -> str:
    page = filtered_page(producer.database, batch_id=batch_id, conditions=parse(where))
    return "".join(row["spectrogram_id"] for row in page.rows)


# Conditions -> the jobs that meet them.
WHERE: list[tuple[list[str], str]] = [
    (["label.speaker=theo"], "a"),
    (["label.speaker=[Tt]*"], ""),
    (["label.speaker=Theo* [x?"], "b"),
    (["label.speaker!=*theo*"], "bcd"),
    (["label.speaker=none"], "d"),
    (["label.speaker!=none", "id!=a"], "bc"),
    (["label.pitch=60"], "a"),
    (["label.pitch=60.0"], "a"),
    (["label.pitch>60", "label.pitch<=71"], "bc"),
    (["label.pitch!=60"], "bcd"),
    (["label.speaker<b"], "bc"),
    (["label.take=007"], "d"),
    (["label.take=7"], ""),
    (["label.take>=7"], ""),
]


def test_jobs_are_found_by_the_labels_of_their_recordings(producer: Producer, dataset: Path) -> None:
    batch_id = made(producer, "invert", dataset, *[(ID, None) for ID in LABELS])
    for where, expected in WHERE:
        assert found(producer, batch_id, *where) == expected, where
        assert found(producer, None, *where) == expected, where


def test_each_operation_has_the_labels_that_its_exports_have(producer: Producer, dataset: Path) -> None:
    varied = made(producer, "vary", dataset, ("x", {"of": "a"}), ("y", {"of": "c"}))
    between = made(producer, "interpolate", dataset, ("z", {"from": "a", "to": "c", "weight": 0.5}))
    sampled = made(producer, "sample", None, ("s", None), labels={"pitch": "60.5", "speaker": "theo"})
    assert found(producer, varied, "label.speaker=anna") == "y"
    assert found(producer, between, "label.from_speaker=theo", "label.to_pitch>70") == "z"
    assert found(producer, sampled, "label.pitch>60") == "s"
    assert found(producer, None, "label.speaker=theo") == "xs"
    assert label_names(producer.database, between) == [
        f"{which}_{name}" for which in ("from", "to") for name in ("pitch", "speaker", "take")
    ]
    assert label_names(producer.database, sampled) == ["pitch", "speaker"]


def test_an_unknown_label_and_a_lost_dataset_are_one_sentence(
    producer: Producer, dataset: Path, tmp_path: Path
) -> None:
    batch_id = made(producer, "invert", dataset, ("a", None))
    with pytest.raises(UsageError, match=r"has no label spekaer; its labels: pitch, speaker, take"):
        found(producer, batch_id, "label.spekaer=theo")
    assert found(producer, None, "label.spekaer=theo") == ""
    dataset.rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="cannot be filtered by label, because their dataset cannot be read"):
        found(producer, batch_id, "label.speaker=theo")
    assert label_names(producer.database, batch_id) == []


def test_a_process_without_datasets_says_so(database: Database, producer: Producer, dataset: Path) -> None:
    made(producer, "invert", dataset, ("a", None))
    with pytest.raises(UsageError, match="this process cannot read datasets"):
        filtered_page(database, conditions=parse(["label.speaker=theo"]))


def test_a_retry_takes_only_jobs_with_the_label(producer: Producer, dataset: Path) -> None:
    batch = producer.batch(made(producer, "invert", dataset, *[(ID, None) for ID in LABELS]))
    with producer.database.transaction() as connection:
        connection.execute(update(jobs).values(state="failed"))
        connection.execute(update(batches).values(queued=0, failed=len(LABELS)))
    assert batch.retry(where=["label.pitch>60"]) == 2
    assert [job.spectrogram_id for job in batch.jobs(state="queued", where=["label.pitch>60"])] == ["b", "c"]

"""Gathers sounds that jobs have made into a folder of recordings, to build a dataset from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from wavemill.errors import UsageError
from wavemill.labels import Labels
from wavemill_producer.producer import Producer
from wavemill_producer.sounds import copied
from wavemill_producer.source_labels import PREFIX, SourceLabels

_TABLE = "metadata.jsonl"


def gather_sounds(producer: Producer, batch: str, folder: Path, *, where: Sequence[str] = ()) -> int:
    """Copy the generated sounds of a batch's done jobs into `folder`, with a table of labels; return how many.

    The labels are those of the jobs' sources, or those that samples were asked for, and the rating.

    Raises
    ------
    UsageError
        No job matches, or the folder is not empty.
    """
    found = producer.batch(batch)
    status = found.status()
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} holds files already; name a new folder for the sounds of batch {found.id}")
    matching = producer.jobs(batch_id=found.id, where=["state=done", *where])
    jobs = (job for job in matching if job.generated_path)
    asked: Labels | None = None
    rows = []
    with closing(SourceLabels(status)) as labels:
        for job, of_source in labels.beside(jobs):
            if asked is None:
                asked = producer.job(job.id)["params"].get("labels") or {}
            name = f"{job.spectrogram_id}.{job.generated_path.rpartition('.')[2]}"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("wb") as file:
                copied(job.generated_path, file)
            rating = {} if job.rating is None else {"rating": job.rating}
            known = {name.removeprefix(PREFIX): value for name, value in of_source.items()}
            rows.append({"file_name": name, **asked, **known, **rating})
    if not rows:
        raise UsageError(f"no done job of batch {found.id} with a sound matches {' and '.join(where) or 'it'}")
    (folder / _TABLE).write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return len(rows)

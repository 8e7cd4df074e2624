"""The baseline: what people write first with Celery. One task a clip, `predict` of one, Griffin-Lim, an ORM update.

A Celery app; `benchmarks.first_attempt` runs its worker, and hands all that it needs over in variables.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from celery import Celery
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

if TYPE_CHECKING:
    from wavemill.vae.model import Model

BROKER, TABLE, DATASET, MODEL, OUTPUT = (
    f"WAVEMILL_BENCH_{name}" for name in ("BROKER", "TABLE", "DATASET", "MODEL", "OUTPUT")
)
QUEUE = "one-task-a-clip"  # the broker is the one that the other side uses

app = Celery("one_task_a_clip", broker=os.environ.get(BROKER))
app.conf.update(task_default_queue=QUEUE, broker_connection_retry_on_startup=True)


class Base(DeclarativeBase):
    """Of the one table."""


class Clip(Base):
    """One job."""

    __tablename__ = "clips"

    id: Mapped[int] = mapped_column(primary_key=True)
    spectrogram_id: Mapped[str]
    state: Mapped[str] = mapped_column(default="queued")
    path: Mapped[str | None]


@lru_cache(maxsize=1)
def engine() -> Engine:
    return create_engine(os.environ[TABLE])


@lru_cache(maxsize=1)
def model() -> Model:
    """Loaded by the first task of each process, as it does not survive the pool's fork."""
    from wavemill.vae.package import load_model

    return load_model(os.environ[MODEL])


@app.task
def generate(clip_id: int) -> None:
    """Reconstruct one clip and say so in its row."""
    from benchmarks.course import run_course_script
    from wavemill.dataset.index import Dataset

    with Session(engine()) as session:
        clip = session.get_one(Clip, clip_id)
        clip.state = "running"
        session.commit()
        output = Path(os.environ[OUTPUT]) / str(clip_id)
        with Dataset.open(os.environ[DATASET]) as dataset:
            run_course_script(model(), dataset, [clip.spectrogram_id], output)
        clip.path = str(output / "generated" / "0.wav")
        clip.state = "done"
        session.commit()

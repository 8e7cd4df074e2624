"""Bulk actions of a producer: those of `wavemill.jobs.bulk`, and those that read outputs, models and datasets."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Row, select

from wavemill.errors import UsageError
from wavemill.jobs import bulk
from wavemill.jobs.bulk import Action, Surroundings
from wavemill.jobs.ratings import require_rating
from wavemill.jobs.schema import batches
from wavemill.jobs.submit import NewJob
from wavemill.operations.requests import require_plain_text
from wavemill.storage.locations import absolute
from wavemill_producer.export import FORMATS
from wavemill_producer.job import Job
from wavemill_producer.producer import Producer
from wavemill_producer.progress import Tell
from wavemill_producer.source_labels import SourceLabels
from wavemill_producer.submission import Options
from wavemill_producer.submitter import Submitter

R = TypeVar("R")

EXPORTS = "exports"  # the folder of exported files, below WAVEMILL_HOME
EXPORT_FORMATS = ("csv", "jsonl", "zip")
_CHANGES = ("method", "temperature")  # parameters that a batch can be rendered again with
_KEPT_S = 7 * 86_400.0  # a file of an export
_REPORTED = 1_000  # jobs between two reports
_ANY = object()

# What each action takes -> the value that it has by default.
_PARAMS: Mapping[Action, Mapping[str, Any]] = {
    Action.RETRY: {},
    Action.CANCEL: {},
    Action.DELETE: {},
    Action.RATE: {"rating": _ANY},
    Action.EXPORT: {"format": "csv"},
    Action.RENDER: {"model": None, "output": None, "name": None, **dict.fromkeys(_CHANGES)},
}


@dataclass(frozen=True)
class BulkActions:
    """Starts and runs bulk actions."""

    producer: Producer

    def start(
        self,
        action: Action | str,
        *,
        batch: str | None,
        where: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
        is_mine: bool = False,
        counted: tuple[int, bool] | None = None,
    ) -> int:
        """Check an action and write it down; return its ID.

        Parameters
        ----------
        action : Action
        batch : str or None
            A batch's ID or name; None: jobs of all batches, which neither `render` nor a ZIP takes.
        where : sequence of str
            Conditions that all must hold.
        params : mapping
            `rating` for `rate`; `format` for `export`; `model`, `method`, `temperature`, `output` and `name` for
            `render`.
        is_mine : bool
            The caller runs it at once.
        counted : (count, is_exact), optional
            What `count_matching` has returned to the caller, if it has asked.
        """
        action, producer = Action(action), self.producer
        batch_id = None if batch is None else producer.batch(batch).id
        checked = _checked(action, params or {})
        if action is Action.RETRY:
            checked["extra_attempts"] = producer.settings.max_attempts
        if batch_id is None and (action is Action.RENDER or checked.get("format") == "zip"):
            raise UsageError("sounds of several batches cannot be rendered again, or zipped, at once: name a batch")
        if batch_id is not None and action is Action.RENDER:
            if checked["output"] is not None:
                checked["output"] = absolute(checked["output"])
            _again(producer.dry_run, _batch(producer, batch_id), [("any", None)], checked)
        return bulk.start(
            producer.database,
            action,
            batch_id=batch_id,
            where=where,
            params=checked,
            is_mine=is_mine,
            counted=counted,
        )

    def run(self, action_id: int, *, told: Tell = lambda _: None) -> dict[str, Any]:
        """Run an action that this process has taken, to its end; return its status."""
        whole = {Action.EXPORT: partial(self._export, told), Action.RENDER: partial(self._render, told)}
        around = Surroundings(whole=whole, announce=self.producer.announce, told=told)
        return bulk.run(self.producer.database, action_id, around)

    def status(self, action_id: int) -> dict[str, Any]:
        """Return where an action stands; NotFoundError if there is none."""
        return bulk.bulk_status(self.producer.database, action_id)

    def _jobs(self, told: Tell, row: Row[Any]) -> Iterator[Job]:
        """Yield the jobs that match, and report how far the action is."""
        passed = 0
        for job in self.producer.jobs(batch_id=row.batch_id, where=row.conditions):
            yield job
            passed += 1
            if passed % _REPORTED == 0:
                bulk.report(self.producer.database, row.id, passed)
                told(self.status(row.id))
        bulk.report(self.producer.database, row.id, passed)

    def _export(self, told: Tell, row: Row[Any]) -> dict[str, Any]:
        folder = self.producer.settings.home / EXPORTS
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_old(folder)
        kind = row.params["format"]
        path = folder / f"{_name_of(row)}.{kind}"
        aside = folder / f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
        status = None if row.batch_id is None else self.producer.batch(row.batch_id).status()
        try:
            with aside.open("wb") as file, closing(SourceLabels(status)) as labels:
                exported = FORMATS[kind](labels, self._jobs(told, row), file, status or {})
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
        return {"path": str(path), "jobs": exported.jobs, "files": exported.files, "damaged": len(exported.damaged)}

    def _render(self, told: Tell, row: Row[Any]) -> dict[str, Any]:
        key = _name_of(row)
        with self.producer.database.reading() as connection:
            made = connection.scalar(select(batches.c.id).where(batches.c.key == key))
        if made is None:  # else a process that ran this action has died after it had written the batch
            found = self._jobs(told, row)
            new_jobs = ((job.spectrogram_id, job.item, job.custom_id, job.metadata) for job in found)
            made = _again(self.producer, _batch(self.producer, row.batch_id), new_jobs, row.params, key).id
        return {"batch_id": made}


def _again(
    submitter: Submitter[R],
    earlier: Row[Any],
    jobs: Iterable[NewJob],
    params: Mapping[str, Any],
    key: str | None = None,
) -> R:
    changes = {name: params[name] for name in _CHANGES if params[name] is not None}
    options: Options = {"output": params["output"] or earlier.output, "name": params["name"], "key": key}
    return submitter.again(earlier, jobs, model=params["model"], changes=changes, **options)


def _name_of(row: Row[Any]) -> str:
    """Return a name that no other action has: IDs are given again when the rows of a batch are removed."""
    return f"bulk-{row.id}-{row.created_at:%Y%m%d%H%M%S%f}"


def _remove_old(folder: Path) -> None:
    for file in folder.iterdir():
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > _KEPT_S:
                file.unlink()


def _batch(producer: Producer, batch_id: str) -> Row[Any]:
    with producer.database.reading() as connection:
        return connection.execute(select(batches).where(batches.c.id == batch_id)).one()


def _checked(action: Action, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an action with its defaults; UsageError for unknown and missing ones."""
    known = _PARAMS[action]
    if unknown := sorted(params.keys() - known.keys()):
        raise UsageError(f"{action} takes no {unknown[0][:80]!r}; it takes: {', '.join(known) or 'nothing'}")
    checked = {**known, **params}
    if missing := [name for name, value in checked.items() if value is _ANY]:
        raise UsageError(f"{action} needs `{missing[0]}`")
    if action is Action.RATE:
        require_rating(checked["rating"])
    if action is Action.EXPORT and checked["format"] not in EXPORT_FORMATS:
        raise UsageError(f"format {checked['format']!r:.80}: expected one of {', '.join(EXPORT_FORMATS)}")
    if action is Action.RENDER:
        for name, value in checked.items():
            _require_kind(name, value, (int, float) if name == "temperature" else (str,))
        require_plain_text(checked)
    return checked


def _require_kind(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, kinds)):
        raise UsageError(f"{name}: expected {'a text' if str in kinds else 'a number'}, received {value!r:.80}")

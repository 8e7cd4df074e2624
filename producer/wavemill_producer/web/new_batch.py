"""A batch as a caller of the API asks for it, and its submission through the `Producer`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from wavemill.contract import DEFAULT_PRIORITY, PRIORITIES
from wavemill.dataset.index import Dataset
from wavemill.errors import UsageError
from wavemill.operations.named_ids import parsed_line
from wavemill.operations.requests import DecodeParams, Operation, Params, params_kind
from wavemill_producer.batch import Batch
from wavemill_producer.job_sources import GivenId, latents_folder, matching_jobs
from wavemill_producer.producer import Producer

_Place = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"^[^\x00]*$")]
_CHOOSE = "choose one of `ids`, `pairs`, `all`, `random`, `from_batch` and an upload of IDs"
_Id = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]


class _About(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    custom_id: str | None = Field(None, min_length=1, max_length=200, description="Your own name for the job.")
    metadata: dict[str, Any] | None = Field(None, description="Your own values, at most 4 kB as JSON.")


class NamedId(_About):
    """An ID, and what comes back with every job made from it."""

    id: _Id


class NamedPair(_About):
    """Two IDs, and what comes back with every job made from them."""

    start: _Id = Field(alias="from")
    end: _Id = Field(alias="to")


class NewBatch(BaseModel):
    """What to make. Which fields are needed depends on the operation, as for `wavemill submit OPERATION`."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    operation: Operation
    output: _Place = Field(description="Folder or fsspec URL; outputs go to OUTPUT/BATCH/.")
    dataset: _Place | None = Field(
        None, description="Dataset folder, as the workers see it; with `from_batch`, that of the batch by default."
    )
    model: _Place | None = Field(None, description="Name or folder of a model.")
    ids: list[_Id | NamedId] | None = Field(None, description="IDs of spectrograms; for decode, names of latents.")
    all: bool = Field(False, description="Every spectrogram of the dataset, in place of `ids`.")
    random: int | None = Field(None, ge=1, description="This many spectrograms, in place of `ids`.")
    random_seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of the choice of `random`.")
    from_batch: str | None = Field(
        None, max_length=300, description="What the jobs of this batch were made from, in place of `ids` or `pairs`."
    )
    where: list[Annotated[str, Field(max_length=300)]] = Field(
        default_factory=list, max_length=20, description="With `from_batch`: only jobs that meet all conditions."
    )
    pairs: list[tuple[_Id, _Id] | NamedPair] | None = Field(None, description="For interpolate.")
    steps: int = Field(5, ge=2, le=10_000, description="For interpolate: sounds per pair.")
    count: int | None = Field(None, ge=1, le=10_000_000, description="For sample: sounds; for vary: sounds per ID.")
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the operation, such as `method`.")
    check_ids: bool = Field(True, description="Refuse the batch if an ID is unknown.")
    name: str | None = Field(None, max_length=300)
    priority: int = Field(DEFAULT_PRIORITY, ge=PRIORITIES.start, lt=PRIORITIES.stop)
    tags: dict[str, str] = Field(
        default_factory=dict, description="Such as {'project': 'x'}: batches are listed by them."
    )
    webhook_url: _Place | None = Field(None, description="Called, with a signature, when the batch ends.")
    reuse: bool = Field(False, description="Copy outputs that an earlier batch made from the same inputs.")


def submit(producer: Producer, new: NewBatch, *, ids: Iterable[GivenId] | None, key: str | None) -> Batch:
    """Queue a batch. `ids` come from an upload, or else from the request itself."""
    source = _source(producer, new, ids)
    options: dict[str, Any] = {
        "output": new.output,
        "name": new.name,
        "priority": new.priority,
        "reuse": new.reuse,
        "tags": new.tags,
        "webhook_url": new.webhook_url,
        "key": key,
        "params": _params(producer, new),
    }
    if new.operation is Operation.SAMPLE:
        if source is not None:
            raise UsageError("sample draws new sounds: it takes no IDs, pairs or `from_batch`")
        return producer.sample(new.count or 10, model=_given(new.model, "model"), **options)
    if new.operation is Operation.DECODE:
        return producer.decode(_given(source, "ids"), model=_given(new.model, "model"), **options)
    dataset = new.dataset if new.from_batch is not None else _given(new.dataset, "dataset")
    options |= {"dataset": dataset, "check_ids": new.check_ids}
    if new.operation is not Operation.INVERT:
        options["model"] = _given(new.model, "model")
    if new.operation is Operation.INTERPOLATE:
        return producer.interpolate(_given(source, "pairs"), steps=new.steps, **options)
    if new.operation is Operation.VARY:
        options["count"] = new.count or 4
    call: Callable[..., Batch] = getattr(producer, new.operation.value)
    return _with_ids(new, source, partial(call, **options))


def _source(producer: Producer, new: NewBatch, uploaded: Iterable[GivenId] | None) -> Iterable[Any] | None:
    """Return the IDs, pairs or jobs that are given; None if the operation chooses by itself."""
    given = [uploaded, new.ids, new.pairs, new.random, new.from_batch, True if new.all else None]
    if sum(one is not None for one in given) > 1:
        raise UsageError(_CHOOSE)
    if new.where and new.from_batch is None:
        raise UsageError("`where` chooses jobs of a batch: name it with `from_batch`")
    if new.from_batch is not None:
        return matching_jobs(producer.batch(new.from_batch), new.where)
    entries = new.ids if new.pairs is None else new.pairs
    return uploaded if entries is None else [_plain(entry) for entry in entries]


def _plain(entry: Any) -> Any:
    return entry.model_dump(by_alias=True) if isinstance(entry, BaseModel) else entry


def _with_ids(new: NewBatch, ids: Iterable[GivenId] | None, call: Callable[[Iterable[GivenId]], Batch]) -> Batch:
    if ids is not None:
        return call(ids)
    if not new.all and new.random is None:
        raise UsageError(_CHOOSE)
    with Dataset.open(_given(new.dataset, "dataset")) as dataset:
        return call(dataset.ids() if new.random is None else dataset.random_ids(new.random, new.random_seed))


def _given(value: Any, name: str) -> Any:
    if value is None:
        raise UsageError(f"this operation needs `{name}`")
    return value


def _params(producer: Producer, new: NewBatch) -> Params:
    kind = params_kind(new.operation)
    known = {field.name for field in kind.__dataclass_fields__.values()}
    if unknown := sorted(new.params.keys() - known):
        raise UsageError(f"{new.operation} has no parameter {unknown[0][:80]!r}; it has: {', '.join(sorted(known))}")
    params = dict(new.params)
    if kind is DecodeParams and "latents" not in params:
        if new.from_batch is None:
            raise UsageError("decode needs `params.latents`, the folder or URL of the latents")
        params["latents"] = latents_folder(producer.batch(new.from_batch))
    try:
        return TypeAdapter(kind).validate_python(params)
    except ValidationError as exc:
        first = exc.errors()[0]
        raise UsageError(f"params.{'.'.join(map(str, first['loc']))[:200]}: {first['msg']}") from exc


def uploaded_ids(lines: Iterable[bytes]) -> Iterator[GivenId]:
    """Yield the IDs of an uploaded file: one a line, as plain text, as a JSON string or as a JSON object."""
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            found = json.loads(text) if text.startswith('"') else parsed_line(text)
        except ValueError as exc:
            raise UsageError(f"line {number} of the IDs: expected text in UTF-8, one ID per line: {exc}") from exc
        if found:
            yield found

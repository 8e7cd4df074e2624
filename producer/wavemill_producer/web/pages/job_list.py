"""A list of jobs whose filter and place are in the URL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import HTTPException, Query, Request

from wavemill.errors import UsageError
from wavemill.jobs.filtered import JobPage
from wavemill.jobs.filters import FIELDS, LABEL, METADATA, is_field, parse
from wavemill.jobs.flags import Flag
from wavemill.jobs.sorting import can_sort, listed_page, order_in
from wavemill.jobs.states import State
from wavemill_producer.job_labels import label_names
from wavemill_producer.producer import Producer
from wavemill_producer.web.api.arguments import Sort, Where
from wavemill_producer.web.pages.rendering import Links

PAGE = 50
_MOST_OFFERED = 200  # labels and keys

Cursor = Annotated[int, Query(ge=0, le=2**63 - 1)]


@dataclass(frozen=True, kw_only=True)
class JobList:
    """One page of jobs, and what its links need."""

    batch_id: str | None
    where: Sequence[str]
    sort: str | None
    can_sort: bool
    after: int
    page: JobPage
    problem: str | None
    labels: Sequence[str] = ()

    @property
    def query(self) -> dict[str, Any]:
        """The parameters of this list without its place, for links and forms."""
        return {"where": list(self.where), "sort": self.sort}

    @property
    def path(self) -> str:
        """The path of the page that holds the list."""
        return "/jobs" if self.batch_id is None else f"/batches/{self.batch_id}"

    def sort_by(self, field: str) -> str | None:
        """Return the order that a click on a column's head asks for: up, then down, then by ID again."""
        return {field: f"-{field}", f"-{field}": None}.get(self.sort or "", field)

    def direction(self, field: str) -> str:
        """Return how the list is sorted by a field, as `aria-sort` has it."""
        return {field: "ascending", f"-{field}": "descending"}.get(self.sort or "", "none")

    def without(self, text: str) -> list[str]:
        """Return the conditions but this one."""
        return [one for one in self.where if one != text]

    def instead(self, text: str | None, field: str) -> list[str]:
        """Return the conditions with `text` in place of those on `field`."""
        others = [one for one in self.where if not one.startswith(field)]
        return others if text is None else [*others, text]

    def facets(self) -> list[tuple[str, str]]:
        """Return the filters that are one click away: (name, condition)."""
        rated = [("liked", "rating>=4"), ("not rated", "rating=none")]
        return [(flag.value, f"flag={flag.value}") for flag in Flag] + rated

    def toggled(self, text: str) -> list[str]:
        """Return the conditions with `text` added, or removed if it is there."""
        return self.without(text) if text in self.where else [*self.where, text]

    @property
    def sort_fields(self) -> list[str]:
        """The fields that jobs can be sorted by."""
        return list(FIELDS)

    @property
    def fields(self) -> list[str]:
        """The fields that a filter can be on: also the labels of the dataset, and keys of metadata shown here."""
        keys = {key: None for row in self.page.rows for key in row["metadata"] or {}}
        offered = [f"{LABEL}{name}" for name in self.labels] + [f"{METADATA}{key}" for key in keys]
        return [*FIELDS, *[field for field in offered if is_field(field)][:_MOST_OFFERED]]

    @property
    def states(self) -> list[str]:
        """The states a job can have."""
        return [state.value for state in State]


def job_list(
    request: Request,
    batch_id: str | None = None,
    where: Where = [],  # noqa: B006  FastAPI copies it
    sort: Sort = None,
    after: Cursor = 0,
    field: Annotated[str, Query(max_length=200)] = "",
    op: Annotated[str, Query(max_length=2)] = "=",
    value: Annotated[str, Query(max_length=200)] = "",
) -> JobList:
    """Read a list's parameters and its page of jobs; a filter from the form goes into the URL's `where`."""
    if field and value:
        changed = {"where": [*where, f"{field}{op}{value}"], "sort": sort}
        path = request.url.path.removeprefix(Links(request).root)
        raise HTTPException(303, headers={"Location": Links(request).page(path, changed)})
    producer: Producer = request.app.state.producer
    page, problem, sorts = JobPage(rows=[], after=None, seen=0), None, False
    try:
        conditions, order = parse(where), order_in(sort) if sort else None
        sorts = can_sort(producer.database, batch_id=batch_id, conditions=conditions)
        page = listed_page(
            producer.database, batch_id=batch_id, conditions=conditions, order=order, after=after, limit=PAGE
        )
    except UsageError as exc:
        problem = str(exc)
    return JobList(
        batch_id=batch_id,
        where=where,
        sort=sort,
        can_sort=sorts,
        after=after,
        page=page,
        problem=problem,
        labels=() if batch_id is None else label_names(producer.database, batch_id),
    )

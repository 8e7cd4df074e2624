"""Types of arguments that several routes take."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Query

BatchId = Annotated[
    str, Path(max_length=200, pattern=r"^[^\x00]*$", description="A batch's ID, or its name where only one has it.")
]
JobId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Which = Annotated[Literal["generated", "original"], Path(description="The sound made, or the one it was made from.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="Most entries in the answer.")]
Where = Annotated[
    list[Annotated[str, Query(max_length=300)]],
    Query(max_length=20, description="A condition, such as `state=failed` or `rating>=4`. All must hold."),
]
Sort = Annotated[
    str | None,
    Query(
        max_length=100,
        description="A field, after a minus for the largest first. Refused if more than 4,000 jobs would be sorted.",
    ),
]
Tags = Annotated[
    list[Annotated[str, Query(max_length=400)]],
    Query(max_length=20, description="A tag that batches must have: KEY=VALUE."),
]

"""Tags of batches, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.batches import new_jobs, request

from wavemill.errors import UsageError
from wavemill.jobs.database import Database
from wavemill.jobs.queries import list_batches
from wavemill.jobs.submit import write_batch
from wavemill.jobs.tags import tags_from


def test_batches_are_found_by_their_tags(database: Database) -> None:
    tagged = [{"project": "x", "take": "1"}, {"project": "x", "take": "2"}, {}]
    ids = [write_batch(database, replace(request(), tags=tags), new_jobs(["a"]))[0] for tags in tagged]

    def found(**tags: str) -> set[str]:
        return {batch["id"] for batch in list_batches(database, tags=tags)}

    assert found() == set(ids)
    assert found(project="x") == set(ids[:2])
    assert found(project="x", take="2") == {ids[1]}
    assert found(project="y") == set()
    pages, before = [], None
    while page := list_batches(database, limit=2, before=before):
        pages += [batch["id"] for batch in page]
        before = pages[-1]
    assert pages == [batch["id"] for batch in list_batches(database)]
    assert len(pages) == 3
    assert {batch["id"]: batch["tags"] for batch in list_batches(database)} == dict(zip(ids, tagged, strict=True))


def test_the_same_key_with_other_tags_is_the_same_batch(database: Database) -> None:
    once, again = (
        write_batch(database, replace(request(), key="k", tags={"take": take}), new_jobs(["a"])) for take in "12"
    )
    assert once == again


@pytest.mark.parametrize("text", ["project", "=x", "a b=x", "project=", "project=\x1b[2J", "k=" + "x" * 201])
def test_a_wrong_tag_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        tags_from([text])
    with pytest.raises(UsageError, match="at most 20"):
        tags_from(f"k{n}=v" for n in range(21))

"""Actions on all jobs that match, through the HTTP API and the page's forms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.batches import audit, claim, failed, finish, job_rows, new_jobs, request, states

from wavemill.jobs.bulk import Action, start
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.jobs.tokens import create_token
from wavemill.settings import Settings
from wavemill_producer.web.background import page_in_background
from wavemill_producer.web.roles import Role

ACTIONS = "/api/v1/actions"


@pytest.fixture
def batch_id(database: Database, tmp_path: Path) -> str:
    """20 jobs: the even ones are done, the odd ones failed."""
    asked = replace(request(chunk_size=20), output=str(tmp_path / "out"))
    batch_id = write_batch(database, asked, new_jobs(f"{i:02d}" for i in range(20)))[0]
    (tmp_path / "out" / batch_id).mkdir(parents=True)
    claimed = claim(database, batch_id, 0, 19)
    finish(database, claimed, [failed(j) if j.seq % 2 else Outcome(job=j, state=State.DONE) for j in claimed.jobs])
    return batch_id


@pytest.fixture
def client(settings: Settings, batch_id: str) -> Iterator[httpx.Client]:
    with page_in_background(settings, port=0) as where, httpx.Client(base_url=where.split()[1]) as client:
        yield client


def ended(client: httpx.Client, action_id: int) -> dict[str, Any]:
    """Wait until an action has ended."""
    deadline = time.monotonic() + 20
    while (status := client.get(f"{ACTIONS}/{action_id}").json())["state"] == "running":
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    return dict(status)


def begun(client: httpx.Client, action: str, **body: Any) -> dict[str, Any]:
    answer = client.post(ACTIONS, json={"action": action, **body})
    assert answer.status_code == 201, answer.text
    return ended(client, answer.json()["id"])


def test_jobs_are_counted_retried_rated_and_deleted(client: httpx.Client, batch_id: str, database: Database) -> None:
    where = ["state=failed", "id=1*"]
    assert client.get("/api/v1/count", params={"batch": batch_id, "where": where}).json() == {
        "count": 5,
        "is_exact": True,
    }
    assert begun(client, "retry", batch=batch_id, where=where)["changed"] == 5
    assert states(database, batch_id)["queued"] == [11, 13, 15, 17, 19]
    assert begun(client, "rate", where=["state=done"], params={"rating": 3})["changed"] == 10
    assert begun(client, "delete", batch=batch_id, where=["rating=3"])["changed"] == 10
    assert len(job_rows(database, batch_id)) == 10
    audit(database, batch_id)


def test_an_export_is_a_file_to_download(client: httpx.Client, batch_id: str) -> None:
    status = begun(client, "export", batch=batch_id, where=["state=done"], params={"format": "csv"})
    assert (status["state"], status["changed"]) == ("done", 10)
    file = client.get(f"{ACTIONS}/{status['id']}/file")
    assert len(file.text.splitlines()) == 11
    assert file.headers["content-disposition"].startswith("attachment")
    assert begun(client, "export", params={"format": "jsonl"})["changed"] == 20


def test_a_reader_sees_no_actions(client: httpx.Client, batch_id: str, database: Database) -> None:
    roles = (Role.READ, Role.SUBMIT)
    tokens = {role: f"Bearer {create_token(database, f'a {role}', role, valid_s=None)}" for role in roles}
    shown = {
        role: "that match…" in client.get(f"/batches/{batch_id}", headers={"authorization": token}).text
        for role, token in tokens.items()
    }
    assert shown == {Role.READ: False, Role.SUBMIT: True}
    assert client.get("/bulk", headers={"authorization": tokens[Role.READ]}).status_code == 403


def test_only_an_admin_deletes(client: httpx.Client, batch_id: str, database: Database) -> None:
    submitter = {"authorization": f"Bearer {create_token(database, 'ci', Role.SUBMIT, valid_s=None)}"}
    create_token(database, "boss", Role.ADMIN, valid_s=None)
    asked = {"action": "delete", "batch": batch_id, "where": ["state=done"]}
    assert client.post(ACTIONS, json=asked, headers=submitter).status_code == 403
    assert client.post("/bulk/delete", params={"where": "state=done"}, headers=submitter).status_code == 403
    assert "Delete" not in client.get("/bulk", params={"batch": batch_id}, headers=submitter).text
    assert len(job_rows(database, batch_id)) == 20


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"action": "retry", "where": ["state=lost"]}, "expected one of"),
        ({"action": "rate", "params": {"rating": 6}}, "from 1 to 5"),
        ({"action": "rate"}, "needs `rating`"),
        ({"action": "export", "params": {"format": "zip"}}, "name a batch"),
        ({"action": "render"}, "name a batch"),
        ({"action": "cancel", "params": {"output": "x"}}, "takes no 'output'"),
    ],
)
def test_what_does_not_fit_is_said(client: httpx.Client, body: dict[str, Any], said: str) -> None:
    answer = client.post(ACTIONS, json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_what_is_left_over_goes_on_when_a_server_starts(settings: Settings, database: Database, batch_id: str) -> None:
    action_id = start(database, Action.RATE, batch_id=batch_id, where=[], params={"rating": 1})
    with page_in_background(settings, port=0) as where, httpx.Client(base_url=where.split()[1]) as client:
        assert ended(client, action_id)["changed"] == 20


def test_a_form_of_the_page_begins_an_action(client: httpx.Client, batch_id: str, database: Database) -> None:
    page = client.get("/bulk", params={"batch": batch_id, "where": ["state=failed"]})
    assert "10 jobs" in page.text
    assert "Retry 10 jobs" in page.text
    assert "Cancel 10 jobs" not in page.text
    token = {"x-csrf-token": page.text.split('data-csrf="')[1].split('"')[0]}
    url = f"/bulk/rate?batch={batch_id}&where=state%3Dfailed"
    assert client.post(url, data={"rating": "2"}).status_code == 403
    answer = client.post(url, data={"rating": "2"}, headers=token)
    assert answer.status_code == 204
    to = answer.headers["hx-redirect"]
    ended(client, int(to.rpartition("/")[2]))
    assert "10 jobs were rated" in client.get(to).text
    assert {row.rating for row in job_rows(database, batch_id)} == {2, None}

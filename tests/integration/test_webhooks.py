"""Webhooks: a real receiver is called once a batch has ended, with a signature that it can check."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import update
from support.batches import claim, finish, new_jobs, request
from support.stack import eventually

from wavemill import webhooks
from wavemill.errors import SettingsError, UsageError
from wavemill.jobs.control import retry_batch
from wavemill.jobs.database import Database, now
from wavemill.jobs.deliveries import PAUSES_S, claim_due, deliveries_of, note_ended, require_webhook
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.management_schema import deliveries
from wavemill.jobs.migrate import upgrade
from wavemill.jobs.schema import batches
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.settings import Settings
from wavemill.webhooks import Webhooks
from wavemill_producer import Producer
from wavemill_producer.web.background import page_in_background

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@dataclass
class Receiver:
    """What a receiver was sent, and what it answers."""

    url: str
    status: int = 204
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def receiving() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.calls.append(({key.lower(): value for key, value in self.headers.items()}, body))
            self.send_response(receiver.status)
            self.send_header("location", "/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(url=f"http://127.0.0.1:{server.server_port}/hook?token=s3cret")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def ended_batch(database: Database, url: str, *, state: State = State.DONE) -> str:
    batch_id = write_batch(database, replace(request(), webhook_url=url), new_jobs(["a"]))[0]
    end(database, batch_id, state)
    return batch_id


def end(database: Database, batch_id: str, state: State) -> None:
    claimed = claim(database, batch_id, 0, 0)
    finish(database, claimed, [Outcome(job=job, state=state) for job in claimed.jobs])


def make_due(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(update(deliveries).where(deliveries.c.due_at.is_not(None)).values(due_at=now()))


def test_the_end_of_a_batch_is_told_once_with_a_signature(database: Database, receiver: Receiver) -> None:
    open_batch = write_batch(database, replace(request(), webhook_url=receiver.url), new_jobs(["a"]))[0]
    write_batch(database, request(), new_jobs(["a"]))
    batch_id = ended_batch(database, receiver.url)

    with ThreadPoolExecutor(4) as pool:
        made = sum(pool.map(lambda calls: calls.step(), [Webhooks(database, SECRET) for _ in range(4)]))

    assert made == len(receiver.calls) == 1
    headers, body = receiver.calls[0]
    told = json.loads(body)
    assert told["type"] == "batch.finished"
    assert told["data"]["id"] == batch_id
    assert told["data"]["counts"]["done"] == 1
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert deliveries_of(database, open_batch) == []
    assert deliveries_of(database, batch_id)[0]["delivered_at"] is not None


@pytest.mark.parametrize("status", [500, 302])
def test_a_call_that_fails_is_repeated_until_it_is_given_up(
    database: Database, receiver: Receiver, status: int
) -> None:
    receiver.status = status
    batch_id = ended_batch(database, receiver.url)
    calls = Webhooks(database, SECRET)
    assert calls.step() == 1
    assert calls.step() == 0, "it waits for its next attempt"
    for _ in PAUSES_S:
        make_due(database)
        assert calls.step() == 1
    make_due(database)
    assert calls.step() == 0
    delivery = deliveries_of(database, batch_id)[0]
    assert delivery["attempts"] == len(PAUSES_S) + 1 == len(receiver.calls)
    assert delivery["error"] == f"the receiver answered {status}"
    assert (delivery["due_at"], delivery["delivered_at"]) == (None, None)


def test_a_call_that_finds_nobody_says_so(database: Database) -> None:
    with receiving() as gone:
        url = gone.url
    batch_id = ended_batch(database, url)
    Webhooks(database, SECRET).step()
    delivery = deliveries_of(database, batch_id)[0]
    assert "ConnectError" in delivery["error"]
    assert "s3cret" not in delivery["error"]


def test_a_receiver_that_answers_a_byte_at_a_time_is_cut_off(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_TIMEOUT_S", 1.0)
    is_over = threading.Event()

    def drip(listening: socket.socket) -> None:
        with listening.accept()[0] as caller, suppress(OSError):
            caller.sendall(b"HTTP/1.1 200 OK\r\nx-endless: ")
            while not is_over.wait(0.1):
                caller.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        pool.submit(drip, listening)
        slow = ended_batch(database, f"http://127.0.0.1:{listening.getsockname()[1]}/")
        quick = ended_batch(database, receiver.url)
        try:
            assert Webhooks(database, SECRET).step() == 2
        finally:
            is_over.set()
    assert deliveries_of(database, slow)[0]["error"] == "the receiver did not answer within 1 s"
    assert deliveries_of(database, quick)[0]["delivered_at"] is not None


def test_a_batch_that_ends_again_is_told_again(database: Database, receiver: Receiver) -> None:
    batch_id = ended_batch(database, receiver.url, state=State.FAILED)
    calls = Webhooks(database, SECRET)
    calls.step()
    retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=3)
    calls.step()
    assert len(receiver.calls) == 1, "it has not ended"
    end(database, batch_id, State.DONE)
    calls.step()
    states = [json.loads(body)["data"]["state"] for _, body in receiver.calls]
    assert states == ["failed", "done"]
    assert len({headers["webhook-id"] for headers, _ in receiver.calls}) == 2


def test_an_end_that_was_not_told_before_a_retry_is_not_told_after_it(database: Database, receiver: Receiver) -> None:
    receiver.status = 500
    batch_id = ended_batch(database, receiver.url, state=State.FAILED)
    calls = Webhooks(database, SECRET)
    assert calls.step() == 1
    retry_batch(database, batch_id, states=[State.FAILED], extra_attempts=3)
    make_due(database)
    assert calls.step() == 0, "it would say that a batch has ended which is queued"
    receiver.status = 204
    end(database, batch_id, State.DONE)
    assert calls.step() == 1
    assert json.loads(receiver.calls[-1][1])["data"]["state"] == "done"
    first, second = deliveries_of(database, batch_id)
    assert (first["error"], first["due_at"]) == ("the batch was queued again before this call", None)
    assert second["delivered_at"] is not None


def test_ends_are_found_after_the_process_slept_for_hours(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Webhooks(database, SECRET)
    calls.step()
    batch_id = ended_batch(database, receiver.url)
    with database.transaction() as connection:
        connection.execute(update(batches).where(batches.c.id == batch_id).values(finished_at=now(-7_200.0)))
    later = time.time() + 7_300.0
    monkeypatch.setattr(time, "time", lambda: later)
    assert calls.step() == 1


def test_a_call_whose_process_died_is_made_again(database: Database, receiver: Receiver) -> None:
    ended_batch(database, receiver.url)
    calls = Webhooks(database, SECRET)
    note_ended(database)
    assert len(claim_due(database, limit=8)) == 1  # and then its process dies
    assert calls.step() == 0
    make_due(database)
    assert calls.step() == 1
    assert len(receiver.calls) == 1


def test_the_page_makes_the_calls(tmp_path: Path, receiver: Receiver) -> None:
    settings = Settings(home=tmp_path / "home", webhook_secret=SECRET)
    settings.home.mkdir()
    database = Database(settings.sqlalchemy_url)
    upgrade(database)
    ended_batch(database, receiver.url)
    with page_in_background(settings, port=0):
        eventually(lambda: receiver.calls, what="a call")
    database.close()


def test_a_webhook_without_a_secret_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", models=Path(__file__).parents[2] / "models")
    with Producer(settings) as producer, pytest.raises(UsageError, match="WAVEMILL_WEBHOOK_SECRET"):
        producer.sample(1, model="fsdd-vae", output=tmp_path / "out", webhook_url="https://example.org")


@pytest.mark.parametrize(
    "url",
    ["", "ftp://host/x", "http://", "https://host:port/", "http://host/ x", "http://h\x00", "http://h/" + "x" * 2_000],
)
def test_a_wrong_webhook_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="webhook"):
        require_webhook(url)


@pytest.mark.parametrize("secret", ["geheim", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", "whsec_é"])
def test_a_wrong_secret_is_refused_without_being_shown(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEMILL_WEBHOOK_SECRET", secret)
    with pytest.raises(SettingsError, match="whsec_ and 24 to 64 random bytes") as refused:
        Settings.from_env()
    assert f"={secret}" not in str(refused.value)

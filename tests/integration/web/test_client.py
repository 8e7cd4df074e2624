"""The client of the HTTP API, against a real server."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.batches import claim, finish, new_jobs, request

from wavemill.errors import NotFoundError, OutageError, UsageError
from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.jobs.tokens import create_token
from wavemill.settings import Settings
from wavemill_producer import ApiError, AsyncClient
from wavemill_producer.web.background import page_in_background
from wavemill_producer.web.roles import Role


@pytest.fixture
def url(settings: Settings, database: Database) -> Iterator[str]:
    with page_in_background(settings, port=0) as where:
        yield where.split()[1]


def ended_batch(database: Database, tmp_path: Path) -> str:
    """A batch of 1,200 jobs, of which the first is done and the second failed."""
    asked = replace(request(chunk_size=2), output=str(tmp_path / "out"), tags={"project": "x"})
    batch_id = write_batch(database, asked, new_jobs(f"set/{i:04d}" for i in range(1_200)))[0]
    path = tmp_path / "out" / batch_id / "one.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF")
    claimed = claim(database, batch_id, 0, 1)
    done = Outcome(job=claimed.jobs[0], state=State.DONE, columns={"generated_path": str(path)})
    finish(database, claimed, [done, Outcome(job=claimed.jobs[1], state=State.FAILED, error_code="x", error="x")])
    return batch_id


def test_a_program_submits_follows_listens_rates_and_exports(url: str, database: Database, tmp_path: Path) -> None:
    batch_id = ended_batch(database, tmp_path)

    async def run() -> None:
        async with AsyncClient(url) as client:
            jobs = [job async for job in client.jobs(batch_id)]
            assert [job["seq"] for job in jobs] == list(range(1_200))
            first = jobs[0]["id"]
            assert await client.audio(first) == b"RIFF"
            await client.rate(first, 5)
            rated = [job["id"] async for job in client.jobs(batch_id, where=["rating=5"], sort="-rating")]
            assert rated == [first]
            assert (await client.job(first))["rating"] == 5
            assert await client.retry(batch_id, only_failed=True) == 1
            await client.pause(batch_id)
            assert (await client.batch(batch_id))["state"] == "paused"
            await client.resume(batch_id)
            assert await client.cancel(batch_id) == 1_199
            assert (await client.wait(batch_id))["state"] == "cancelled"
            lines = (await client.export(batch_id, tmp_path / "jobs.csv")).read_text().splitlines()
            assert len(lines) == 1_201
            made = [
                await client.submit("sample", key="k", model="fsdd-vae", count=3, output=str(tmp_path / "new"))
                for _ in range(2)
            ]
            assert made[0] == made[1]
            assert [one["id"] async for one in client.batches()] == [made[0], batch_id]
            assert [one["id"] async for one in client.batches(tags={"project": "x"})] == [batch_id]

    asyncio.run(run())


async def until_refused(client: AsyncClient) -> None:
    """Ask until the server has read the table's tokens again."""
    while True:
        with suppress(NotFoundError):
            await client.batch("none")
        await asyncio.sleep(0.1)


def test_what_the_server_refuses_raises_a_sentence(url: str, database: Database, tmp_path: Path) -> None:
    async def run() -> None:
        async with AsyncClient(url, patience_s=0.5) as client:
            with pytest.raises(NotFoundError, match="no batch"):
                await client.batch("none")
            with pytest.raises(UsageError, match="no field 'worth'"):
                await anext(client.jobs(where=["worth=1"]))
            with pytest.raises(NotFoundError, match="no batch"):
                await client.export("none", tmp_path / "none.csv")
            assert not (tmp_path / "none.csv").exists()
        token = create_token(database, "reader", Role.READ)
        async with AsyncClient(url, patience_s=0.5) as client:
            with pytest.raises(ApiError, match="send a token"):
                await until_refused(client)
        async with AsyncClient(url, token=token) as client:
            with pytest.raises(ApiError, match="needs the role submit") as refused:
                await client.rate(1, 5)
            assert refused.value.status == 403

    asyncio.run(run())


def test_a_batch_is_found_by_a_name_with_any_character(url: str, database: Database) -> None:
    batch_id, _ = write_batch(database, request(name="7 takes? 50% #1"), new_jobs(["a"]))

    async def run() -> None:
        async with AsyncClient(url) as client:
            assert (await client.batch("7 takes? 50% #1"))["id"] == batch_id
            assert await client.cancel("7 takes? 50% #1") == 1

    asyncio.run(run())


def test_a_request_is_repeated_until_the_server_is_there(settings: Settings, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    batch_id = write_batch(database, request(), new_jobs(["a"]))[0]

    async def run() -> None:
        async with AsyncClient(f"http://127.0.0.1:{port}", patience_s=0.5) as client:
            with pytest.raises(OutageError, match="does not answer"):
                await client.batch(batch_id)
        async with AsyncClient(f"http://127.0.0.1:{port}", patience_s=60) as client:
            asked = asyncio.create_task(client.batch(batch_id))
            await asyncio.sleep(0.3)
            with page_in_background(settings, port=port) as where:
                assert f":{port}/" in where
                assert (await asked)["id"] == batch_id

    asyncio.run(run())


def test_an_export_that_is_cut_off_leaves_the_earlier_file(tmp_path: Path) -> None:
    earlier = tmp_path / "jobs.csv"
    earlier.write_text("earlier")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut_off() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nid")

        thread = threading.Thread(target=cut_off)
        thread.start()

        async def run() -> None:
            async with AsyncClient(f"http://127.0.0.1:{server.getsockname()[1]}") as client:
                with pytest.raises(OutageError, match="does not answer"):
                    await client.export("any", earlier)

        asyncio.run(run())
        thread.join()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("jobs.csv", "earlier")]

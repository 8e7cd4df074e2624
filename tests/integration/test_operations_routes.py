"""Health, readiness and metrics, as probes and Prometheus ask for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from support.batches import all_done, claim, finish, submit
from support.postgres import migrated
from support.stack import eventually

from wavemill.jobs.database import Database
from wavemill.jobs.workers import register_worker
from wavemill.settings import Settings
from wavemill_producer.web.app import create_app


@contextmanager
def _served(settings: Settings) -> Iterator[httpx.Client]:
    server = uvicorn.Server(uvicorn.Config(create_app(settings), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started, what="start of the server")
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
        yield client
    server.should_exit = True
    thread.join()


def test_metrics_count_jobs_by_state_and_name_workers(database: Database) -> None:
    batch_id = submit(database, 8)
    claimed = claim(database, batch_id, 0, 3)
    finish(database, claimed, all_done(claimed))
    register_worker(database, "host/cpu/1", host="host", pid=1, device="cpu")
    settings = Settings(database_url=database.url.render_as_string(hide_password=False))
    with _served(settings) as client:
        assert client.get("/health").text == client.get("/ready").text == "ok\n"
        answer = client.get("/metrics")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found["wavemill_jobs", "queued"] == found["wavemill_jobs", "done"] == 4
    assert found["wavemill_jobs", "failed"] == 0
    assert found["wavemill_table_up",] == found["wavemill_open_batches",] == 1
    assert 0 <= found["wavemill_oldest_queued_seconds",] < 60
    assert found["wavemill_worker_jobs_done", "cpu", "host/cpu/1"] == 0


def test_while_the_table_is_away_the_page_is_healthy_but_not_ready() -> None:
    server = migrated()
    try:
        settings = Settings(database_url=server.url)
        with _served(settings) as client, _served(settings) as unasked:
            assert client.get("/ready").status_code == 200
            assert "wavemill_table_up 1.0" in client.get("/metrics").text
            server.crash()
            away = client.get("/ready")
            assert (away.status_code, away.text) == (503, "the table does not answer\n")
            assert client.get("/health").status_code == 200
            assert "wavemill_table_up 0.0" in client.get("/metrics").text
            assert "wavemill_table_up 0.0" in unasked.get("/metrics").text
            server.start()
            eventually(lambda: client.get("/ready").status_code == 200, what="readiness")
    finally:
        server.close()

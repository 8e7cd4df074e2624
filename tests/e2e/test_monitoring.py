"""What a worker tells those who watch it: metrics that outlive its processes, and logs for programs."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import httpx
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from support.rehearsals import Rehearsals
from support.stack import eventually

DASHBOARD = Path(__file__).parents[2] / "docs/grafana/wavemill.json"


def test_metrics_survive_a_killed_process_and_each_log_line_is_json(rehearsals: Rehearsals) -> None:
    rehearsals.environment["WAVEMILL_LOG_FORMAT"] = "json"
    with rehearsals.running("up", "--devices", "rehearsal", "--metrics", "0", "--web-port", "0"):
        url = _url(rehearsals, r"metrics: (http://127\.0\.0\.1:\d+/metrics)")
        page = _url(rehearsals, r"page: (http://127\.0\.0\.1:\d+/)") + "metrics"
        assert rehearsals.wait(rehearsals.submit(["a", "b", "c"])) == "done"
        eventually(lambda: _value(url, "wavemill_worker_jobs_total", outcome="done") == 3, what="three counted jobs")
        assert rehearsals.wait(rehearsals.submit(["d", "poison", "e"])) == "failed"
        eventually(lambda: _value(url, "wavemill_worker_jobs_total", outcome="done") == 5, what="five counted jobs")
        assert _value(url, "wavemill_worker_deaths_total") >= 3
        assert _value(url, "wavemill_worker_claims_total") >= 5
        assert _value(url, "wavemill_worker_processes", device="rehearsal") == 1
        assert _value(url, "wavemill_worker_chunk_seconds_count", device="rehearsal") >= 3
        shown = set(re.findall(r"\bwavemill_\w+", DASHBOARD.read_text()))
        eventually(lambda: shown <= {sample.name for sample in _samples(page) + _samples(url)}, what=f"each of {shown}")
    lines = [json.loads(line) for line in rehearsals.log().splitlines()]
    assert {"wavemill_worker.child", "celery.apps.worker", "multiprocessing"} <= {line["logger"] for line in lines}
    assert all("worker" in line for line in lines if "worker" in line["logger"])


def test_a_port_that_is_taken_is_one_sentence(rehearsals: Rehearsals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = rehearsals.cli("worker", "--devices", "rehearsal", "--metrics", port, expect=2)
    why = f"cannot serve metrics on 127.0.0.1 port {port}: Address already in use; choose another with --metrics"
    assert done.stderr.strip() == f"wavemill: {why}"


def test_with_events_on_celerys_tools_see_a_worker_but_cannot_give_it_orders(rehearsals: Rehearsals) -> None:
    rehearsals.environment["WAVEMILL_CELERY_EVENTS"] = "1"
    app = Celery(broker=rehearsals.settings.celery_broker_url, set_as_current=False)
    seen: list[str] = []
    with rehearsals.running("worker", "--devices", "rehearsal"):
        (name,) = eventually(lambda: app.control.inspect(timeout=0.5).ping(), what="an answer to ping")
        (answer,) = app.control.broadcast("shutdown", reply=True, limit=1)
        assert "take no orders" in answer[name]["error"]
        with app.connection() as connection:
            receiver = app.events.Receiver(connection, handlers={"*": lambda event: seen.append(event["hostname"])})
            for _ in receiver.itercapture(limit=None, timeout=20):
                if seen:
                    break
        assert set(seen) == {name}
        assert rehearsals.wait(rehearsals.submit(["a", "b"])) == "done"
    app.close()


def _url(stack: Rehearsals, pattern: str) -> str:
    return str(eventually(lambda: re.search(pattern, stack.log()), what=pattern)[1])


def _samples(url: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(httpx.get(url).text) for sample in family.samples]


def _value(url: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have the labels."""
    return sum(one.value for one in _samples(url) if one.name == name and labels.items() <= one.labels.items())

"""What a worker tells those who watch it: metrics that outlive its processes, and logs for programs."""

from __future__ import annotations

import json
import re
import socket

import httpx
from prometheus_client.parser import text_string_to_metric_families
from support.rehearsals import Rehearsals
from support.stack import eventually


def test_metrics_survive_a_killed_process_and_each_log_line_is_json(rehearsals: Rehearsals) -> None:
    rehearsals.environment["WAVEMILL_LOG_FORMAT"] = "json"
    with rehearsals.running("worker", "--devices", "rehearsal", "--metrics", "0"):
        url = eventually(lambda: re.search(r"metrics: (http://127\.0\.0\.1:\d+/metrics)", rehearsals.log()))[1]
        assert rehearsals.wait(rehearsals.submit(["a", "b", "c"])) == "done"
        eventually(lambda: _value(url, "wavemill_worker_jobs_total", outcome="done") == 3, what="three counted jobs")
        assert rehearsals.wait(rehearsals.submit(["d", "poison", "e"])) == "failed"
        eventually(lambda: _value(url, "wavemill_worker_jobs_total", outcome="done") == 5, what="five counted jobs")
        assert _value(url, "wavemill_worker_deaths_total") >= 3
        assert _value(url, "wavemill_worker_claims_total") >= 5
        assert _value(url, "wavemill_worker_processes", device="rehearsal") == 1
        assert _value(url, "wavemill_worker_chunk_seconds_count", device="rehearsal") >= 3
    lines = [json.loads(line) for line in rehearsals.log().splitlines()]
    assert {"wavemill_worker.child", "celery.apps.worker", "multiprocessing"} <= {line["logger"] for line in lines}
    assert all(line["worker"] for line in lines)


def test_a_port_that_is_taken_is_one_sentence(rehearsals: Rehearsals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = rehearsals.cli("worker", "--devices", "rehearsal", "--metrics", port, expect=2)
    why = f"cannot serve metrics on 127.0.0.1 port {port}: Address already in use; choose another with --metrics"
    assert done.stderr.strip() == f"wavemill: {why}"


def _value(url: str, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have the labels."""
    families = text_string_to_metric_families(httpx.get(url).text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

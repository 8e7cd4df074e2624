"""Batches submitted by the command and through the API: what a caller says about a job comes back everywhere."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from wavemill.settings import Settings
from wavemill_producer import Producer
from wavemill_producer.web.background import page_in_background

ABOUT = {"custom_id": "order-19", "metadata": {"speaker": "theo", "<b>": 7}}
NO_BROKER = "redis://127.0.0.1:1/0"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "home").mkdir()
    return Settings(home=tmp_path / "home", broker_url=NO_BROKER)


@pytest.fixture
def producer(settings: Settings) -> Iterator[Producer]:
    with Producer(settings) as producer:
        yield producer


@pytest.fixture
def client(producer: Producer) -> Iterator[httpx.Client]:
    """A client with the token of the server's own page."""
    with page_in_background(producer.settings, port=0) as where, httpx.Client(base_url=where.split()[1]) as client:
        client.headers["x-csrf-token"] = client.get("/").text.split('data-csrf="')[1].split('"')[0]
        yield client


def command(producer: Producer, *arguments: object, code: int = 0) -> str:
    home = {"WAVEMILL_HOME": str(producer.settings.home), "WAVEMILL_BROKER_URL": NO_BROKER}
    words = [sys.executable, "-m", "wavemill_producer.cli.main", *map(str, arguments)]
    done = subprocess.run(words, env={**os.environ, **home}, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_file_of_objects_is_submitted_and_what_it_says_comes_back_in_listings_and_exports(
    producer: Producer, small_dataset: Path, tmp_path: Path
) -> None:
    ids = tmp_path / "ids.jsonl"
    ids.write_text(json.dumps({"id": "7_anna_0", **ABOUT}) + "\n4_dan_0\n")
    asked = ("submit", "invert", "--dataset", small_dataset, "--output", tmp_path / "out", "--ids", ids)
    batch_id = json.loads(command(producer, *asked, "--json"))["batch_id"]
    listed = json.loads(command(producer, "jobs", "--where", "custom_id=order-*", "--json"))
    assert {name: listed[name] for name in ABOUT} == ABOUT
    assert "order-19" in command(producer, "jobs", "--batch", batch_id)
    rows = list(csv.DictReader(command(producer, "export", batch_id, "--format", "csv").splitlines()))
    assert [(row["custom_id"], json.loads(row["metadata"] or "{}")) for row in rows] == [
        ("order-19", ABOUT["metadata"]),
        ("", {}),
    ]
    ids.write_text('{"id": "7_anna_0", "custom_id": 19}\n')
    assert "expected a text of 1 to 200 printable characters" in command(producer, *asked, code=2)


def test_the_api_takes_objects_in_the_body_and_in_an_upload(
    producer: Producer, client: httpx.Client, small_dataset: Path, tmp_path: Path
) -> None:
    asked = {"operation": "invert", "dataset": str(small_dataset), "output": str(tmp_path / "out")}
    body = client.post("/api/v1/batches", json={**asked, "ids": ["4_dan_0", {"id": "7_anna_0", **ABOUT}]})
    lines = "4_dan_0\n" + json.dumps({"id": "7_anna_0", **ABOUT})
    upload = client.post("/api/v1/batches/upload", data={"batch": json.dumps(asked)}, files={"ids": lines.encode()})
    for answer in (body, upload):
        assert answer.status_code == 201, answer.text
        where = {"batch": answer.json()["batch_id"], "where": ["metadata.speaker=theo", "custom_id=order-19"]}
        (found,) = client.get("/api/v1/jobs", params=where).json()["jobs"]
        assert {name: found[name] for name in ABOUT} == ABOUT
    page = client.get(f"/jobs/{found['id']}").text
    assert "order-19" in page
    assert "metadata.&lt;b&gt;" in page
    assert "order-19" in client.get(f"/batches/{found['batch_id']}").text
    wrong = client.post("/api/v1/batches", json={**asked, "ids": [{"id": "7_anna_0", "metadata": {"k": "x" * 5_000}}]})
    assert (wrong.status_code, wrong.json()["error"]["message"][:19]) == (400, "metadata of 5009 by")


def test_what_matching_jobs_were_made_from_is_submitted_again_by_the_command_and_the_api(
    producer: Producer, client: httpx.Client, small_dataset: Path, tmp_path: Path
) -> None:
    place = {"output": str(tmp_path / "out")}
    first = producer.invert(["7_anna_0", "4_dan_0"], dataset=small_dataset, name="liked", **place)
    producer.rate([next(first.jobs()).id], 5)
    asked = ("submit", "invert", "--output", tmp_path / "out", "--from-batch", "liked", "--json")
    again = json.loads(command(producer, *asked, "--where", "rating>=4"))
    assert [job.spectrogram_id for job in producer.batch(again["batch_id"]).jobs()] == ["7_anna_0"]
    assert "no job of batch" in command(producer, *asked, "--where", "rating<3", code=2)
    assert "choose one of --ids FILE" in command(producer, *asked, "--all", code=2)
    assert "name it with --from-batch" in command(producer, *asked[:4], "--all", "--where", "rating>=4", code=2)
    body = {"operation": "invert", "from_batch": "liked", "where": ["rating=5"], **place}
    answer = client.post("/api/v1/batches", json=body)
    assert (answer.status_code, answer.json()["total"]) == (201, 1)
    for wrong, says in (
        ({"where": ["rating=1"]}, "no job of batch"),
        ({"ids": ["7_anna_0"]}, "choose one of `ids`"),
        ({"from_batch": None, "ids": ["7_anna_0"]}, "`where` chooses jobs"),
        ({"operation": "sample", "model": "fsdd-vae"}, "it takes no IDs"),
    ):
        refused = client.post("/api/v1/batches", json={**body, **wrong})
        assert (refused.status_code, says in refused.json()["error"]["message"]) == (400, True), refused.text


def test_labels_and_metadata_are_filters_of_the_command_the_api_and_the_page(
    producer: Producer, client: httpx.Client, small_dataset: Path, tmp_path: Path
) -> None:
    asked = [{"id": "7_anna_0", **ABOUT}, "4_dan_0"]
    batch = producer.invert(asked, dataset=small_dataset, output=tmp_path / "out")
    listed = json.loads(command(producer, "jobs", "--batch", batch.id, "--where", "label.speaker=dan", "--json"))
    assert listed["spectrogram_id"] == "4_dan_0"
    where = {"batch": batch.id, "where": "label.digit>=7"}
    (found,) = client.get("/api/v1/jobs", params=where).json()["jobs"]
    assert found["spectrogram_id"] == "7_anna_0"
    page = client.get(f"/batches/{batch.id}", params={"where": "label.digit<7"}).text
    assert (">4_dan_0<" in page, ">7_anna_0<" in page) == (True, False)
    assert "<option>label.digit</option>" in page
    assert "<option>metadata.speaker</option>" in client.get("/jobs").text
    wrong = client.get(f"/batches/{batch.id}", params={"where": "label.spekaer=x"})
    assert (wrong.status_code, "has no label spekaer; its labels: " in wrong.text) == (200, True)

"""Who gets in: every route, by role; and the usual ways to get in without leave."""

from __future__ import annotations

import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from fastapi.routing import iter_route_contexts
from PIL import Image
from support.batches import claim, finish, new_jobs, request

from wavemill.jobs.database import Database
from wavemill.jobs.finishing import Outcome
from wavemill.jobs.states import State
from wavemill.jobs.submit import write_batch
from wavemill.jobs.tokens import create_token, revoke_token
from wavemill.settings import Settings
from wavemill_producer.web.app import create_app
from wavemill_producer.web.background import page_in_background
from wavemill_producer.web.roles import Role

SCRIPT = "<script>alert(1)</script>"
OPEN = {"/sign-in", "/sign-out", "/health", "/ready"}  # to send a token, and for probes
VALUES = {
    "which": "generated",
    "action": "cancel",
    "name": "nobody",
    "job_id": "1",
    "action_id": "1",
    "batch_id": "none",
}  # of the parameters in paths
Tokens = dict[Role, dict[str, str]]


@pytest.fixture
def batch_id(database: Database, tmp_path: Path) -> str:
    """One job that is done, one that failed; names and errors are hostile."""
    asked = replace(request(), output=str(tmp_path / "out"), name=SCRIPT)
    batch_id = write_batch(database, asked, new_jobs(["a/one", "=2+3"]))[0]
    path = tmp_path / "out" / batch_id / "generated" / "a" / "one.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, 0.5 * np.sin(np.arange(8_000) / 5), 8_000)
    claimed = claim(database, batch_id, 0, 1)
    columns = {"generated_path": str(path), "sha256": sha256(path.read_bytes()).hexdigest(), "quality": {"peak": 0.5}}
    done = Outcome(job=claimed.jobs[0], state=State.DONE, columns=columns)
    broken = Outcome(job=claimed.jobs[1], state=State.FAILED, error_code="bad-spectrogram", error=SCRIPT)
    finish(database, claimed, [done, broken])
    return batch_id


@pytest.fixture
def client(settings: Settings, batch_id: str) -> Iterator[httpx.Client]:
    """A client of a real server that needs no token."""
    with page_in_background(settings, port=0) as where, httpx.Client(base_url=where.split()[1]) as client:
        yield client


@pytest.fixture
def tokens(database: Database) -> Tokens:
    """The header of a token of each role; while there is one, the server needs one."""
    return {
        role: {"authorization": f"Bearer {create_token(database, f'a {role}', role, valid_s=None)}"} for role in Role
    }


def routes(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers, with values for the paths' parameters."""
    for route in iter_route_contexts(create_app(settings).routes):
        if route.methods is not None:
            path = route.path or ""
            for name, value in VALUES.items():
                path = path.replace(f"{{{name}}}", value)
            assert "{" not in path, f"give {path} a value in this test"
            yield from ((method, path) for method in sorted(route.methods))


def test_every_route_refuses_a_caller_without_a_token(tokens: Tokens, client: httpx.Client, settings: Settings) -> None:
    tried = 0
    for method, path in routes(settings):
        if path in OPEN:
            continue
        answer = client.request(method, path)
        if answer.status_code == 303:
            assert not path.startswith("/api/")
            assert answer.headers["location"].startswith("/sign-in")
        else:
            assert answer.status_code in {401, 403}, (method, path, answer.status_code)
        tried += 1
    assert tried > 20


def test_a_caller_without_a_valid_token_learns_why_and_comes_back_to_the_filter(
    tokens: Tokens, client: httpx.Client
) -> None:
    assert "send a token" in client.get("/api/v1/batches").text
    wrong = client.get("/api/v1/batches", headers={"authorization": "Bearer wm_wrong"})
    assert "this token is not valid" in wrong.json()["error"]["message"]
    there = client.get("/jobs", params={"where": ["rating>=4", "id=7_*"]}).headers["location"]
    form = client.get(there)
    token = form.text.partition('name="csrf_token" value="')[2].partition('"')[0]
    back = form.text.partition('name="next" value="')[2].partition('"')[0].replace("&amp;", "&")
    sent = {"token": tokens[Role.READ]["authorization"].split()[1], "csrf_token": token, "next": back}
    answer = client.post("/sign-in", data=sent)
    assert answer.headers["location"] == "/jobs?where=rating%3E%3D4&where=id%3D7_%2A"


def test_every_write_refuses_a_reader(tokens: Tokens, client: httpx.Client, settings: Settings) -> None:
    reader = tokens[Role.READ]
    writes = [(method, path) for method, path in routes(settings) if method not in {"GET", "HEAD"} and path not in OPEN]
    assert len(writes) > 8
    for method, path in writes:
        answer = client.request(method, path, headers=reader, json={})
        assert answer.status_code == 403, (method, path, answer.status_code)
        assert "role" in answer.text


def test_a_submitter_makes_no_tokens(tokens: Tokens, client: httpx.Client) -> None:
    submitter = tokens[Role.SUBMIT]
    assert client.post("/api/v1/tokens", headers=submitter, json={"name": "x", "role": "admin"}).status_code == 403
    assert client.get("/api/v1/tokens", headers=submitter).status_code == 403


def test_a_revoked_token_and_a_wrong_one_are_refused(tokens: Tokens, client: httpx.Client) -> None:
    admin = tokens[Role.ADMIN]
    made = client.post("/api/v1/tokens", headers=admin, json={"name": "ci", "role": "read"}).json()["token"]
    reader = {"authorization": f"Bearer {made}"}
    assert client.get("/api/v1/batches", headers=reader).status_code == 200
    assert client.delete("/api/v1/tokens/ci", headers=admin).status_code == 200
    assert client.get("/api/v1/batches", headers=reader).status_code == 401
    assert client.get("/api/v1/batches", headers={"authorization": "Bearer wm_wrong"}).status_code == 401


def test_a_stream_of_events_ends_with_its_token(tokens: Tokens, client: httpx.Client, database: Database) -> None:
    with client.stream("GET", "/api/v1/events", headers=tokens[Role.READ], timeout=30) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "event: resync"
        revoke_token(database, f"a {Role.READ}")
        assert [line for line in lines if line.startswith("event: batch")] == []  # and then it ends


def test_a_signed_in_reader_signs_out_and_a_part_of_a_page_asks_for_the_whole(
    tokens: Tokens, client: httpx.Client
) -> None:
    form = client.get("/sign-in", params={"next": "/workers"})
    csrf = form.text.split('name="csrf_token" value="')[1].split('"')[0]
    token = tokens[Role.READ]["authorization"].removeprefix("Bearer ")
    entered = client.post("/sign-in", data={"csrf_token": csrf, "token": token, "next": "/workers"})
    assert entered.headers["location"] == "/workers"
    assert all(f"_{client.base_url.port}" in name for name in client.cookies)
    page = client.get("/workers").text
    assert "Sign out" in page
    own_header = {"x-csrf-token": page.split('data-csrf="')[1].split('"')[0], "hx-request": "true"}
    assert client.post("/sign-out", headers=own_header).headers["hx-redirect"] == "/sign-in"
    part = client.get("/workers", headers={"hx-request": "true"})
    assert (part.status_code, part.headers["hx-refresh"]) == (401, "true")


def test_a_page_of_another_site_can_write_nothing(client: httpx.Client) -> None:
    page = client.get("/")
    token = page.text.split('data-csrf="')[1].split('"')[0]
    url, rating = "/api/v1/jobs/1/rating", {"rating": 4}
    assert client.put(url, json=rating).status_code == 403  # the cookie alone
    assert client.put(url, json=rating, headers={"x-csrf-token": "wrong"}).status_code == 403
    foreign = {"x-csrf-token": token, "origin": "https://evil.example"}
    assert client.put(url, json=rating, headers=foreign).status_code == 403
    assert (
        client.put(url, json=rating, headers={"x-csrf-token": token, "sec-fetch-site": "cross-site"}).status_code == 403
    )
    assert client.put(url, json=rating, headers={"x-csrf-token": token}).status_code == 200


def test_a_server_without_tokens_answers_only_under_names_of_this_machine(client: httpx.Client) -> None:
    assert client.get("/", headers={"host": "rebound.example"}).status_code == 421
    assert client.get("/").status_code == 200


def test_a_proxy_in_between_needs_a_token(client: httpx.Client) -> None:
    url = "/api/v1/tokens"
    assert client.get(url).status_code == 200
    for header in ("x-forwarded-for", "forwarded", "via", "x-forwarded-proto"):
        assert client.get(url, headers={header: "1.2.3.4"}).status_code == 401
        assert client.post(url, headers={header: "1.2.3.4"}, json={"name": "x", "role": "admin"}).status_code == 401


def test_the_form_of_the_filter_puts_it_into_the_url(client: httpx.Client) -> None:
    answer = client.get("/jobs", params={"where": "id=a*", "field": "state", "op": "=", "value": "failed"})
    assert answer.status_code == 303
    assert httpx.URL(answer.headers["location"]).params.get_list("where") == ["id=a*", "state=failed"]


def test_hostile_characters_are_refused_as_wrong_arguments(client: httpx.Client) -> None:
    asked = {"operation": "sample", "model": "\0", "output": "/tmp/x", "count": 1}
    assert client.post("/api/v1/batches", json=asked, headers=own(client)).status_code == 422
    assert client.get("/api/v1/batches/%00").status_code in {404, 422}
    assert client.get("/batches/%00").status_code == 404
    assert client.get("/api/v1/jobs", params={"where": "attempt>3000000000"}).json()["jobs"] == []


def test_a_body_that_nobody_reads_does_not_hold_its_connection(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=20) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\nx")
        said = b""
        while piece := connection.recv(65_536):  # ends when the server closes the connection
            said += piece
    assert said.startswith(b"HTTP/1.1 200")


def own(client: httpx.Client) -> dict[str, str]:
    """The CSRF header of the server's own page."""
    return {"x-csrf-token": client.get("/").text.split('data-csrf="')[1].split('"')[0]}


def test_what_others_named_is_shown_as_text_under_a_strict_policy(client: httpx.Client, batch_id: str) -> None:
    for path in ("/", f"/batches/{batch_id}", "/jobs", "/jobs/2", f"/batches/{batch_id}/listen"):
        answer = client.get(path)
        assert answer.status_code == 200, path
        assert SCRIPT not in answer.text
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_a_sound_comes_whole_in_part_or_not_again(client: httpx.Client) -> None:
    whole = client.get("/api/v1/jobs/1/audio/generated")
    assert (whole.status_code, whole.content[:4], whole.headers["content-type"]) == (200, b"RIFF", "audio/wav")
    part = client.get("/api/v1/jobs/1/audio/generated", headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.content)}"
    known = client.get("/api/v1/jobs/1/audio/generated", headers={"if-none-match": whole.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    assert client.get("/api/v1/jobs/1/audio/generated", headers={"range": "bytes=999999-"}).status_code == 416
    assert client.get("/api/v1/jobs/2/audio/generated").status_code == 404
    assert client.get("/api/v1/jobs/1/audio/original").status_code == 404


def test_pictures_of_a_sound_are_not_empty(client: httpx.Client) -> None:
    for kind in ("spectrogram", "waveform"):
        answer = client.get(f"/api/v1/jobs/1/{kind}/generated.png?width=200&height=64")
        assert answer.content[:8] == b"\x89PNG\r\n\x1a\n"
        with Image.open(BytesIO(answer.content)) as picture:
            assert (picture.size, len(picture.convert("RGBA").getcolors() or []) > 1) == ((200, 64), True)
    peaks = client.get("/api/v1/jobs/1/peaks/generated?bins=50").json()
    assert (len(peaks["highs"]), peaks["duration_s"], max(peaks["highs"])) == (50, 1.0, pytest.approx(0.5, abs=0.01))


def test_a_link_out_of_the_output_folder_is_not_followed(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    path = next((tmp_path / "out").rglob("one.wav"))
    secret = tmp_path / "secret.wav"
    path.rename(secret)
    path.symlink_to(secret)
    assert client.get("/api/v1/jobs/1/audio/generated").status_code == 404
    path.unlink()
    folder = path.parent
    (folder.parent / "aside").mkdir()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert client.get("/api/v1/jobs/1/audio/generated").status_code == 404


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/api/v1/jobs/..%2f..%2fetc/audio/generated"]
)
def test_a_path_leads_nowhere_else(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in {404, 422}


def test_a_huge_body_is_refused(client: httpx.Client) -> None:
    answer = client.put("/api/v1/jobs/1/rating", content=b"x" * (2**20 + 1))
    assert answer.status_code == 413


def test_cells_that_a_spreadsheet_would_run_are_defused(client: httpx.Client, batch_id: str) -> None:
    text = client.get(f"/api/v1/batches/{batch_id}/export?format=csv").text
    assert ",'=2+3," in text


def test_wrong_arguments_get_a_sentence(client: httpx.Client) -> None:
    for path in ("/api/v1/jobs?where=sate%3Ddone", "/jobs?where=sate%3Ddone"):
        answer = client.get(path)
        assert answer.status_code in {200, 400}
        assert "there is no field" in answer.text
    assert client.get("/api/v1/batches/none").status_code == 404
    assert client.get("/batches/none").status_code == 404
    assert client.put("/api/v1/jobs/1/rating", json={"rating": 9}, headers=own(client)).status_code == 422


def test_no_request_that_the_description_allows_makes_the_server_fail(
    tokens: Tokens, client: httpx.Client, tmp_path: Path
) -> None:
    (name, value), *_ = tokens[Role.ADMIN].items()
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"{client.base_url}api/v1/openapi.json"]
    what = ["--checks", "not_a_server_error", "--exclude-path-regex", "events|tokens", "--max-examples", "10"]
    how = ["--phases", "coverage,fuzzing", "--seed", "1", "-H", f"{name}: {value}"]
    done = subprocess.run([*command, *what, *how], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-4_000:]
    assert "passed" in done.stdout


def test_an_export_follows_no_link_out_of_the_batch(client: httpx.Client, tmp_path: Path, batch_id: str) -> None:
    path = next((tmp_path / "out").rglob("one.wav"))
    url = f"/api/v1/batches/{batch_id}/export?format=zip"
    assert "generated/a/one.wav" in zipfile.ZipFile(BytesIO(client.get(url).content)).namelist()
    path.rename(tmp_path / "aside.wav")
    path.symlink_to(tmp_path / "aside.wav")
    assert "generated/a/one.wav" not in zipfile.ZipFile(BytesIO(client.get(url).content)).namelist()

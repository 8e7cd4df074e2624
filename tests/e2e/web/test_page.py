"""The page in a real browser, on a real worker's batch."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright
from sqlalchemy import update
from support.stack import Stack, eventually

from wavemill.jobs.counters import move_counts
from wavemill.jobs.database import now
from wavemill.jobs.schema import jobs
from wavemill.jobs.states import State

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="needs Chromium: apt-get install chromium"
)
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--autoplay-policy=no-user-gesture-required",
]
PLAYER = "wavemill_player"


@pytest.fixture(scope="module")
def address(living: Stack) -> Iterator[str]:
    """The address of a `wavemill web` process beside a living worker."""
    with living.running("web", "--port", "0"):
        found = eventually(lambda: re.search(r"the page is at (\S+);", living.log()), what="the page")
        yield found[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab; any message of its console is an error of the test."""
    said: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            said.append(message.text)

    context = browser.new_context()
    page = context.new_page()
    page.on("console", hear)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert not said


@pytest.fixture(scope="module")
def batch_id(living: Stack, address: str, small_dataset: Path) -> str:
    """A batch that was submitted through the API."""
    wanted = {
        "operation": "reconstruct",
        "dataset": str(small_dataset),
        "model": "small",
        "output": str(living.folder / "out"),
        "ids": ["0_anna_0", "1_ben_0", "2_anna_0", "7_anna_0"],
        "name": "from the API",
        "tags": {"project": "x"},
    }
    url = f"{address}api/v1/batches"
    made = httpx.post(url, json=wanted, headers={"Idempotency-Key": "one"})
    assert made.status_code == 201, made.text
    again = httpx.post(url, json=wanted, headers={"Idempotency-Key": "one"})
    assert again.json()["batch_id"] == made.json()["batch_id"]
    living.wait(living.producer.batch(made.json()["batch_id"]))
    return str(made.json()["batch_id"])


def job_ids(living: Stack, batch_id: str) -> list[int]:
    return [job.id for job in living.producer.batch(batch_id).jobs()]


def paths(batch_id: str, job_id: int) -> list[str]:
    """Return the path of a page of each kind."""
    batch = f"batches/{batch_id}"
    return ["", batch, f"{batch}/listen", f"jobs/{job_id}", "jobs", "workers", f"bulk?batch={batch_id}"]


def position_s(page: Page) -> float:
    return float(page.inner_text("#position").split()[0])


def test_a_batch_shows_its_counts_its_plots_and_its_jobs(page: Page, address: str, batch_id: str) -> None:
    page.goto(address)
    page.get_by_role("link", name="from the API").click()
    expect(page.get_by_role("heading", name="from the API")).to_be_visible()
    expect(page.locator("dd", has_text="4 of 4")).to_be_visible()
    expect(page.locator("svg.plot").first).to_be_visible()
    expect(page.locator("table.jobs tbody tr")).to_have_count(4)


def test_a_click_on_a_head_sorts_the_jobs_and_the_grid(page: Page, address: str, batch_id: str) -> None:
    page.goto(f"{address}batches/{batch_id}")
    page.get_by_role("link", name="Distance").click()
    page.get_by_role("link", name="Distance").click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text("Distance")
    distances = [float(text.split()[0]) for text in page.locator("[data-name=distance]").all_inner_texts()]
    assert distances == sorted(distances, reverse=True)
    names = page.locator("table.jobs a.id").all_inner_texts()
    page.get_by_role("link", name="Listen").click()
    expect(page.get_by_role("option")).to_have_count(4)
    assert [one.get_attribute("aria-label") for one in page.get_by_role("option").all()] == names


def test_batches_are_listed_by_tag_everywhere(page: Page, address: str, living: Stack, batch_id: str) -> None:
    page.goto(f"{address}?tag=project%3Dx")
    expect(page.locator("main table tbody tr")).to_have_count(1)
    listed = httpx.get(f"{address}api/v1/batches", params={"tag": "project=x"}).json()["batches"]
    assert [one["id"] for one in listed] == [batch_id]
    assert [one["id"] for one in living.json("status", "--tag", "project=x")["batches"]] == [batch_id]
    assert living.json("status", "--tag", "project=y")["batches"] == []


def test_progress_moves_without_a_reload(
    page: Page, address: str, living: Stack, small_dataset: Path, batch_id: str
) -> None:
    page.goto(address)
    batch = living.producer.invert(
        ["3_ben_0"], dataset=small_dataset, output=living.folder / "out", name="appears by itself"
    )
    expect(page.get_by_role("link", name="appears by itself")).to_be_visible(timeout=20_000)
    living.wait(batch)
    row = page.locator("tr", has_text="appears by itself")
    expect(row.get_by_text("100 % done")).to_be_visible(timeout=20_000)


def test_a_job_plays_and_one_key_switches_at_the_same_position(
    page: Page, address: str, living: Stack, batch_id: str
) -> None:
    page.goto(f"{address}jobs/{job_ids(living, batch_id)[0]}")
    for image in page.locator(".pictures img").all():
        assert image.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 800
    expect(page.locator("#position")).to_have_text(re.compile(r"0\.00 s of 0\.[1-9]"))
    expect(page.locator("[data-sound=generated] .heights span")).to_have_text(["1 kHz", "2 kHz", "3 kHz"])
    expect(page.locator("[data-sound=generated] .times span").last).to_have_text(re.compile(r"0\.\d\d s"))
    page.keyboard.press(" ")
    eventually(lambda: position_s(page) > 0.1, timeout_s=20, what="sound")
    page.keyboard.press(" ")
    expect(page.locator("#toggle")).to_have_text("Play")
    before = position_s(page)
    page.keyboard.press("a")
    expect(page.locator("[data-sound=original]")).to_have_class(re.compile("is-heard"))
    assert abs(position_s(page) - before) < 0.05


def test_a_rating_by_key_is_found_in_filter_and_export(page: Page, address: str, living: Stack, batch_id: str) -> None:
    chosen = job_ids(living, batch_id)[1]
    page.goto(f"{address}jobs/{chosen}")
    page.keyboard.press("4")
    expect(page.get_by_role("button", name="4 of 5")).to_have_attribute("aria-pressed", "true")
    page.goto(f"{address}batches/{batch_id}")
    page.get_by_role("link", name="liked").click()
    expect(page.locator("table.jobs tbody tr")).to_have_count(1)
    assert "where=rating" in page.url
    lines = living.cli("export", batch_id, "--format", "jsonl").stdout.splitlines()
    assert {row["id"]: row["rating"] for row in map(json.loads, lines)}[chosen] == 4
    listed = living.cli("jobs", "--batch", batch_id, "--where", "rating>=4", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in listed] == [chosen]
    built = living.json("dataset", "build", "--from-batch", batch_id, "--where", "rating=4", "liked")
    assert built["built"] == 1
    known = living.cli("dataset", "ids", "liked", "--where", "rating=4", "--where", "digit=1").stdout.split()
    assert known == ["1_ben_0"]
    again = living.cli("dataset", "build", "--from-batch", batch_id, "liked", expect=2)
    assert "holds files already" in again.stderr


def test_the_grid_goes_on_by_arrows_plays_and_rates(page: Page, address: str, living: Stack, batch_id: str) -> None:
    page.goto(f"{address}batches/{batch_id}/listen")
    expect(page.get_by_role("option")).to_have_count(4)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    chosen = page.locator("[aria-selected=true]")
    expect(chosen).to_have_attribute("aria-label", "2_anna_0")
    page.keyboard.press(" ")
    cursor = chosen.locator(".cursor")
    eventually(lambda: cursor.evaluate("it => parseFloat(it.style.left)") > 0, timeout_s=20, what="sound")
    page.keyboard.press("5")
    expect(chosen).to_have_attribute("aria-label", "2_anna_0, rated 5")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()


def test_a_sample_names_the_clip_that_it_is_most_like(
    page: Page, address: str, living: Stack, small_dataset: Path, batch_id: str
) -> None:
    made = living.producer.sample(1, model="small", output=living.folder / "out")
    living.wait(made)
    page.goto(f"{address}jobs/{job_ids(living, made.id)[0]}")
    part = page.locator("#nearest")
    expect(part).to_contain_text(f"clips in {small_dataset}: their spectrograms differ by", timeout=20_000)


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, address: str, living: Stack, batch_id: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 700}, color_scheme="dark")
    page = context.new_page()
    job_id = job_ids(living, batch_id)[0]
    for path in (
        "",
        f"batches/{batch_id}",
        f"batches/{batch_id}/listen",
        f"jobs/{job_id}",
        "jobs",
        "workers",
        f"bulk?batch={batch_id}",
    ):
        page.goto(address + path)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
    context.close()


def test_a_button_pauses_a_batch(page: Page, address: str, living: Stack, small_dataset: Path, batch_id: str) -> None:
    batch = living.producer.sample(3_000, model="small", output=living.folder / "out")
    page.goto(f"{address}batches/{batch.id}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert batch.status()["state"] == "paused"
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    eventually(lambda: batch.status()["state"] == "cancelled", what="the cancel")


def test_ten_thousand_matching_jobs_are_retried_from_the_page(page: Page, address: str, living: Stack) -> None:
    batch = living.producer.sample(25_000, model="small", output=living.folder / "out")
    batch.pause()
    with living.producer.database.transaction() as connection:
        lost = (jobs.c.batch_id == batch.id, jobs.c.seq.between(15_000, 24_999), jobs.c.state == State.QUEUED)
        values = {"state": State.FAILED, "error_code": "storage-error", "error": "full", "finished_at": now()}
        count = connection.execute(update(jobs).where(*lost).values(values)).rowcount
        move_counts(connection, {batch.id: {State.QUEUED: -count, State.FAILED: count}})
    assert count == 10_000
    page.goto(f"{address}batches/{batch.id}?where=state%3Dfailed")
    page.get_by_role("link", name="All 10\u2009000 that match…").click()
    expect(page.get_by_role("heading", name="10\u2009000 jobs match")).to_be_visible()
    page.get_by_text("Retry those that failed or were cancelled").click()
    page.get_by_role("button", name="Retry 10\u2009000 jobs").click()
    expect(page.get_by_text("10\u2009000 jobs were queued again.")).to_be_visible(timeout=60_000)
    assert batch.status()["counts"]["failed"] == 0
    batch.cancel()


def test_axe_finds_nothing_serious(browser: Browser, address: str, living: Stack, batch_id: str) -> None:
    job_id = job_ids(living, batch_id)[0]
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme, bypass_csp=True)  # its script is foreign
        page = context.new_page()
        for path in paths(batch_id, job_id):
            page.goto(address + path)
            expect(page.locator("main")).to_be_visible()
            found = Axe().run(page).response["violations"]
            serious = [
                (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in {"serious", "critical"}
            ]
            assert not serious, path
        context.close()

"""The page while the table is away."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect, sync_playwright
from support.postgres import Postgres, migrated
from support.stack import QUICK, Stack, eventually

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None and "CI" not in os.environ, reason="needs Chromium: apt-get install chromium"
)


@pytest.fixture
def server() -> Iterator[Postgres]:
    server = migrated()
    yield server
    server.close()


def test_the_page_says_that_the_table_is_away_and_goes_on(tmp_path: Path, server: Postgres) -> None:
    stack = Stack(tmp_path, {**QUICK, "WAVEMILL_DATABASE_URL": server.url})
    with stack.running("web", "--port", "0"), sync_playwright() as playwright:
        address = eventually(lambda: re.search(r"the page is at (\S+);", stack.log()), what="the page")[1]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(address)
        expect(page.get_by_text("No batch yet")).to_be_visible()
        server.crash()
        expect(page.locator("#banner")).to_contain_text("This page waits", timeout=60_000)
        assert httpx.get(f"{address}api/v1/batches", timeout=60).status_code == 503
        server.start()
        expect(page.locator("#banner .banner")).to_have_count(0, timeout=60_000)
        eventually(lambda: httpx.get(f"{address}api/v1/batches").status_code == 200, timeout_s=60, what="the table")
        browser.close()
    stack.producer.close()

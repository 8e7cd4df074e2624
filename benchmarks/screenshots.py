"""The pictures in the README, made from the demo, so that they stay true.

    make demo && python -m benchmarks.screenshots [DEMO_FOLDER]

Needs Chromium, and writes docs/pictures/{batch,job,listen}.png.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from wavemill.jobs.states import State
from wavemill.settings import Settings
from wavemill_producer.producer import Producer
from wavemill_producer.web.background import page_in_background

PICTURES = Path("docs/pictures")
SIZE = {"width": 1100, "height": 720}


def main() -> None:
    """Open the demo's pages and save what is seen."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    settings = Settings(home=folder / ".wavemill")
    with Producer(settings) as producer:
        batch_id = producer.batches(limit=1)[0]["id"]
        job_id = next(producer.jobs(batch_id=batch_id, state=State.DONE, limit=1)).id
    PICTURES.mkdir(exist_ok=True)
    pages = {"batch": f"batches/{batch_id}", "job": f"jobs/{job_id}", "listen": f"batches/{batch_id}/listen"}
    with page_in_background(settings, port=0) as where, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE)
        for name, path in pages.items():
            page.goto(where.split()[1] + path)
            page.wait_for_timeout(2_000)  # pictures and plots arrive after the page
            page.screenshot(path=PICTURES / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()

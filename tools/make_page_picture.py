"""Writes docs/images/page.png: the page after a run on the synthetic sample case, at 1440 x 900.

It starts a platform of its own with the real stages and takes some minutes. Build the page before (`make page`).

    python tools/make_page_picture.py [FOLDER]     # with a folder: pictures at other sizes and of other views as well
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.browser import launch  # noqa: E402 - the project is found by the line above

from hope.testing.fleet import Fleet  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "page.png"
RUN_MS = 900_000
DRAWN_MS = 120_000
SIZES = ((1440, 900, "light"), (1440, 900, "dark"), (390, 844, "light"), (390, 844, "dark"))
VIEWS = {"planes": "[data-view-choice=axial]", "sequences": "[data-act=side-by-side]"}


def main(arguments: list[str]) -> int:
    """Run the sample case and take the pictures; returns the exit status."""
    extra = Path(arguments[0]) if arguments else None
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        platform = Fleet(Path(folder), bodies="hope.jobs.bodies")
        browser = launch(playwright.chromium)
        try:
            platform.start("up")
            platform.wait_ready()
            _picture(browser, platform.url, extra)
        finally:
            platform.stop()
            browser.close()
    return 0


def _picture(browser: Browser, url: str, extra: Path | None) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.goto(url)
    page.locator("[data-act=agree]").check()
    page.locator("[data-act=sample]").click()
    page.locator("[data-view=result]").wait_for(timeout=RUN_MS)
    _drawn(page)
    page.screenshot(path=PICTURE)
    if extra is None:
        return
    extra.mkdir(parents=True, exist_ok=True)
    for width, height, theme in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        for name, button in VIEWS.items():
            page.locator(button).click()
            page.wait_for_timeout(3000)
            page.screenshot(path=extra / f"{name}-{width}-{theme}.png")
            page.keyboard.press("Escape")
    page.locator("[data-tab=files]").click()
    page.locator("[data-act=change]").click()
    page.locator("[data-thumbnail=t1c]").first.wait_for(timeout=DRAWN_MS)
    for width, height, theme in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.screenshot(path=extra / f"scans-{width}-{theme}.png", full_page=True)


def _drawn(page: Page) -> None:
    page.locator(".scene[data-ready=true]").wait_for(timeout=DRAWN_MS)
    page.wait_for_timeout(15_000)  # surfaces of labels come one after the other


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

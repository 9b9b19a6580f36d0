"""A real browser for tests: the system's Chromium, driven by Playwright, with WebGL2 in software.

    from tests.browser import visit     # the fixture `browser` comes from tests/e2e/conftest.py

    def test_page(browser: Browser) -> None:
        with visit(browser, "http://127.0.0.1:8080/") as visited:
            visited.page.locator("[data-ready=true]").wait_for()
        visited.assert_quiet()

Under the page's strict policy `page.wait_for_function` cannot work (it needs `eval`): wait for an attribute instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, BrowserType, ConsoleMessage, Page, expect, sync_playwright
from playwright.sync_api import Error as PlaywrightError

CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--ignore-gpu-blocklist",
)
# Mesa draws 3 to 8 times faster than SwiftShader, but it is a package of the system that may be missing.
MESA_FLAGS = ("--use-gl=angle", "--use-angle=gl-egl")
SWIFTSHADER_FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
NO_WEBGL_FLAGS = ("--disable-gpu", "--disable-3d-apis")

PATIENCE_MS = 90_000
"""For all that is waited for: a busy machine draws slowly, and what never comes fails all the same."""
expect.set_options(timeout=PATIENCE_MS)

# What a software renderer says about itself is no fault of the page.
HARMLESS = ("GPU stall due to ReadPixels", "Automatic fallback to software WebGL", "GL Driver Message")


def chromium_path() -> str:
    """Where the browser is; a machine without one fails under CI, and skips aloud elsewhere."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        missing("no Chromium on this machine: `apt-get install chromium libgl1-mesa-dri libegl1 libgles2`")
    return found


def missing(why: str) -> NoReturn:
    """What a browser test needs is not there: in CI that is a failure, elsewhere a skip that says what to do."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def launch(chromium: BrowserType, *flags: str) -> Browser:
    """Start Chromium with `flags`, or, without any, with the fastest WebGL2 that works here."""
    path = chromium_path()
    if flags:
        return chromium.launch(executable_path=path, args=[*CHROMIUM_FLAGS, *flags])
    for renderer in (MESA_FLAGS, SWIFTSHADER_FLAGS):
        browser = chromium.launch(executable_path=path, args=[*CHROMIUM_FLAGS, *renderer])
        page = browser.new_page()
        works = page.evaluate("!!document.createElement('canvas').getContext('webgl2')")
        page.close()
        if works:
            return browser
        browser.close()
    missing("Chromium has no WebGL2 here: `apt-get install libgl1-mesa-dri libegl1 libgles2`")


# One per module, not one per session: while Playwright's synchronous API is open, `asyncio.run` refuses to work in
# the same thread, and other modules need it. One per module, not one per browser: it cannot be open twice.
@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserType]:
    """What starts browsers."""
    with sync_playwright() as playwright:
        yield playwright.chromium


@pytest.fixture(scope="module")
def browser(chromium: BrowserType) -> Iterator[Browser]:
    """Chromium with WebGL2."""
    started = launch(chromium)
    yield started
    started.close()


@pytest.fixture(scope="module")
def browser_without_webgl(chromium: BrowserType) -> Iterator[Browser]:
    """Chromium that refuses every 3D context, as old machines and some hospital desktops do."""
    started = launch(chromium, *NO_WEBGL_FLAGS)
    yield started
    started.close()


@dataclass
class Visited:
    """An open page and what it complained about.

    Attributes:
        page: Playwright's page.
        complaints: console errors, uncaught exceptions, violations of the content security policy.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)

    def assert_quiet(self, *expected: str) -> None:
        """Fail if the page complained about anything that contains none of the `expected` words."""
        bad = [line for line in self.complaints if not any(word in line for word in expected)]
        assert not bad, "\n".join(bad)


REST = """least => new Promise((done, fail) => {
  let begun = performance.now(), at = scrollY
  setTimeout(() => fail(new Error('the page drew fewer than 4 frames in 60 s: it hangs, or is hidden')), 60000 + least)
  let frames = 0
  const next = () => {
    // A finger's throw scrolls on after the finger has gone.
    if (scrollY !== at) [at, begun, frames] = [scrollY, performance.now(), 0]
    return ++frames > 3 && performance.now() - begun >= least ? done() : requestAnimationFrame(next)
  }
  requestAnimationFrame(next)
})"""


def come_to_rest(page: Page, least_ms: int = 0) -> None:
    """Return when what was done before is drawn: some frames later, however long a busy machine takes for a frame.

    A page that scrolls is not at rest: the frames and the `least_ms` count from where it stands still."""
    page.evaluate(REST, least_ms)


@contextmanager
def visit(
    browser: Browser, url: str, *, width: int = 1280, height: int = 900, dark: bool = False, **context: Any
) -> Iterator[Visited]:
    """Open `url` in a fresh context (own cookies) and listen to everything that it complains about."""
    scheme = "dark" if dark else "light"
    size = {"width": width, "height": height}
    # A dot that pulses costs a software renderer a third of a core and more for as long as a case is at work.
    still: Any = {"viewport": size, "color_scheme": scheme, "reduced_motion": "reduce"}
    page_context = browser.new_context(**{**still, **context})
    page_context.set_default_timeout(PATIENCE_MS)
    visited = Visited(page_context.new_page())

    def heard(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in HARMLESS):
            visited.complaints.append(f"console {message.type}: {message.text}")

    visited.page.on("console", heard)
    visited.page.on("pageerror", lambda error: visited.complaints.append(f"uncaught: {error}"))
    try:
        visited.page.goto(url)
        yield visited
    finally:
        try:
            page_context.close()
        except PlaywrightError:  # the browser itself has gone: the test has failed already, with a better reason
            visited.complaints.append("the browser has gone")

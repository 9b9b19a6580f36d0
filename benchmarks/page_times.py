"""How long the page takes to show a result of full size, and to switch to another sequence.

    PYTHONPATH=. python benchmarks/page_times.py [--visits 7] [--repository TREE]

A made-up case of 240x240x155 voxels with four sequences is served by the tests' stand-in for the gateway and opened in
Chromium at 1440x900 with WebGL in software, each time in a browser context of its own. Printed are median and longest
seconds from opening the case's address to the server's small picture and to the drawn viewer, and from a click on a
sequence to its first drawn frame: the first time, and once all are there. --repository takes page and stand-in of
another checkout whose page is built, to compare with; its page may know no small picture.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from machine import machine
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

SHAPE = (240, 240, 155)
SEQUENCES = ("t1n", "t1c", "t2w", "t2f")
LOOK_MS = 120_000
_TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))"


def made_up_case() -> Any:
    """A head of smooth tissue with noise in four sequences, and a tumour of four parts."""
    from tests.viewer_gateway import viewed_case

    rng = np.random.default_rng(1)
    place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    inside = (place**2).sum(axis=0) < 0.8
    views = {}
    for number, sequence in enumerate(SEQUENCES):
        tissue = 400 + 150 * np.sin((7 + number) * place[0]) * np.cos(9 * place[1]) * np.sin(8 * place[2])
        views[sequence] = ((tissue + rng.normal(0, 20, SHAPE)) * inside).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    from_centre = ((place - 0.2) ** 2).sum(axis=0)
    for value, size in ((4, 0.06), (2, 0.03), (1, 0.02), (3, 0.006)):
        labels[from_centre < size] = value
    small = io.BytesIO()
    Image.new("RGB", (1080, 355), (40, 60, 80)).save(small, "WEBP")
    return viewed_case("times-case-0000", labels, np.diag([-1.0, -1.0, 1.0, 1.0]), views, quick=small.getvalue())


def switched(page: Page, sequence: str) -> float:
    """Seconds from a click on a sequence to the frame after it is on screen."""
    began = time.perf_counter()
    page.locator(f"[data-sequence-choice={sequence}]").click()
    page.locator(f"[data-sequence-choice={sequence}][aria-pressed=true][aria-busy=false]").wait_for(timeout=LOOK_MS)
    page.evaluate(_TWO_FRAMES)
    return time.perf_counter() - began


def one_visit(browser: Browser, address: str, times: dict[str, list[float]]) -> None:
    """Open the case once and note what each step took."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(address)
    page.locator(".quick-look, .scene[data-ready=true]").first.wait_for(timeout=LOOK_MS)
    if page.locator(".quick-look").count():
        times.setdefault("the server's picture", []).append(time.perf_counter() - began)
    page.locator(".scene[data-ready=true]").wait_for(timeout=LOOK_MS)
    page.evaluate(_TWO_FRAMES)
    times.setdefault("the drawn viewer", []).append(time.perf_counter() - began)
    page.wait_for_timeout(1500)  # the other sequences come while nobody waits
    for key, wanted in (("switch, the first time", ("t2f", "t1n", "t2w")), ("switch, again", ("t2f", "t1n", "t2w"))):
        for sequence in wanted:
            times.setdefault(key, []).append(switched(page, sequence))
    context.close()


def main() -> None:
    """Visit and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--visits", type=int, default=7)
    parser.add_argument("--repository", type=Path, default=Path(__file__).parents[1])
    args = parser.parse_args()
    sys.path[:0] = [str(args.repository), str(args.repository / "src")]
    from tests.browser import launch
    from tests.viewer_gateway import serving

    times: dict[str, list[float]] = {}
    case = made_up_case()
    with serving(case) as url, sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        for _ in range(args.visits):
            one_visit(browser, f"{url}/#/case/times-case-0000", times)
        print(f"Chromium {browser.version}")
        browser.close()
    for what, values in times.items():
        print(f"{what}: median {median(values):.2f} s, longest {max(values):.2f} s of {len(values)}")
    print(machine())


if __name__ == "__main__":
    main()

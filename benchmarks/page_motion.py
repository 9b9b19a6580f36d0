"""What the page's moving parts cost a browser that draws in software: shares of a core.

    PYTHONPATH=. python benchmarks/page_motion.py [--styles viewer/src/styles] [--seconds 8]

Each part stands alone on an empty page of 1280x900 in Chromium without a graphics card, as on a virtual desktop or a
server. Counted is the processor time of all of Chromium's processes. `still` is the same page without it.
--styles takes the style sheets of another checkout, to compare with.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from machine import machine
from playwright.sync_api import Browser, sync_playwright

PARTS = {
    "dot beside a case at work": '<div class="pulse"><span class="pulse-dot"></span>at work</div>',
    "spinner": '<span class="spinner" style="display:block"></span>',
    "bar without a figure": '<progress class="bar"></progress>',
    "still": "<p>at work</p>",
}
TICKS = os.sysconf("SC_CLK_TCK")


def chromium_seconds() -> float:
    """Processor seconds that all processes of Chromium have used."""
    used = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and "chrom" in (process / "comm").read_text():
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                used += int(fields[11]) + int(fields[12])
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            continue
    return used / TICKS


def share(browser: Browser, styles: str, part: str, seconds: float) -> float:
    """Share of a core while this part is on the page."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_content(f"<style>{styles}</style><main>{part}</main>")
    time.sleep(1)
    before, start = chromium_seconds(), time.monotonic()
    time.sleep(seconds)
    found = (chromium_seconds() - before) / (time.monotonic() - start)
    page.close()
    return found


def main() -> None:
    """Print a share for each part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--styles", type=Path, default=Path(__file__).parents[1] / "viewer/src/styles")
    parser.add_argument("--seconds", type=float, default=8.0)
    chosen = parser.parse_args()
    from tests.browser import launch

    styles = "\n".join(path.read_text(encoding="utf-8") for path in sorted(chosen.styles.glob("*.css")))
    print(machine())
    with sync_playwright() as driver:
        browser = launch(driver.chromium)
        for name, part in PARTS.items():
            print(f"{name:<28}{100 * share(browser, styles, part, chosen.seconds):6.1f} %", flush=True)
        browser.close()


if __name__ == "__main__":
    main()

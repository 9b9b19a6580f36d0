"""Every page by axe, in light and dark, on a phone and on a wide screen; and the whole way in by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.browser import visit
from tests.viewer_gateway import ViewedCase, built_page, serving, viewed_case

from hope.testing.fleet import Fleet, small_scan

pytestmark = pytest.mark.timeout(300)

LOOKS = [(width, dark) for width in (390, 1400) for dark in (False, True)]
SHOWN_MS = 90_000


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """`hope up` whose segmentation takes long enough to look at its progress."""
    built_page()
    fleet = Fleet(tmp_path_factory.mktemp("platform"), {"HOPE_SHORT_SECONDS": "segment:90,0.05"})
    try:
        fleet.start("up")
        fleet.wait_ready()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that the server takes."""
    path = tmp_path_factory.mktemp("scans") / "head-t1c.nii"
    path.write_bytes(small_scan())
    return path


def assert_fine(page: Page, where: str) -> None:
    """In every look: nothing that axe objects to, and nothing wider than the screen."""
    wide = page.viewport_size or {"width": 0, "height": 0}
    for width, dark in LOOKS:
        page.set_viewport_size({"width": width, "height": wide["height"]})
        page.emulate_media(color_scheme="dark" if dark else "light", reduced_motion="reduce")
        look = f"{where}, {width} px, {'dark' if dark else 'light'}"
        found = Axe().run(page)
        assert found.violations_count == 0, f"{look}\n{found.generate_report()}"
        needed = page.evaluate("document.documentElement.scrollWidth")
        assert needed <= width, f"{look}: {needed} px wide"


def agree_and_open(page: Page) -> None:
    page.locator("[data-act=agree]").check()
    page.locator("[data-act=own]").click()
    page.locator("[data-page=case][data-view=upload]").wait_for()


def test_start_upload_and_progress_are_accessible(browser: Browser, platform: Fleet, scan: Path) -> None:
    with visit(browser, platform.url) as visited:
        page = visited.page
        page.locator("[data-page=start]").wait_for()
        page.locator("[data-act=own]").click()
        page.locator("#terms-first").wait_for()
        assert_fine(page, "start, box not ticked")
        agree_and_open(page)
        page.locator("input[data-file=t1c]").set_input_files(scan)
        page.locator("[data-slot=t1c][data-slot-state=stored]").wait_for()
        page.locator("input[data-file=t1n]").set_input_files(
            {"name": "head-t1n.nii", "mimeType": "", "buffer": b"no scan"}
        )
        page.locator("[data-slot=t1n][data-slot-state=problem]").wait_for()
        page.locator("input[data-file=many]").set_input_files({"name": "letter.txt", "mimeType": "", "buffer": b"-"})
        page.locator(".leftovers").wait_for()
        for fold in page.locator("summary").all():
            fold.click()
        assert_fine(page, "upload with a scan, a refused file, one without a place, and everything unfolded")
        problem = {"problem": "t2w and t2f are the same image; give each its own scan", "remarks": []}
        page.route("**/checks", lambda route: route.fulfill(json=problem))
        for sequence in ("t1n", "t2w", "t2f"):
            page.locator(f"input[data-file={sequence}]").set_input_files(scan)
            page.locator(f"[data-slot={sequence}][data-slot-state=stored]").wait_for()
        page.locator("[data-refused=true]").wait_for()
        expect(page.locator("[data-act=start]")).to_have_attribute("aria-disabled", "true")
        expect(page.locator("#needs")).to_contain_text("T2 and T2 FLAIR are the same image")
        assert_fine(page, "scans that a run would refuse")
        page.unroute("**/checks")
        page.reload()  # what is said comes from the scans that are there, not from what was said before
        page.locator("[data-checks=done][data-refused=false]").wait_for(state="attached")
        expect(page.locator("#needs")).to_contain_text("All four scans are there and fit together.")
        page.locator("[data-popover=rename] summary").click()
        page.locator("[name=label]").fill("=left, frontal")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("=left, frontal")
        page.keyboard.press("Escape")
        page.get_by_role("link", name="All cases").click()
        expect(page.locator(".case-line a")).to_have_text("=left, frontal")
        assert_fine(page, "list of cases")
        with page.expect_download() as table:
            page.locator("[data-act=csv]").click()
        assert '"\'=left, frontal"' in Path(table.value.path()).read_text()
        page.locator(".case-line a").click()
        page.locator("[data-act=start]").click()
        page.locator("[data-stage=segment][data-state=running]").wait_for(timeout=SHOWN_MS)
        assert_fine(page, "progress")
        page.locator("[data-act=cancel]").click()
        page.locator("[data-page=case][data-state=cancelled]").wait_for()
        page.locator("[data-act=delete-case]").click()
        page.locator("[data-dialog=delete-case]").wait_for()
        assert_fine(page, "cancelled, with the question before deletion")
        page.locator("[data-act=delete-case-yes]").click()
        page.locator("[data-receipt]").wait_for()
        assert_fine(page, "receipt")
        # A first visit asks whether there is a session; the file that is no scan is refused.
        visited.assert_quiet("401", "415", "422")


def finished_case() -> ViewedCase:
    shape = (24, 24, 16)
    labels = np.zeros(shape, np.uint8)
    labels[8:14, 8:14, 6:10] = 1
    before = labels.copy()
    before[2:4, 2:4, 2] = 4
    head = np.full(shape, 300, np.int16)
    head[4:20, 4:20, 2:14] += np.arange(16, dtype=np.int16)[:, None, None] * 20
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    return viewed_case("accessible-0000", labels, affine, {"t1c": head, "t2f": head}, before=before)


def test_the_result_is_accessible(browser: Browser) -> None:
    case = finished_case()
    with serving(case) as address, visit(browser, f"{address}/#/case/{case.id}") as visited:
        page = visited.page
        page.locator(".scene[data-ready=true]").wait_for(timeout=SHOWN_MS)
        page.locator("[data-results=ready]").wait_for()
        page.get_by_role("button", name="Brush", exact=True).click()
        assert_fine(page, "result")
        page.locator("[data-tab=quality]").click()
        page.locator("[data-act=cleaning-all]").check()
        assert_fine(page, "result with its quality")
        visited.assert_quiet()


# What the keyboard must reach: everything that can be clicked, except what a real button opens for it.
INTERACTIVE = "a[href], button, select, summary, textarea, input:not([tabindex='-1'])"
# A ring around the element, or around the label that wraps a hidden file input.
RING = """element => {
    const ringed = at => {
        const style = getComputedStyle(at)
        return (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2) || style.boxShadow !== 'none'
    }
    const box = element.getBoundingClientRect()
    const seen = box.width > 4 && box.height > 4
    const shown = seen ? element : element.closest('label')
    return shown !== null && ringed(shown)
}"""


def walk(page: Page) -> None:
    """Tab through the page once: every interactive element gets the focus, and shows it."""
    page.evaluate("document.activeElement?.blur(); window.getSelection()?.removeAllRanges()")
    wanted = page.locator(INTERACTIVE).evaluate_all(
        "all => { const on = all.filter(at => at.checkVisibility() && !at.disabled);"
        " on.forEach((at, number) => at.setAttribute('data-walk', number)); return on.map(at => at.outerHTML) }"
    )
    reached: set[int] = set()
    for _ in range(3 * len(wanted)):
        page.keyboard.press("Tab")
        here = page.evaluate("document.activeElement?.getAttribute('data-walk')")
        if here is None or int(here) in reached:
            continue
        reached.add(int(here))
        assert page.locator(f"[data-walk='{here}']").evaluate(RING), f"no visible focus: {wanted[int(here)]}"
        if len(reached) == len(wanted):
            return
    missed = [html for number, html in enumerate(wanted) if number not in reached]
    raise AssertionError("not reached by Tab:\n" + "\n".join(missed))


def test_all_is_reached_by_keyboard(browser: Browser, platform: Fleet, scan: Path) -> None:
    with visit(browser, platform.url) as visited:
        page = visited.page
        # The browser learns well before the first Enter that file choosers are answered here.
        page.on("filechooser", lambda _: None)
        page.locator("[data-page=start]").wait_for()
        walk(page)
        page.locator("[data-act=agree]").focus()
        page.keyboard.press("Space")
        page.locator("[data-act=own]").focus()
        page.keyboard.press("Enter")
        page.locator("[data-page=case][data-view=upload]").wait_for()
        expect(page.locator("main")).to_be_focused()
        page.locator("[data-act=choose-t1c]").focus()
        expect(page.locator("[data-act=choose-t1c]")).to_be_focused()
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        chooser.value.set_files(scan)
        page.locator("[data-slot=t1c][data-slot-state=stored]").wait_for()
        for fold in page.locator("summary").all():
            fold.focus()
            page.keyboard.press("Enter")
        walk(page)
        page.locator("[data-act=delete-case]").focus()
        page.keyboard.press("Enter")
        page.locator("[data-dialog=delete-case]").wait_for()
        page.keyboard.press("Escape")
        expect(page.locator("[data-act=delete-case]")).to_be_focused()
        visited.assert_quiet("401")

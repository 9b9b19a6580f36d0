"""One current version: after a correction the whole page shows its volumes, and a second tab is told."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser import visit
from tests.viewer_gateway import ViewedCase, serving, viewed_case

pytestmark = pytest.mark.timeout(300)

READY_MS = 90_000
AFFINE = np.diag([-2.0, -2.0, 2.5, 1.0])


def _case() -> ViewedCase:
    labels = np.zeros((20, 22, 16), np.uint8)
    labels[6:12, 6:12, 5:9] = 1
    return viewed_case("version-case-0000", labels, AFFINE, {"t1c": np.full(labels.shape, 300, np.int16)})


def stroke(page: Page, down: int) -> None:
    """Take one voxel away at the crosshair, some slices below it."""
    page.locator(".scene-canvas").focus()
    for _ in range(down):
        page.keyboard.press("PageDown")
    page.keyboard.press("b")
    page.locator("[aria-label='1 voxel wide']").click()
    page.locator(".scene-canvas").focus()
    page.keyboard.press("e")
    page.keyboard.press("Space")
    expect(page.locator(".scene")).to_have_attribute("data-unsaved", "true")
    page.keyboard.press("e")
    page.keyboard.press("Escape")


def save(page: Page, version: int) -> None:
    page.get_by_role("button", name="Save as new version").click()
    expect(page.locator(".scene")).to_have_attribute("data-version", str(version))
    expect(page.locator(".scene")).to_have_attribute("data-unsaved", "false")


def assert_current(page: Page, case: ViewedCase) -> None:
    """Pictures, headline and label list show what the server says of the newest version."""
    version, wt = len(case.saved), case.versions()[-1]["volumes_ml"]["WT"]["ml"]
    expect(page.locator(".scene")).to_have_attribute("data-version", str(version))
    expect(page.locator(".headline")).to_have_attribute("data-version", str(version))
    expect(page.locator("[data-headline=WT]")).to_have_attribute("data-ml", str(wt))
    expect(page.locator("[data-label=WT] .number")).to_contain_text(f"{wt:.2f} ml")
    expect(page.locator(".scene-caption").first).to_have_text(f"Volumes of your version {version}")


def test_two_tabs_correct_one_case_and_nothing_is_lost(browser: Browser) -> None:
    case = _case()
    with serving(case) as address, visit(browser, f"{address}/#/case/{case.id}") as visited:
        one = visited.page
        two = one.context.new_page()
        two.goto(one.url)
        for page in (one, two):
            page.locator(".scene[data-ready=true]").wait_for(timeout=READY_MS)
        stroke(one, 0)
        save(one, 1)
        assert_current(one, case)
        # Whoever has drawn nothing sees the new version by itself.
        expect(two.get_by_text("Version 1 was saved elsewhere; it is on screen now.")).to_be_visible()
        assert_current(two, case)

        # Whoever has drawn is told, and keeps the strokes.
        stroke(two, 1)
        drawn = two.locator(".scene").get_attribute("data-counts")
        stroke(one, 1)
        save(one, 2)
        expect(two.get_by_role("alert")).to_contain_text("Version 2 was saved elsewhere meanwhile")
        expect(two.locator(".scene")).to_have_attribute("data-unsaved", "true")
        assert two.locator(".scene").get_attribute("data-counts") == drawn
        save(two, 3)
        assert two.locator(".scene").get_attribute("data-counts") == drawn
        assert_current(two, case)
        assert_current(one, case)

        one.reload()
        one.locator(".scene[data-ready=true]").wait_for(timeout=READY_MS)
        assert_current(one, case)
        one.locator("[data-tab=files]").click()
        expect(one.locator("[data-corrected='3']")).to_be_visible()
        expect(one.locator("[data-file-name$='seg-v3.nii.gz']")).to_be_visible()
        expect(one.locator("[data-file-name$='seg-v2.nii.gz']")).to_be_hidden()

        # How far the correction is from the model's mask: it only took voxels away.
        one.locator("[data-tab=versions]").click()
        one.locator("[name=against]").select_option("0")
        before, after = int((case.labels > 0).sum()), int(drawn.split("1:")[1].split()[0]) if drawn else 0
        assert 0 < after < before
        for part in ("ET", "WT"):
            dice = f"{2 * after / (after + before):.4f}"
            expect(one.locator(f"[data-agreement={part}]")).to_have_attribute("data-dice", dice)
        expect(one.locator("[data-agreement=ED]")).to_have_attribute("data-dice", "none")
        one.get_by_role("button", name="Both outlines on all sequences").click()
        expect(one.locator("[data-side-by-side='t1c']")).to_be_visible()
        visited.assert_quiet()

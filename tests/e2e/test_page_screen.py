"""The result is a screen: pictures, headline and the worst remark are seen without scrolling, and a phone can look."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect
from tests.browser import come_to_rest, visit
from tests.page_result import READY_MS
from tests.viewer_gateway import ViewedCase

pytestmark = pytest.mark.timeout(300)

SIZES = ((1440, 900), (1024, 768), (1920, 1080))


def assert_in_sight(part: Locator, where: str) -> None:
    """Every edge lies on the screen while the page is scrolled to its top."""
    screen = part.page.viewport_size
    box = part.bounding_box()
    assert screen and box, where
    assert box["x"] >= 0 and box["y"] >= 0, f"{where}: {box}"
    assert box["x"] + box["width"] <= screen["width"] and box["y"] + box["height"] <= screen["height"], (
        f"{where}: {box}"
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_all_that_matters_is_seen_without_scrolling(result: Page, width: int, height: int) -> None:
    result.set_viewport_size({"width": width, "height": height})
    result.evaluate("scrollTo(0, 0)")
    come_to_rest(result, 200)  # the pictures follow the size of the screen
    for part in (".scene-canvas", ".headline", "[data-worst]", "[data-verdict]", ".scene-readout", ".side-tab-list"):
        assert_in_sight(result.locator(part), f"{part} at {width} x {height}")
    canvas = result.locator(".scene-canvas").bounding_box()
    assert canvas and canvas["width"] * canvas["height"] > 0.38 * width * height
    toolbar = result.locator(".scene-toolbar").bounding_box()
    assert toolbar and toolbar["height"] < 48, "the buttons stand in more than one row"


def test_the_headline_says_volumes_quality_and_the_worst_remark(result: Page) -> None:
    result.set_viewport_size({"width": 1440, "height": 900})
    wt = result.locator("[data-headline=WT]")
    expect(wt).to_contain_text("1.64 ml (1.31 to 1.97)")
    expect(result.locator("[data-headline=TC]")).to_contain_text("0.78 ml")
    expect(result.locator("[data-verdict]")).to_have_text("Expected quality: check")
    worst = result.locator("[data-worst]")
    expect(worst).to_have_attribute("data-worst", "unlike_training")
    worst.click()
    expect(result.locator("[data-panel=quality]")).to_be_visible()
    expect(result.locator("[data-panel=quality] .flags li").first).to_have_attribute("data-flag", "unlike_training")
    expect(result.locator("[data-expected-quality]")).to_contain_text("Whole tumour: Dice about 0.81 (0.50 to 0.92)")


def test_every_tab_by_keyboard_and_by_axe(result: Page) -> None:
    result.locator("[data-tab=labels]").click()
    for name in ("quality", "measure", "compare", "versions", "files", "labels"):
        result.keyboard.press("ArrowRight")
        expect(result.locator(f"[data-tab={name}]")).to_be_focused()
        expect(result.locator(f"[data-panel={name}]")).to_be_visible()
        expect(result.locator("[role=tabpanel]:visible")).to_have_count(1)
        found = Axe().run(result)
        assert found.violations_count == 0, f"{name}\n{found.generate_report()}"
    contrast = result.locator("[data-popover=contrast]")
    contrast.locator("summary").focus()
    result.keyboard.press("Enter")
    expect(result.locator("[name=window]")).to_be_visible()
    result.keyboard.press("Escape")
    expect(contrast.locator("summary")).to_be_focused()
    expect(result.locator("[name=window]")).to_be_hidden()


def test_the_slider_goes_through_the_slices(result: Page) -> None:
    slider = result.locator("[name=slice]")
    slider.fill("3")
    expect(slider).to_have_attribute("aria-valuetext", "axial slice 3 of 20")
    expect(result.locator(".scene-readout")).to_have_attribute("data-mm", re.compile(r" 5\.000$"))


def cross_of(page: Page, plane: str) -> tuple[float, float]:
    """Where the crosshair is drawn on a plane, in pixels of the canvas."""
    places = dict(
        part.split(":") for part in (page.locator(".scene-overlay").get_attribute("data-places") or "").split()
    )
    x, y = places[plane].split(",")
    return float(x), float(y)


def test_what_lies_over_the_pictures_fits_them(result: Page) -> None:
    result.set_viewport_size({"width": 1440, "height": 900})
    come_to_rest(result, 200)
    canvas, overlay = result.locator(".scene-canvas"), result.locator(".scene-overlay")
    box = canvas.bounding_box()
    assert box
    for plane, left, top in (("axial", 0.2, 0.3), ("coronal", 0.7, 0.2), ("sagittal", 0.3, 0.7)):
        spot = (left * box["width"], top * box["height"])
        result.mouse.click(box["x"] + spot[0], box["y"] + spot[1])
        come_to_rest(result, 150)
        # The crosshair goes to the middle of the voxel: at most half a voxel of 3 mm beside the click.
        assert np.allclose(cross_of(result, plane), spot, atol=14), plane
    expect(overlay).to_have_attribute("data-slice-text", re.compile(r"Sagittal \d+/30, 1.2 mm"))
    expect(overlay).to_have_attribute("data-sequence-text", "T1 with contrast")
    result.locator("[data-sequence-choice=t2f]").click()
    expect(overlay).to_have_attribute("data-sequence-text", "T2 FLAIR, resampled to T1 with contrast")
    result.locator("[data-act=full-screen]").click()
    expect(result.locator(".scene:fullscreen")).to_be_visible()
    result.evaluate("document.exitFullscreen()")
    result.locator("[data-sequence-choice=t1c]").click()


def test_a_folder_of_dicom_becomes_objects(result: Page, case: ViewedCase, tmp_path: Path) -> None:
    """What is sent holds the images of the folder under numbers, and no name of a file."""
    result.set_viewport_size({"width": 1440, "height": 900})
    image = bytes(128) + b"DICM" + bytes(200)
    for name, content in (("SURNAMEMARK1.dcm", image), ("IM2", image), ("letter.txt", b"x" * 200)):
        (tmp_path / name).write_bytes(content)
    result.locator("[data-tab=files]").click()
    card = result.locator("[data-objects=idle]")
    expect(card).to_contain_text("original T1 with contrast series")
    with result.expect_download() as started:
        card.locator("[data-file=objects-folder]").set_input_files(tmp_path)
    assert started.value.suggested_filename == f"{case.name}-dicom.zip"
    assert started.value.path().read_bytes() == b"PK a stand-in"
    expect(card).to_be_visible()
    (sent,) = case.series
    assert b"SURNAMEMARK" not in sent
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert archive.namelist() == ["00001.dcm", "00002.dcm"] and archive.testzip() is None
    result.locator("[data-tab=labels]").click()


def counts(page: Page) -> dict[int, int]:
    """Voxels per label, as the panel says."""
    text = page.locator(".scene").get_attribute("data-counts") or ""
    return {int(label): int(number) for label, number in (part.split(":") for part in text.split())}


def test_parts_are_removed_relabelled_and_joined_and_all_is_taken_back(result: Page) -> None:
    result.set_viewport_size({"width": 1440, "height": 900})
    result.locator("[data-tab=labels]").click()
    before = counts(result)
    canvas, undo, redo = (
        result.locator(".scene-canvas"),
        *(result.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo")),
    )
    result.get_by_role("button", name="Brush", exact=True).click()
    result.locator("[data-label=ET]").get_by_role("button").last.click()  # go to it
    canvas.focus()
    result.keyboard.press("Shift+Digit3")
    while (result.locator(".scene-readout").get_attribute("data-label-value")) != "1":
        result.keyboard.press("j")
        come_to_rest(result, 100)
    result.locator("[data-act=relabel-part]").click()
    assert counts(result) == before | {1: 0, 3: before[1]}
    undo.click()
    assert counts(result) == before
    redo.click()
    assert counts(result)[3] == before[1]
    undo.click()
    result.locator("[data-act=remove-part]").click()
    assert counts(result) == before | {1: 0}
    undo.click()
    canvas.focus()
    result.keyboard.press("[")
    for key in ("a", "a"):  # the plane that is filled through
        result.keyboard.press(key)
    result.mouse.move(0, 0)
    result.locator("[name=slice]").fill("14")
    canvas.focus()
    result.keyboard.press("Space")
    result.locator("[name=slice]").fill("17")
    canvas.focus()
    result.keyboard.press("Space")
    result.locator("[name=slice]").fill("15")
    painted = counts(result)
    assert painted[3] == 2
    result.locator("[data-act=interpolate]").click()
    assert counts(result) == painted | {3: 4}
    for _ in range(3):
        undo.click()
    assert counts(result) == before
    expect(result.locator(".scene")).to_have_attribute("data-unsaved", "false")
    result.get_by_role("button", name="Brush", exact=True).click()


def swipe(page: Page, x: float, y: float, by: float) -> None:
    """Move one finger by `by` pixels down the screen."""
    fingers = page.context.new_cdp_session(page)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for step in range(1, 13):
        point = {"x": x, "y": y + by * step / 12}
        fingers.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        page.wait_for_timeout(20)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    come_to_rest(page, 300)


def test_a_phone_looks_and_scrolls(browser: Browser, address: str) -> None:
    with visit(browser, address, width=390, height=844, has_touch=True, is_mobile=True) as visited:
        page = visited.page
        scene = page.locator(".scene[data-ready=true]")
        scene.wait_for(timeout=READY_MS)
        expect(scene).to_have_attribute("data-view", "axial")
        expect(page.get_by_role("button", name="Brush", exact=True)).to_be_hidden()
        before = page.locator(".scene-readout").get_attribute("data-mm") or ""
        canvas = page.locator(".scene-canvas")
        box = canvas.bounding_box()
        assert box
        page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
        expect(page.locator(".scene-readout")).not_to_have_attribute("data-mm", before)
        tapped = page.locator(".scene-readout").get_attribute("data-mm") or ""
        swipe(page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, -240)
        assert page.evaluate("scrollY") > 100, "a finger on the pictures does not scroll the page"
        expect(page.locator(".scene-readout")).to_have_attribute("data-mm", tapped)
        page.locator("[name=slice]").fill("4")
        expect(page.locator("[name=slice]")).to_have_attribute("aria-valuetext", "axial slice 4 of 20")
        page.locator("[data-act=side-by-side]").click()
        linked = page.locator(".scene-side-by-side")
        expect(linked).to_have_attribute("data-side-by-side", "t1n t1c t2w t2f")
        expect(linked).to_be_focused()  # which brings all of it on the screen
        page.evaluate("scrollTo(0, 0)")
        box = linked.bounding_box()
        assert box
        before = page.locator(".scene-readout").get_attribute("data-mm") or ""
        pinch(page, box["x"] + box["width"] / 4, box["y"] + box["height"] / 4, 60, 150)
        assert 2 < float(linked.get_attribute("data-zoom") or 0) < 3
        assert page.evaluate("scrollY") == 0 and page.evaluate("visualViewport.scale") == 1
        expect(page.locator(".scene-readout")).to_have_attribute("data-mm", before)
        page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
        expect(page.locator(".scene-readout")).not_to_have_attribute("data-mm", before)
        visited.assert_quiet()


def pinch(page: Page, x: float, y: float, before: float, after: float) -> None:
    """Two fingers side by side go from one distance to another."""
    fingers = page.context.new_cdp_session(page)
    for step in range(11):
        apart = before + (after - before) * step / 10
        points = [{"x": x - apart / 2, "y": y, "id": 1}, {"x": x + apart / 2, "y": y, "id": 2}]
        kind = "touchMove" if step else "touchStart"
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(20)
    fingers.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    come_to_rest(page, 200)


def test_the_brush_keeps_to_intensities(result: Page) -> None:
    """All voxels of the scan are 300: a brush for 0 to 100 changes nothing, one for 250 to 350 paints."""
    result.set_viewport_size({"width": 1440, "height": 900})
    result.locator("[data-tab=labels]").click()
    before, canvas = counts(result), result.locator(".scene-canvas")
    result.get_by_role("button", name="Brush", exact=True).click()
    canvas.focus()
    result.keyboard.press("Shift+Digit3")
    result.locator("[name=slice]").fill("2")
    result.locator("[data-act=limit]").click()
    for high, added in (("100", 0), ("350", 1)):
        result.locator("[name=limit-low]").fill("0")
        result.locator("[name=limit-high]").fill(high)
        result.locator("[name=limit-high]").press("Tab")
        canvas.focus()
        result.keyboard.press("Space")
        assert (counts(result)[3] > before[3]) is bool(added), high
    while counts(result) != before:
        result.get_by_role("button", name="Undo", exact=True).click()
    result.locator("[data-act=limit]").click()
    result.get_by_role("button", name="Brush", exact=True).click()


def test_the_brush_keeps_to_the_brain(result: Page) -> None:
    """The four lowest slices lie outside of the brain: there a stroke changes nothing, above it paints."""
    result.set_viewport_size({"width": 1440, "height": 900})
    result.locator("[data-tab=labels]").click()
    before, canvas, brain = counts(result), result.locator(".scene-canvas"), result.locator("[data-act=brain-only]")
    result.get_by_role("button", name="Brush", exact=True).click()
    brain.click()
    expect(brain).to_have_attribute("aria-pressed", "true")
    canvas.focus()
    result.keyboard.press("Shift+Digit3")
    for slice_number, added in (("4", False), ("5", True)):
        result.locator("[name=slice]").fill(slice_number)
        canvas.focus()
        result.keyboard.press("Space")
        assert (counts(result)[3] > before[3]) is added, slice_number
    while counts(result) != before:
        result.get_by_role("button", name="Undo", exact=True).click()
    brain.click()
    expect(brain).to_have_attribute("aria-pressed", "false")
    result.get_by_role("button", name="Brush", exact=True).click()

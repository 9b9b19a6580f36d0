"""The pictures of a result: all sequences side by side, zoomed together; the diameters of lesions, told and moved."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, expect
from tests.browser import come_to_rest
from tests.page_result import READY_MS

pytestmark = pytest.mark.timeout(300)


def test_the_diameters_are_told_and_found(result: Page) -> None:
    result.locator("[data-tab=measure]").click()
    tab = result.locator("[data-measured='1']")
    lesion = tab.locator("[data-lesion='1']")
    expect(lesion).to_contain_text("yes, near the limit Target")
    assert float(tab.locator("[data-sum]").get_attribute("data-sum") or 0) > 60
    before = result.locator(".scene-readout").get_attribute("data-mm") or ""
    lesion.get_by_role("button").click()
    expect(result.locator(".scene-readout")).not_to_have_attribute("data-mm", before)
    expect(result.locator(".scene-readout")).not_to_have_attribute("data-label-value", "0")
    result.locator("[data-tab=labels]").click()


def middle_of(part: Locator) -> tuple[float, float]:
    """Where the middle of an element is on the screen."""
    box = part.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def pixels_between(page: Page, one: str, other: str) -> float:
    """How far two ends of diameters lie apart on the screen."""
    (x, y), (u, v) = (middle_of(page.locator(f"[data-end='1 axial {end}']")) for end in (one, other))
    return float(np.hypot(u - x, v - y))


def test_the_lines_are_moved_by_pointer_and_keyboard_and_that_is_said(result: Page) -> None:
    """Lengths follow the hand at once; table, sums and picture say "moved by hand"; resetting brings all back."""
    result.set_viewport_size({"width": 1440, "height": 900})
    result.locator("[data-tab=measure]").click()
    row = result.locator("[data-lesion='1']")
    row.get_by_role("button").first.click()
    ends, size, sums = result.locator(".scene-end"), row.locator("[data-diameters]"), result.locator("[data-sum]")
    expect(ends).to_have_count(4)
    computed, computed_sum = size.inner_text(), sums.inner_text()
    long_mm, short_mm = (float(part) for part in computed.split(" \u00d7 "))
    mm_per_pixel = long_mm / pixels_between(result, "long 0", "long 1")
    assert abs(mm_per_pixel / (short_mm / pixels_between(result, "short 0", "short 1")) - 1) < 0.05

    x, y = middle_of(result.locator("[data-end='1 axial long 1']"))
    result.mouse.move(x, y)
    result.mouse.down()
    result.mouse.move(x + 40, y + 40, steps=8)
    result.mouse.up()
    expect(row).to_have_attribute("data-moved", "true")
    expect(row).to_contain_text("Moved by hand")
    expect(sums).to_contain_text("moved by hand")
    come_to_rest(result, 200)  # the last frame
    dragged = mm_per_pixel * pixels_between(result, "long 0", "long 1")
    other = mm_per_pixel * pixels_between(result, "short 0", "short 1")
    now = [float(part) for part in size.inner_text().split(" \u00d7 ")]
    assert np.allclose(now, sorted((dragged, other), reverse=True), atol=0.15) and now != [long_mm, short_mm]

    result.locator("[data-end='1 axial short 0']").focus()
    place = result.locator(".scene-readout").get_attribute("data-mm")
    for _ in range(4):
        result.keyboard.press("ArrowUp")
    result.keyboard.press("Shift+ArrowUp")
    expect(result.locator(".scene-readout")).to_have_attribute("data-mm", place or "")
    come_to_rest(result, 200)
    moved = mm_per_pixel * pixels_between(result, "short 0", "short 1")
    assert abs(moved - other) > 1
    expect(result.locator("[data-end='1 axial short 0']")).to_be_focused()
    name = result.locator("[data-end='1 axial short 0']").get_attribute("aria-label") or ""
    said = re.search(r"end 1\. ([\d.]+) mm, moved by hand", name)
    assert said and abs(float(said[1]) - moved) < 0.15, name
    found = Axe().run(result)
    assert found.violations_count == 0, found.generate_report()

    with result.expect_download() as started:
        result.locator("[data-act=save-diameters]").click()
    assert started.value.suggested_filename == "lesions-moved-by-hand.csv"
    with started.value.path().open(newline="") as stream:
        (saved,) = csv.DictReader(stream)
    assert saved["moved_by_hand"] == "yes" and saved["long_low_mm"] == ""
    shown = [float(part) for part in size.inner_text().split(" \u00d7 ")]
    assert np.allclose([float(saved["long_mm"]), float(saved["short_mm"])], shown, atol=0.06)

    # Another tab of the panel, and another page of ours: the lines are where they were left.
    words = size.inner_text()
    result.locator("[data-tab=labels]").click()
    expect(ends).to_have_count(0)
    here = result.evaluate("location.hash")
    result.evaluate("location.hash = '#/'")
    result.locator("[data-page=home]").wait_for()
    result.evaluate(f"location.hash = '{here}'")
    result.locator(".scene[data-ready=true]").wait_for(timeout=READY_MS)
    result.locator("[data-tab=measure]").click()
    expect(size).to_have_text(words)
    row.get_by_role("button").first.click()
    expect(ends).to_have_count(4)
    row.locator("[data-act=reset-lines]").click()
    expect(size).to_have_text(computed)
    expect(sums).to_have_text(computed_sum)
    expect(row).to_have_attribute("data-moved", "false")
    result.locator("[data-tab=labels]").click()


def test_all_sequences_stand_side_by_side_and_move_together(result: Page) -> None:
    result.set_viewport_size({"width": 1440, "height": 900})
    result.locator("[data-tab=labels]").click()
    result.locator("[data-view-choice=axial]").click()
    result.locator("[data-act=side-by-side]").click()
    linked = result.locator(".scene-side-by-side")
    expect(linked).to_have_attribute("data-side-by-side", "t1n t1c t2w t2f")
    expect(linked).to_be_focused()
    expect(linked).to_have_attribute("data-size", re.compile(r"\d+ \d+"))  # it is laid out, and drawn with that
    readout, slider = result.locator(".scene-readout"), result.locator("[name=slice]")
    box = linked.bounding_box()
    assert box
    before = readout.get_attribute("data-mm") or ""
    # A click in the last picture, a quarter of its width from its middle, moves the crosshair of all.
    result.mouse.click(box["x"] + 0.8 * box["width"], box["y"] + 0.7 * box["height"])
    expect(readout).not_to_have_attribute("data-mm", before)
    here = slider.get_attribute("aria-valuetext") or ""
    assert here.startswith("axial slice")
    result.keyboard.press("PageUp")
    expect(slider).not_to_have_attribute("aria-valuetext", here)
    result.keyboard.press("c")
    expect(slider).to_have_attribute("aria-valuetext", re.compile("^coronal slice"))
    # All four show the same slice of the same scan here: four equal pictures, but for their captions.
    shot = np.asarray(Image.open(io.BytesIO(linked.screenshot())).convert("L")).astype(int)
    height, width = shot.shape[0] // 2, shot.shape[1] // 2
    quarters = [shot[y : y + height - 4, x : x + width - 4] for y in (0, height + 2) for x in (0, width + 2)]
    inner = [part[height // 4 : -height // 4, width // 3 : -width // 3] for part in quarters]
    assert all(abs(part - inner[0]).mean() < 4 for part in inner) and inner[0].std() > 5
    found = Axe().run(result)
    assert found.violations_count == 0, found.generate_report()
    result.keyboard.press("Escape")
    expect(linked).to_have_count(0)
    expect(result.locator(".scene")).to_have_attribute("data-view", "axial")
    result.keyboard.press("m")


def crosshair(page: Page, x: float, y: float, reach: int = 40) -> tuple[list[int], list[int]]:
    """Columns and rows around a point of the canvas that the crosshair fills; 0 is the point's own."""
    shot = Image.open(io.BytesIO(page.locator(".scene-side-by-side").screenshot())).convert("RGB")
    rgb = np.asarray(shot).astype(int)
    blue = (rgb[..., 2] - rgb[..., 0] > 60) & (rgb[..., 1] - rgb[..., 0] > 40)
    columns = blue[int(y) - 12 : int(y) + 13, int(x) - reach : int(x) + reach].mean(axis=0)
    rows = blue[int(y) - reach : int(y) + reach, int(x) - 12 : int(x) + 13].mean(axis=1)
    at = [[int(place) - reach for place in np.flatnonzero(line > 0.8)] for line in (columns, rows)]
    return at[0], at[1]


def test_all_sequences_zoom_about_the_pointer_and_move(result: Page) -> None:
    """What is under the pointer stays there; the crosshair is one pixel wide at every zoom and where it was put."""
    result.set_viewport_size({"width": 1440, "height": 900})
    result.locator("[data-act=side-by-side]").click()
    linked, readout = result.locator(".scene-side-by-side"), result.locator(".scene-readout")
    expect(linked).to_have_attribute("data-size", re.compile(r"\d+ \d+"))
    box = linked.bounding_box()
    assert box
    result.keyboard.press("a")
    x, y = 0.21 * box["width"], 0.2 * box["height"]
    result.mouse.click(box["x"] + x, box["y"] + y)
    come_to_rest(result, 150)
    (right,), (down,) = crosshair(result, x, y)  # the middle of the voxel, so that rounding does not matter
    x, y = int(x) + right + 0.5, int(y) + down + 0.5
    here = readout.get_attribute("data-mm") or ""
    result.mouse.move(box["x"] + x, box["y"] + y)
    result.keyboard.down("Control")
    for _ in range(5):
        result.mouse.wheel(0, -100)
        come_to_rest(result, 50)
    result.keyboard.up("Control")
    expect(linked).to_have_attribute("data-zoom", "3.49")
    result.mouse.click(box["x"] + x, box["y"] + y)
    come_to_rest(result, 150)
    expect(readout).to_have_attribute("data-mm", here)
    # In each picture on the same place, which voxels of some 40 pixels now leave room to miss.
    (columns, rows) = crosshair(result, x, y)
    assert len(columns) == len(rows) == 1 and max(abs(columns[0]), abs(rows[0])) < 5
    below = crosshair(result, x, y + (box["height"] + 4) / 2)
    assert np.allclose(below, (columns, rows), atol=1)
    result.mouse.down(button="middle")
    result.mouse.move(box["x"] + x + 10, box["y"] + y + 5, steps=5)
    result.mouse.up(button="middle")
    come_to_rest(result, 150)
    assert np.allclose(crosshair(result, x + 10, y + 5), (columns, rows), atol=1)
    result.keyboard.press("Shift+ArrowLeft")
    come_to_rest(result, 150)
    assert crosshair(result, x + 10, y + 5)[0] != columns
    expect(readout).to_have_attribute("data-mm", here)
    for _ in range(40):  # to the patient's left, out of what was seen: the pictures follow
        result.keyboard.press("ArrowRight")
    come_to_rest(result, 150)
    assert len(crosshair(result, box["width"] / 4, y, reach=int(min(y, box["width"] / 4)) - 8)[1]) == 1
    result.keyboard.press("+")
    expect(linked).to_have_attribute("data-zoom", "4.36")
    result.keyboard.press("0")
    expect(linked).to_have_attribute("data-zoom", "1.00")
    result.keyboard.press("+")
    result.mouse.dblclick(box["x"] + x, box["y"] + y)
    expect(linked).to_have_attribute("data-zoom", "1.00")
    result.keyboard.press("Escape")
    result.keyboard.press("m")

"""The viewer's panel as its users meet it: looking, hiding, correcting, saving, and what happens when things break."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Dialog, Locator, Page, Route, expect
from tests.browser import visit
from tests.viewer_gateway import ViewedCase, serving, viewed_case

READY_MS = 90_000
AFFINE = np.diag([-1.2, -1.2, 2.5, 1.0])
AFFINE[:3, 3] = (18, 20, -25)


def _case() -> ViewedCase:
    """t1c and t2f are given, t2w is synthetic, t1n is missing; post-processing took a speck of ET away.

    Brightness matching changed t2f alone.
    """
    shape = (30, 32, 20)
    labels = np.zeros(shape, np.uint8)
    labels[8:14, 8:14, 6:12] = 1
    labels[14:18, 8:14, 6:12] = 2
    labels[8:18, 14:18, 6:12] = 4
    before = labels.copy()
    before[22:24, 22:24, 4] = 1
    x, y, z = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    head = ((x - 15) ** 2 / 180 + (y - 16) ** 2 / 200 + (z - 10) ** 2 / 80 < 1).astype(np.int16)
    picture = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 30)).save(picture, "PNG")
    views = {"t1c": head * (200 + 10 * x), "t2f": head * (500 + 5 * y), "t2w": head * (100 + z)}
    views = {key: voxels.astype(np.int16) for key, voxels in views.items()}
    matched = {"t2f": (head * (90 + y)).astype(np.int16)}
    said = {"t1c": {"changed": False, "reason": "its edges changed"}, "t2f": {"changed": True}}
    unsure = np.zeros(shape, np.float32)
    unsure[8:18, 8:14, 6:12] = 0.5
    facts = {"asked": "histogram", "style": "made up", "sequences": said}
    return viewed_case(
        "panel-case-0000", labels, AFFINE, views, before=before, missing=("t2w",), preview=picture.getvalue(),
        matched=matched, harmonization=facts, uncertainty=unsure,
    )  # fmt: skip


@pytest.fixture
def case() -> ViewedCase:
    """A fresh case for every test: they save."""
    return _case()


@contextmanager
def panel(browser: Browser, case: ViewedCase, *expected: str, ready: bool = True) -> Iterator[Page]:
    """The case's page; at its end nothing unexpected was complained about."""
    with serving(case) as address, visit(browser, f"{address}/#/case/{case.id}", height=1000) as visited:
        if ready:
            visited.page.locator(".scene[data-ready=true]").wait_for(timeout=READY_MS)
        yield visited.page
    visited.assert_quiet(*expected)


def root(page: Page) -> Locator:
    """The element that tells what is shown."""
    return page.locator(".scene")


def place(page: Page) -> list[float]:
    """World millimetres of the crosshair."""
    page.wait_for_timeout(100)
    return [float(x) for x in (page.locator(".scene-readout").get_attribute("data-mm") or "").split()]


def coloured(page: Page) -> int:
    """How many pixels of the axial picture have a colour, other than the crosshair's."""
    canvas = page.locator(".scene-canvas")
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    rgb = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    rgb = rgb[: rgb.shape[0] // 2, : rgb.shape[1] // 2]
    orange_or_yellow = (rgb[..., 0] - rgb[..., 2]) > 60
    return int(orange_or_yellow.sum())


def stroke(page: Page) -> None:
    """Paint one voxel of CC at the crosshair, by keyboard alone."""
    canvas = page.locator(".scene-canvas")
    canvas.focus()
    if root(page).get_attribute("data-mode") != "draw":
        page.keyboard.press("b")
    page.keyboard.press("Shift+Digit3")
    page.keyboard.press("Space")
    expect(root(page)).to_have_attribute("data-unsaved", "true")


def test_sequences_are_one_click_apart_and_marked(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        expect(root(page)).to_have_attribute("data-sequence", "t1c")
        expect(page.locator("[data-sequence-choice=t1n]")).to_be_disabled()
        expect(page.locator("[data-sequence-choice=t1n]")).to_contain_text("missing")
        expect(page.locator("[data-sequence-choice=t2w]")).to_contain_text("synthetic")
        at, intensity = place(page), page.locator(".scene-readout").inner_text()
        page.locator("[data-sequence-choice=t2f]").click()
        expect(root(page)).to_have_attribute("data-sequence", "t2f")
        assert place(page) == at
        assert page.locator(".scene-readout").inner_text() != intensity
        expect(page.locator("[data-sequence-choice=t2f]")).to_have_attribute("aria-pressed", "true")
        intensity_of = page.locator(".scene-readout .scene-number")
        scan = intensity_of.inner_text()
        after = page.get_by_role("button", name="After brightness matching")
        note = page.locator("#scene-matching")
        contrast = page.locator("[data-popover=contrast] > summary")
        contrast.click()
        expect(note).to_contain_text("as it came")
        after.click()
        expect(root(page)).to_have_attribute("data-matched", "true")
        expect(after).to_have_attribute("aria-pressed", "true")
        expect(note).to_contain_text("FLAIR as the model saw it")
        assert place(page) == at
        assert intensity_of.inner_text() != scan
        page.keyboard.press("Shift+X")  # by keyboard, and back
        expect(root(page)).to_have_attribute("data-matched", "false")
        assert intensity_of.inner_text() == scan
        page.locator("[data-sequence-choice=t1c]").click()
        expect(after).to_be_hidden()  # a click elsewhere closes the panel
        contrast.click()
        expect(after).to_have_attribute("aria-disabled", "true")
        expect(note).to_contain_text("unchanged, so the model saw the original. Its edges changed.")
        page.locator("[data-sequence-choice=t2f]").click()
        page.locator(".scene-canvas").focus()
        page.keyboard.press("Shift+T")  # the one before t2f that there is
        expect(root(page)).to_have_attribute("data-sequence", "t2w")


def test_labels_hide_by_eye_and_by_key_but_not_while_typing(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        full = coloured(page)
        assert full > 100
        page.get_by_role("button", name="Show Enhancing tumour").click()
        fewer = coloured(page)
        assert 0 < fewer < full
        page.locator(".scene-canvas").focus()
        page.keyboard.press("1")
        assert coloured(page) == full
        page.keyboard.press("h")
        expect(page.get_by_role("button", name="Hide all")).to_have_attribute("aria-pressed", "true")
        assert coloured(page) == 0
        page.keyboard.press("h")
        assert coloured(page) == full

        page.get_by_text("Go to", exact=True).click()
        page.locator(".scene-goto [name=x]").fill("")
        page.keyboard.type("1")
        expect(page.get_by_role("button", name="Show Enhancing tumour")).to_have_attribute("aria-pressed", "true")
        assert page.locator(".scene-goto [name=x]").input_value() == "1"

        jump = page.get_by_role("button", name=re.compile("^ED "))
        jump.click()
        expect(page.locator(".scene-readout")).to_have_attribute("data-label-value", "4")


def greens(page: Page, drawn: str) -> int:
    """How many pixels of a canvas are greener than they are red and blue, or yellow without a label's red."""
    picture = page.locator(drawn)
    page.wait_for_timeout(300)
    rgb = np.asarray(Image.open(io.BytesIO(picture.screenshot())).convert("RGB")).astype(int)
    rgb = rgb[: rgb.shape[0] // 2, : rgb.shape[1] // 2]  # the axial picture, or the first of all sequences
    return int(((rgb[..., 1] - rgb[..., 2]) > 60).sum())


def test_where_the_model_is_uncertain_is_coloured_over_every_sequence(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        page.get_by_role("button", name=re.compile("^ET ")).click()
        page.locator(".scene-canvas").focus()
        page.keyboard.press("h")  # labels away: what is coloured is the map
        expect(page.get_by_role("button", name="Hide all")).to_have_attribute("aria-pressed", "true")
        section = page.get_by_role("region", name="Where it is uncertain")
        expect(section).to_contain_text("1 minus the probability of what the mask says. It is about the model")
        expect(page.locator("[data-uncertain-here]")).to_have_count(0)
        before = greens(page, ".scene-canvas")
        section.get_by_role("button", name="Show").click()
        expect(root(page)).to_have_attribute("data-uncertain", "true")
        # The crosshair is in the middle of ET, where the map says a half.
        expect(page.locator("[data-uncertain-here]")).to_have_text("50 %")
        assert greens(page, ".scene-canvas") > before + 300
        page.locator("[data-sequence-choice=t2f]").click()
        expect(root(page)).to_have_attribute("data-sequence", "t2f")
        assert greens(page, ".scene-canvas") > before + 300, "the map lies over another sequence as well"
        page.locator(".scene-canvas").focus()
        page.keyboard.press("q")
        expect(root(page)).to_have_attribute("data-side-by-side", "true")
        assert greens(page, ".scene-side-by-side") > 900
        page.keyboard.press("u")
        expect(root(page)).to_have_attribute("data-uncertain", "false")
        assert greens(page, ".scene-side-by-side") < 100
        expect(page.locator("[data-uncertain-here]")).to_have_count(0)


def test_looking_around(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        canvas = page.locator(".scene-canvas")
        canvas.focus()
        x, y, z = place(page)
        page.keyboard.press("PageUp")
        page.keyboard.press("ArrowLeft")  # radiological: to the patient's right
        assert np.allclose(place(page), (x + 1.2, y, z + 2.5), atol=0.01)
        box = canvas.bounding_box()
        assert box
        canvas.hover(position={"x": box["width"] * 0.25, "y": box["height"] * 0.25})
        page.mouse.wheel(0, 120)
        assert abs(place(page)[2] - (z + 2.5)) == pytest.approx(2.5, abs=0.01)

        width = page.locator("[name=window]")
        wide = float(width.input_value())
        canvas.hover(position={"x": box["width"] * 0.2, "y": box["height"] * 0.2})
        page.mouse.down(button="right")
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.2, steps=4)
        page.mouse.up(button="right")
        page.wait_for_timeout(100)
        assert float(width.input_value()) > wide
        page.locator("[data-popover=contrast] > summary").click()
        page.get_by_role("button", name="Reset window and level").click()
        expect(width).to_have_js_property("value", f"{wide:g}" if wide != int(wide) else str(int(wide)))

        page.get_by_role("button", name="Coronal, show alone").click()
        expect(root(page)).to_have_attribute("data-view", "coronal")
        expect(page.locator("[data-letters]")).to_have_count(1)
        page.keyboard.press("Escape")
        expect(root(page)).to_have_attribute("data-view", "multi")
        canvas.dblclick(position={"x": box["width"] * 0.25, "y": box["height"] * 0.75})
        expect(root(page)).to_have_attribute("data-view", "sagittal")


def test_before_and_after_post_processing(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        stroke(page)
        drawn = root(page).get_attribute("data-counts") or ""
        page.keyboard.press("x")
        expect(root(page)).to_have_attribute("data-before", "true")
        expect(root(page)).to_have_attribute("data-counts", re.compile(r"^1:220 "))  # 216 and the speck of 4
        expect(page.get_by_role("button", name="Brush", exact=True)).to_be_disabled()
        expect(page.get_by_role("button", name="Save as new version")).to_be_disabled()
        page.keyboard.press("Space")
        page.keyboard.press("x")
        expect(root(page)).to_have_attribute("data-counts", drawn)
        expect(root(page)).to_have_attribute("data-unsaved", "true")


def test_correct_save_and_go_back(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        model = root(page).get_attribute("data-counts") or ""
        stroke(page)
        drawn = root(page).get_attribute("data-counts") or ""
        assert drawn != model
        expect(page.get_by_text("Unsaved changes.")).to_be_visible()
        brain = page.locator("[data-act=brain-only]")  # a case of an earlier version has no mask of the brain
        expect(brain).to_be_disabled()
        expect(brain).to_have_accessible_description(re.compile("run the case again"))
        page.keyboard.press("Control+z")
        expect(root(page)).to_have_attribute("data-counts", model)
        expect(root(page)).to_have_attribute("data-unsaved", "false")
        stroke(page)
        page.get_by_role("button", name="Save as new version").click()
        expect(root(page)).to_have_attribute("data-version", "1")
        expect(root(page)).to_have_attribute("data-unsaved", "false")
        expect(page.get_by_text("Volumes of your version 1")).to_be_visible()

        page.locator("[data-tab=versions]").click()
        page.locator("[data-version-choice='0']").click()
        expect(root(page)).to_have_attribute("data-version", "0")
        expect(root(page)).to_have_attribute("data-counts", model)
        page.locator("[data-version-choice='1']").click()
        expect(root(page)).to_have_attribute("data-counts", drawn)

        page.keyboard.press("Escape")
        page.locator(".scene-canvas").focus()
        page.keyboard.press("PageUp")
        page.keyboard.press("b")
        page.keyboard.press("e")
        page.keyboard.press("Space")
        page.locator("[data-version-choice='0']").click()
        expect(page.get_by_text("Your unsaved changes would be lost.")).to_be_visible()
        expect(root(page)).to_have_attribute("data-version", "1")
        page.get_by_role("button", name="Save them first").click()
        expect(root(page)).to_have_attribute("data-version", "0")
        expect(page.locator("[data-version-choice='2']")).to_be_visible()
        assert len(case.saved) == 2


def test_unsaved_changes_survive_another_page_of_ours(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        stroke(page)
        drawn = root(page).get_attribute("data-counts") or ""
        page.get_by_role("link", name="All cases").click()
        expect(root(page)).to_have_count(0)
        page.go_back()
        expect(root(page)).to_have_attribute("data-ready", "true", timeout=READY_MS)
        expect(root(page)).to_have_attribute("data-counts", drawn)
        expect(root(page)).to_have_attribute("data-unsaved", "true")
        page.get_by_role("button", name="Discard them").click()
        expect(root(page)).to_have_attribute("data-unsaved", "false")
        expect(root(page)).not_to_have_attribute("data-counts", drawn)


def test_a_refused_save_keeps_the_changes(browser: Browser, case: ViewedCase) -> None:
    def refuse(route: Route) -> None:
        problem = {"title": "Refused", "status": 422, "detail": "The mask differs by 1.2 mm at a corner."}
        route.fulfill(status=422, content_type="application/problem+json", body=json.dumps(problem))

    with panel(browser, case, "422") as page:
        stroke(page)
        page.route("**/segmentation?*", refuse)
        page.get_by_role("button", name="Save as new version").click()
        expect(page.get_by_role("alert")).to_contain_text("The changes were not saved. The mask differs by 1.2 mm")
        expect(root(page)).to_have_attribute("data-unsaved", "true")

        asked: list[str] = []

        def answer(dialog: Dialog) -> None:
            asked.append(dialog.type)
            dialog.dismiss()

        page.on("dialog", answer)
        page.close(run_before_unload=True)
        page.context.pages[0].wait_for_timeout(500)
        assert asked == ["beforeunload"]
        page.unroute_all()


def test_the_screenshot_says_what_it_is_and_not_whose(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        canvas = page.locator(".scene-canvas").bounding_box()
        assert canvas
        with page.expect_download() as started:
            page.get_by_role("button", name="Screenshot").click()
        name = started.value.suggested_filename
        assert name == "hope-multi-t1c.png"
        assert case.id[:8] not in name
        picture = np.asarray(Image.open(started.value.path()).convert("L"))
        caption = picture[int(canvas["height"]) :]
        assert caption.shape[0] > 20 and caption.max() > 200  # white words below the pictures
        assert picture[: int(canvas["height"])].max() > 100  # and pictures there are


def test_a_lost_graphics_card_loses_no_drawing(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case, "WebGL", "context") as page:
        stroke(page)
        drawn = root(page).get_attribute("data-counts") or ""
        page.locator(".scene-canvas").evaluate(
            "canvas => canvas.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
        )
        expect(page.locator(".scene-fallback img")).to_be_visible()
        expect(page.get_by_role("alert")).to_contain_text("what you drew is kept")
        page.get_by_role("button", name="Try again").click()
        expect(root(page)).to_have_attribute("data-ready", "true", timeout=READY_MS)
        expect(root(page)).to_have_attribute("data-counts", drawn)
        expect(root(page)).to_have_attribute("data-unsaved", "true")


def test_without_webgl_there_are_words_and_a_picture(browser_without_webgl: Browser, case: ViewedCase) -> None:
    with panel(browser_without_webgl, case, "WebGL", "GPU", ready=False) as page:
        expect(page.get_by_role("alert")).to_contain_text("WebGL2", timeout=READY_MS)
        picture = page.locator(".scene-fallback img")
        expect(picture).to_be_visible()
        assert picture.evaluate("image => image.naturalWidth") == 40
        expect(page.get_by_role("button", name="Try again")).to_be_enabled()
        expect(root(page)).to_have_attribute("data-phase", "unsupported")


def test_by_keyboard_and_for_screen_readers(browser: Browser, case: ViewedCase) -> None:
    with panel(browser, case) as page:
        page.locator("[data-sequence-choice=t1c]").focus()
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.tagName") == "CANVAS":
                break
        else:
            pytest.fail("the pictures cannot be reached by Tab")
        page.keyboard.press("?")
        dialog = page.get_by_role("dialog", name="Keys and gestures")
        expect(dialog).to_be_visible()
        page.keyboard.press("h")  # keys rest while the list is open
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("button", name="Hide all")).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("PageUp")
        expect(page.locator(".scene-readout [role=status]")).to_contain_text("millimetres, intensity")
        stroke(page)  # the edit bar is open, everything is on show
        found = Axe().run(page, context=".scene")
        assert not found.response["violations"], found.generate_report()

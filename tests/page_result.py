"""One loaded result of the page for a module's tests: a small case with remarks, expected quality, lesion and brain.

The fixtures `case`, `address` and `result` come from tests/e2e/conftest.py; each module has its own.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.browser import visit
from tests.viewer_gateway import ViewedCase, serving, viewed_case

from hope.domain.grid import Grid
from hope.domain.lesion_size import MeasureRule
from hope.domain.volume import Volume
from hope.stages.postprocess.lesions import measure_lesions

READY_MS = 90_000
QUICK_MS = 30_000
"""2 s are promised on a machine that does nothing else. The viewer is held meanwhile: its picture cannot come."""
REMARKS = [
    {"code": "unlike_training", "severity": "warning", "reason": "the input is unlike what the model learnt from"},
    {"code": "small_overlap", "severity": "caution", "reason": "t2w covers 61 % of t1c only"},
    {"code": "thick_slices", "severity": "info", "reason": "slices lie 5 mm apart"},
]
QUALITY = {
    "verdict": "check",
    "regions": {"WT": {"dice": 0.81, "low": 0.5, "high": 0.92, "verdict": "likely good"}},
    "fitted_on": "a made-up set of cases",
}


def made_up_case() -> ViewedCase:
    """A finished case with remarks, expected quality, intervals and all four sequences."""
    shape = (30, 32, 20)
    labels = np.zeros(shape, np.uint8)
    labels[8:14, 8:14, 6:12] = 1
    labels[8:18, 14:18, 6:12] = 4
    head = np.full(shape, 300, np.int16)
    affine = np.diag([-1.2, -1.2, 2.5, 1.0])
    views = dict.fromkeys(("t1n", "t1c", "t2w", "t2f"), head)
    facts: dict[str, Any] = {"qc": REMARKS, "expected_quality": QUALITY}
    brain = np.ones(shape, np.uint8)
    brain[:, :, :4] = 0
    small = io.BytesIO()
    Image.new("RGB", (1080, 355), (40, 60, 80)).save(small, "WEBP")
    more = {"before": labels, "facts": facts, "quick": small.getvalue(), "brain": brain}
    case = viewed_case("screen-case-0000", labels, affine, views, **more)
    measured = measure_lesions(Volume(labels, Grid(shape, affine)), MeasureRule(region="WT"))
    case.files["result.json"] = (json.dumps({"measurements": measured.model_dump()}).encode(), "all facts", 0)
    return case


@pytest.fixture(scope="module")
def case() -> ViewedCase:
    """The case that is shown."""
    return made_up_case()


@pytest.fixture(scope="module")
def address(case: ViewedCase) -> Iterator[str]:
    """Where the case's page is."""
    with serving(case) as url:
        yield f"{url}/#/case/{case.id}"


@pytest.fixture(scope="module")
def result(browser: Browser, address: str) -> Iterator[Page]:
    """One loaded result for every size; the server's small picture has been seen before anything was drawn."""
    start, case = address.split("#")
    with visit(browser, start) as visited:
        page, held = visited.page, []
        page.locator("[data-page=home]").wait_for()
        page.route(re.compile(r"/assets/niivue-"), lambda route: held.append(route))
        page.evaluate(f"location.hash = '{case}'")
        expect(page.locator(".quick-look")).to_be_visible(timeout=QUICK_MS)
        assert page.locator(".quick-look").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1080
        for _ in range(100):  # the request may come a moment later than the picture
            page.wait_for_timeout(0 if held else 50)
        assert held, "the viewer is not drawn before it is there"
        for route in held:
            route.continue_()
        page.unroute_all()
        page.locator(".scene[data-ready=true]").wait_for(timeout=READY_MS)
        expect(page.locator(".quick-look")).to_have_count(0)
        yield page
    visited.assert_quiet()

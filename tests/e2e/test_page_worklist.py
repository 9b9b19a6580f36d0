"""Two hundred cases in one session: the list is there, its rows open, and nothing runs off the screen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from tests.browser import visit
from tests.viewer_gateway import ViewedCase, serving, viewed_case

pytestmark = pytest.mark.timeout(300)

MANY = 200
SEEN_MS = 90_000
REMARK = {
    "code": "thick_slices",
    "severity": "caution",
    "reason": "t2f has slices of 8.0 mm: small parts may be missed",
}


def _case(number: int) -> ViewedCase:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2:4, 2:4, 2] = 1
    facts: dict[str, Any] = {"number": number, "qc": [REMARK], "label": f"case of the study, number {number}"}
    facts["state"] = "failed" if number % 50 == 0 else "done"
    affine = np.diag([-2.0, -2.0, 2.5, 1.0])
    views = {"t1c": np.full(labels.shape, 300, np.int16)}
    return viewed_case(f"worklist-case-{number:04d}", labels, affine, views, facts=facts)


def test_two_hundred_cases_do_not_break_the_page(browser: Browser) -> None:
    with serving(*(_case(number) for number in range(1, MANY + 1))) as address, visit(browser, address) as visited:
        page = visited.page
        lines = page.locator(".case-line")
        expect(lines).to_have_count(MANY, timeout=SEEN_MS)
        expect(page.get_by_text(f"{MANY} cases in this session.")).to_be_visible()
        expect(lines.first).to_contain_text(f"number {MANY}")  # newest first
        for width in (1440, 390):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        # What is above and below the list is reached without going through 200 rows.
        expect(page.locator("[data-act=own]")).to_be_in_viewport()
        last = lines.last
        last.scroll_into_view_if_needed()
        last.get_by_role("link").click()
        expect(page.locator("[data-case-id=worklist-case-0001]").first).to_be_visible(timeout=SEEN_MS)
        page.get_by_role("link", name="All cases").click()
        expect(lines).to_have_count(MANY)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        visited.assert_quiet()

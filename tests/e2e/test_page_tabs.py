"""Two tabs of one session: what is done in one is seen in the other, and few facts do not break a page."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from tests.browser import visit
from tests.viewer_gateway import built_page

from hope.testing.fleet import Fleet, small_scan

pytestmark = pytest.mark.timeout(300)

SEEN_MS = 90_000


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """`hope up` with short stages, which answer for an archive as well."""
    built_page()
    archive = {"HOPE_DICOMWEB_URL": "http://127.0.0.1:9/dicom-web"}
    fleet = Fleet(tmp_path_factory.mktemp("platform"), archive)
    try:
        fleet.start("up")
        fleet.wait_ready()
        yield fleet
    finally:
        fleet.stop()


def fill_and_start(page: Page) -> None:
    for sequence in ("t1n", "t1c", "t2w", "t2f"):
        file = {"name": "scan.nii", "mimeType": "", "buffer": small_scan()}
        page.locator(f"input[data-file={sequence}]").set_input_files(file)
        page.locator(f"[data-slot={sequence}][data-slot-state=stored]").wait_for()
    page.locator("[data-act=start]").click()


def test_tabs_follow_one_another(browser: Browser, platform: Fleet) -> None:
    with visit(browser, platform.url) as visited:
        one = visited.page
        two = one.context.new_page()
        two.goto(platform.url)
        two.locator("[data-page=start]").wait_for()
        one.locator("[data-act=agree]").check()
        one.locator("[data-act=own]").click()
        # A tab that would have opened a second session, and so have taken the first one's place, knows of it.
        two.locator("[data-page=home]").wait_for(timeout=SEEN_MS)
        one.locator("[data-view=upload]").wait_for()
        fill_and_start(one)
        one.locator("[data-view=result]").wait_for(timeout=SEEN_MS)
        # Its panel cannot draw 64 voxels well, but the page around it stands.
        one.locator("[data-results=ready]").wait_for(timeout=SEEN_MS)
        expect(one.locator("[data-fault]")).to_have_count(0)
        expect(two.locator(".case-line")).to_have_attribute("data-state", "done", timeout=SEEN_MS)
        with two.expect_download() as started:
            two.locator("[data-act=download-all]").click()
        assert started.value.suggested_filename == "hope-results.zip"
        with zipfile.ZipFile(started.value.path()) as archive:
            assert archive.testzip() is None and {"cases.csv", "001/report.html"} <= set(archive.namelist())
        two.locator("[data-act=delete-all]").click()
        two.locator("[data-act=delete-all-yes]").click()
        two.locator("[data-receipt]").wait_for()
        one.locator("[data-page=start]").wait_for(timeout=SEEN_MS)
        expect(one.get_by_text("Your session has ended")).to_be_visible()
        assert one.url.endswith("#/")
        visited.assert_quiet("401", "404")


def test_a_server_that_is_away_and_a_lost_cookie_are_told_as_they_are(browser: Browser, platform: Fleet) -> None:
    with visit(browser, platform.url) as visited:
        page = visited.page
        page.locator("[data-act=agree]").check()
        page.locator("[data-act=own]").click()
        page.locator("[data-view=upload]").wait_for()
        file = {"name": "head-t1c.nii", "mimeType": "", "buffer": small_scan()}
        page.locator("input[data-file=t1c]").set_input_files(file)
        slot = page.locator("[data-slot=t1c][data-slot-state=stored]")
        expect(slot).to_contain_text("head-t1c.nii")
        expect(slot).to_contain_text("as sent")
        page.context.set_offline(True)
        page.locator("[aria-label='Remove T1 with contrast']").click()
        expect(page.locator("[data-away=true]")).to_contain_text("does not answer")
        expect(page.locator(".act-failed")).to_be_visible()
        page.context.set_offline(False)
        expect(page.locator("[data-away=false]")).to_be_attached(timeout=SEEN_MS)
        expect(page.locator(".act-failed")).to_have_count(0)
        expect(slot).to_contain_text("head-t1c.nii")  # nothing was removed, and a reload keeps the name
        page.reload()
        expect(slot).to_contain_text("head-t1c.nii")
        page.context.clear_cookies()
        page.reload()
        page.locator("[data-page=start]").wait_for()
        expect(page.locator(".notice")).to_contain_text("no longer has the key to your session")
        for link in page.locator(".links a").all():
            assert page.request.get(platform.url + (link.get_attribute("href") or "")).ok
        page.reload()
        page.locator("[data-page=start]").wait_for()
        expect(page.locator(".notice")).to_have_count(0)
        visited.assert_quiet("401", "ERR_INTERNET_DISCONNECTED")


def test_a_folder_becomes_cases_that_start(browser: Browser, platform: Fleet, tmp_path: Path) -> None:
    for folder, content in (("study/sub-1/anat", small_scan()), ("study/sub-2/anat", b"no scan")):
        (tmp_path / folder).mkdir(parents=True)
        for name in ("ce-gad_T1w", "T2w", "FLAIR"):
            (tmp_path / folder / f"{folder.split('/')[1]}_{name}.nii").write_bytes(content)
    with visit(browser, platform.url) as visited:
        page = visited.page
        page.locator("[data-act=agree]").check()
        page.locator("[data-act=own]").click()
        page.locator("[data-view=upload]").wait_for()
        page.get_by_role("link", name="All cases").click()
        page.locator("[data-file=folder]").set_input_files(tmp_path / "study")
        expect(page.locator("[data-folder='sub-1']")).to_contain_text("T2 FLAIR")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.locator("[data-act=name-after-folders]").check()
        page.locator("[data-act=start-all]").click()
        expect(page.locator("[data-folder='sub-1']")).to_have_attribute("data-state", "started", timeout=SEEN_MS)
        refused = page.locator("[data-folder='sub-2']")
        expect(refused).to_have_attribute("data-state", "refused", timeout=SEEN_MS)
        expect(refused.locator(".bad-text")).to_be_visible()
        expect(page.locator(".case-line").filter(has_text="sub-1")).to_have_attribute(
            "data-state", "done", timeout=SEEN_MS
        )
        visited.assert_quiet("401", "422", "415", "400")


def test_a_study_of_the_archive_becomes_a_case_and_its_question_stays(browser: Browser, platform: Fleet) -> None:
    with visit(browser, platform.url) as visited:
        page = visited.page
        page.locator("[data-act=agree]").check()
        page.locator("[data-act=own]").click()
        page.locator("[data-view=upload]").wait_for()
        part = page.locator("[data-archive]")
        part.locator("[data-act=search-archive]").click()
        expect(part.get_by_role("alert")).to_contain_text("number, or a date")
        part.locator("[name=patient]").fill("NUMBERMARK")
        part.locator("[name=patient]").press("Enter")
        expect(part.locator(".study")).to_contain_text("2026-03-01 4 series, 96 images")
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        part.locator("[data-act=take-study]").click()
        expect(page.locator("[data-slot-state=stored]")).to_have_count(4, timeout=SEEN_MS)
        question = page.get_by_text("Nothing says whether contrast was given")
        expect(question).to_be_visible()
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page is wider than a phone"
        # A picture of each scan as soon as the server has looked at them, in its place and in the list of the study.
        expect(page.locator("[data-slot=t1c] [data-thumbnail=t1c]")).to_be_visible(timeout=SEEN_MS)
        page.reload()
        expect(question).to_be_visible(timeout=SEEN_MS)
        page.locator("[data-act=answered]").click()
        expect(question).to_have_count(0)
        page.reload()
        expect(page.locator("[data-slot-state=stored]")).to_have_count(4, timeout=SEEN_MS)
        expect(question).to_have_count(0)
        visited.assert_quiet("401")

"""The whole way in a real browser: four files in, run, look, correct, save, download, delete; then nothing is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser import browser, visit  # noqa: F401 - the fixture
from tests.once import SyntheticPatient

from hope.domain.case import SEQUENCES
from hope.formats.nifti import read_labels, read_scan
from hope.testing.fleet import Fleet
from hope.testing.live_files import files_below

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DRAWN_SECONDS = 120_000
RUN_SECONDS = 480_000


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Fleet]:
    """`hope up` with the real stages."""
    fleet = Fleet(tmp_path, bodies="hope.jobs.bodies")
    try:
        fleet.start("up")
        fleet.wait_ready()
        yield fleet
    finally:
        fleet.stop()


def test_upload_run_look_correct_save_download_and_kill(
    browser: Browser,  # noqa: F811 - pytest's way
    platform: Fleet,
    synthetic_patient: SyntheticPatient,
    tmp_path: Path,
) -> None:
    scans = synthetic_patient.folder
    with visit(browser, platform.url, width=1400, height=1000, accept_downloads=True) as visited:
        page = visited.page
        open_session(page)
        upload(page, scans)
        page.locator("[data-act=start]").click()
        for stage in ("preprocess", "harmonize", "segment", "postprocess"):
            page.locator(f"[data-stage={stage}][data-state=done], [data-view=result]").first.wait_for(
                timeout=RUN_SECONDS
            )
        page.locator("[data-page=case][data-view=result]").wait_for(timeout=RUN_SECONDS)
        case_id = page.locator("[data-page=case]").get_attribute("data-case-id")
        panel = page.locator(".scene[data-ready=true]")
        panel.wait_for(timeout=DRAWN_SECONDS)
        expect(page.locator("[data-expected-quality]")).to_contain_text("Whole tumour: Dice about")
        before = counts(page)
        assert sum(before.values()) > 1000
        toggle(page)
        painted = correct_and_save(page)
        assert painted != before
        expect(page.locator("[data-expected-quality]")).to_contain_text("of the model")
        page.locator("[data-tab=files]").click()
        mask = download(page, re.compile(r"-seg-v1\.nii\.gz$"), tmp_path)
        page.locator("[data-fold=earlier] summary").click()
        first = download(page, re.compile(r"-seg\.nii\.gz$"), tmp_path)
        check_masks(mask, first, scans, before, painted)
        needles = what_must_go(platform, case_id or "", scans)
        receipt(page)
        # A first visit asks whether there is a session, and is told that there is none.
        visited.assert_quiet("401")
    assert_nothing_left(platform, needles)


def open_session(page: Page) -> None:
    page.locator("[data-act=agree]").check()
    page.locator("[data-act=own]").click()
    page.locator("[data-page=case][data-view=upload]").wait_for()


def upload(page: Page, scans: Path) -> None:
    for sequence in SEQUENCES:
        file = next(scans.glob(f"*-{sequence}.nii.gz"))
        page.locator(f"input[data-file={sequence}]").set_input_files(file)
        page.locator(f"[data-slot={sequence}][data-slot-state=stored]").wait_for(timeout=DRAWN_SECONDS)
    for sequence in SEQUENCES:
        expect(page.locator(f"[data-thumbnail={sequence}]")).to_be_visible(timeout=DRAWN_SECONDS)


def counts(page: Page) -> dict[int, int]:
    """Voxels per label, as the panel says."""
    text = page.locator(".scene").get_attribute("data-counts") or ""
    return {int(label): int(number) for label, number in (part.split(":") for part in text.split())}


def toggle(page: Page) -> None:
    eye = page.locator("[data-label=ET] .scene-eye")
    expect(eye).to_have_attribute("aria-pressed", "true")
    eye.click()
    expect(eye).to_have_attribute("aria-pressed", "false")
    eye.click()
    for sequence in ("t2f", "t1c"):
        page.locator(f"[data-sequence-choice={sequence}]").click()
        page.locator(f".scene[data-sequence={sequence}][data-ready=true]").wait_for(timeout=DRAWN_SECONDS)


def correct_and_save(page: Page) -> dict[int, int]:
    """Paint at the cursor by keyboard, take it back, paint again, save; returns the counts that were saved."""
    before = counts(page)
    page.get_by_role("button", name="Brush", exact=True).click()
    page.get_by_role("button", name="CC", exact=True).last.click()
    page.get_by_role("button", name="5 voxels wide", exact=True).click()
    stage = page.locator("canvas").first
    box = stage.bounding_box()
    assert box
    spot = (box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])
    for _ in range(2):
        page.mouse.move(*spot)
        page.mouse.down()
        page.mouse.move(spot[0] + 6, spot[1] + 2)
        page.mouse.up()
        page.locator(".scene[data-unsaved=true]").wait_for(timeout=DRAWN_SECONDS)
        if counts(page) != before and _ == 0:
            page.get_by_role("button", name="Undo").click()
            expect(page.locator(".scene")).to_have_attribute("data-unsaved", "false", timeout=DRAWN_SECONDS)
            assert counts(page) == before
    page.get_by_role("button", name="Save as new version").click()
    page.locator(".scene[data-version='1'][data-unsaved=false]").wait_for(timeout=DRAWN_SECONDS)
    page.locator("[data-version-choice='1']").wait_for(state="attached")
    return counts(page)


def download(page: Page, name: re.Pattern[str], folder: Path) -> Path:
    line = page.locator("[data-file-name]").filter(has_text=name).first
    with page.expect_download(timeout=DRAWN_SECONDS) as started:
        line.locator("a").click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    assert name.search(path.name)
    return path


def check_masks(mask: Path, first: Path, scans: Path, before: dict[int, int], painted: dict[int, int]) -> None:
    """What was downloaded lies on the grid of the uploaded t1c and holds what the page showed."""
    t1c, _ = read_scan(next(scans.glob("*-t1c.nii.gz")), "t1c")
    for path, shown in ((mask, painted), (first, before)):
        labels = read_labels(path)
        assert labels.grid.same_as(t1c.grid)
        found = np.bincount(labels.data.ravel(), minlength=5)
        assert {label: int(found[label]) for label in shown} == shown


def what_must_go(platform: Fleet, case_id: str, scans: Path) -> list[bytes]:
    """Bytes that are somewhere on disk now: the case's id, and voxels from the middle of each uploaded scan."""
    assert len(case_id) == 26
    needles = [case_id.encode()]
    for sequence in SEQUENCES:
        import gzip

        content = gzip.decompress(next(scans.glob(f"*-{sequence}.nii.gz")).read_bytes())
        middle = len(content) // 2
        needles.append(content[middle : middle + 4096])
    for needle in needles:
        assert holders(platform, needle), "the search itself must be able to find"
    return needles


def holders(platform: Fleet, needle: bytes) -> list[str]:
    """Files of the platform that hold some bytes."""
    data = platform.folder / "data"
    return [str(path) for path in files_below(data) if needle in path.read_bytes()]


def receipt(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#/")
    page.locator("[data-act=delete-all]").click()
    page.locator("[data-dialog=delete-all]").get_by_role("button", name="Delete everything").click()
    page.locator("[data-receipt]").wait_for(timeout=DRAWN_SECONDS)
    assert page.context.storage_state()["origins"] in ([], [{"origin": "", "localStorage": []}]) or not any(
        entry["localStorage"] for entry in page.context.storage_state()["origins"]
    )


def assert_nothing_left(platform: Fleet, needles: list[bytes]) -> None:
    for needle in needles:
        assert holders(platform, needle) == []
    assert files_below(platform.folder / "data" / "blobs") == []
    scratch = files_below(platform.folder / "data" / "scratch")
    assert all(path.suffix == ".lock" for path in scratch)

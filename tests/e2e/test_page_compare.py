"""Comparing two dates in a real browser: with another case, with an uploaded result, the pictures, what is saved."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from tests.browser import come_to_rest, visit
from tests.viewer_gateway import ViewedCase, nifti_bytes, serving, viewed_case

from hope.contract.report import CaseReport
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.limits import DEFAULT_LIMITS
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.hashing import sha256_of
from hope.jobs import bodies

pytestmark = pytest.mark.timeout(300)

READY_MS = 90_000
EARLIER, LATER = "earlier-case-0000", "later-case-0000"
SHAPE = (60, 64, 56)
COLOURS = """at => {
  const pixels = at.getContext('2d').getImageData(0, 0, at.width, at.height).data
  const count = {}
  for (let i = 0; i < pixels.length; i += 4) {
    const colour = pixels.slice(i, i + 3).join(' ')
    count[colour] = (count[colour] || 0) + 1
  }
  return count
}"""
"""How many pixels of a canvas have each colour."""


def labels(radius: float, second: bool) -> Volume:
    """A ball with an enhancing rim, and at the later date a small second one."""
    affine = np.array(ATLAS_GRID.affine_ras_mm)
    affine[:3, 3] = ATLAS_GRID.to_world([80, 80, 40])
    away = np.linalg.norm(np.stack(np.indices(SHAPE), axis=-1) - (30, 30, 28), axis=-1)
    data = (away < radius).astype(np.uint8) * 2
    data[(away < radius) & (away > radius - 3)] = 1
    if second:
        data[np.linalg.norm(np.stack(np.indices(SHAPE), axis=-1) - (46, 46, 28), axis=-1) < 5] = 1
    return Volume(data, Grid(SHAPE, affine))


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[ViewedCase, ViewedCase, Path]:
    """Two cases of one patient, the later one with the answer that the gateway's task gives; the files of the first."""
    folder = tmp_path_factory.mktemp("dates")
    rng = np.random.default_rng(8)
    texture = rng.normal(300, 40, SHAPE).astype(np.float32)
    volumes = {}
    for name, radius, second in (("earlier", 9.0, False), ("later", 12.0, True)):
        mask = labels(radius, second)
        image = np.where(mask.data == 1, 700, texture) + rng.normal(0, 10, SHAPE)
        place = folder / "in" / name
        place.mkdir(parents=True)
        (place / "mask.nii.gz").write_bytes(nifti_bytes(mask.data, mask.grid.affine_ras_mm))
        (place / "t1c.nii.gz").write_bytes(nifti_bytes(image.astype(np.float32), mask.grid.affine_ras_mm))
        (place / "result.json").write_text(json.dumps(facts(name, place, mask)))
        volumes[name] = mask
    for name in ("out", "scratch"):
        (folder / name).mkdir()
    directories = {name: str(folder / name) for name in ("in", "out", "scratch")}
    sequences = {"earlier": ["t1c"], "later": ["t1c"]}
    job = {"do": "comparison", "case": "case-0a1b", "max_bytes": 2**30, "limits": asdict(DEFAULT_LIMITS)}
    bodies.run({**job, **directories, "sequences": sequences, "days": 92}, silent)
    cases = []
    for name, case_id in (("earlier", EARLIER), ("later", LATER)):
        mask = volumes[name]
        view = np.full(SHAPE, 300, np.int16)
        cases.append(viewed_case(case_id, mask.data, mask.grid.affine_ras_mm, {"t1c": view}))
    cases[1].facts = {"number": 2, "label": "second visit"}
    cases[1].compared = (folder / "out" / "comparison.zip").read_bytes()
    return cases[0], cases[1], folder / "in" / "earlier"


def facts(name: str, folder: Path, mask: Volume) -> dict[str, object]:
    """result.json of a date, with intervals that hold a third of the enhancing part and little of the whole."""

    def ml(*values: int) -> float:
        return float(np.isin(mask.data, values).sum()) * mask.grid.voxel_volume_ml

    parts = {"ET": (1,), "NET": (2,), "CC": (3,), "ED": (4,), "TC": (1, 2, 3), "WT": (1, 2, 3, 4)}
    width = {"WT": 0.05, "TC": 0.05}
    volumes = {
        key: {"ml": v, "low_ml": v * (1 - width.get(key, 0.9)), "high_ml": v * (1 + width.get(key, 0.9))}
        for key, v in ((key, ml(*values)) for key, values in parts.items())
    }
    files = [
        {"name": f"case-{name[0]}000-seg.nii.gz", "kind": "", "sha256": sha256_of(folder / "mask.nii.gz")}
        | {"role": "segmentation", "space": "native"},
        {"name": f"case-{name[0]}000-t1c-atlas.nii.gz", "kind": "", "sha256": sha256_of(folder / "t1c.nii.gz")}
        | {"role": "image", "space": "atlas", "sequence": "t1c"},
    ]
    values = {
        "format": "hope-result/1",
        "case_id": f"case-{name[0]}000",
        "input": {"reference": "t1c", "missing": [], "head_state": "full"},
        "transforms": {"t1c": {"atlas_to_native_ras_mm": np.eye(4).tolist()}},
        "volumes_ml": volumes,
        "model": {"id": "starter", "head_state": "brain"},
        "files": files,
    }
    CaseReport.stored(values)
    return values


def screenshot(page: Page, name: str) -> None:
    """Kept where HOPE_TEST_SCREENSHOTS names a directory, to be looked at."""
    if folder := os.environ.get("HOPE_TEST_SCREENSHOTS"):
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def test_a_case_is_compared_with_an_earlier_one(
    browser: Browser, dates: tuple[ViewedCase, ViewedCase, Path], tmp_path: Path
) -> None:
    earlier, later, _ = dates
    later.asked.clear()
    with serving(earlier, later) as address, visit(browser, f"{address}/#/case/{LATER}") as visited:
        page = visited.page
        page.locator("[data-tab=compare]").click()
        tab = page.locator("[data-comparison]")
        expect(tab.locator("[data-act=compare]")).to_be_disabled()
        tab.locator("[name=earlier]").select_option(EARLIER)
        tab.locator("[name=days]").fill("92")
        tab.locator("[data-act=compare]").click()
        expect(tab).to_have_attribute("data-comparison", "ready", timeout=READY_MS)
        assert later.asked == [{"earlier": EARLIER, "days": 92}]
        whole, enhancing = tab.locator("[data-change=WT]"), tab.locator("[data-change=ET]")
        expect(whole).to_have_attribute("data-direction", "larger")
        expect(whole).to_contain_text("ml, +")
        expect(enhancing).to_have_attribute("data-direction", "not larger than the uncertainty")
        expect(enhancing).to_contain_text("not larger than the uncertainty")
        assert [row.get_attribute("data-fate") for row in tab.locator("[data-fate]").all()] == ["same", "new"]
        expect(tab).to_contain_text("Change after surgery lies outside what was validated")
        tab.locator("[data-act=compare-view]").scroll_into_view_if_needed()
        screenshot(page, "compare-tab")
        for name in ("report.html", "changes.csv", "comparison.json"):
            with page.expect_download() as saving:
                tab.locator(f"[data-save='{name}']").click()
            saving.value.save_as(tmp_path / name)
            assert saving.value.suggested_filename == f"case-{LATER[:8]}-{name}"
        with zipfile.ZipFile(io.BytesIO(later.compared or b"")) as made:
            assert all((tmp_path / name).read_bytes() == made.read(name) for name in ("report.html", "changes.csv"))

        tab.locator("[data-act=compare-view]").click()
        canvas = page.locator(".compare-canvas")
        expect(canvas).to_be_visible()
        expect(page.locator(".compare-legend")).to_contain_text("only later")
        first = canvas.get_attribute("data-slice")
        canvas.focus()
        page.keyboard.press("PageUp")
        expect(canvas).to_have_attribute("data-slice", str(int(first or "0") + 1))
        come_to_rest(page)
        colours = canvas.evaluate(COLOURS)
        # The edge of what is only later is drawn in its own colour; the crosshair lies over a little of it.
        assert colours.get("213 94 0", 0) > 50, "the difference is coloured"
        assert "0 158 115" not in colours, "nothing is gone"
        screenshot(page, "compare-view")
        page.locator("[name=compare-plane]").select_option("coronal")
        expect(page.get_by_label("Both dates, coronal.")).to_be_visible()
        page.keyboard.press("Escape")
        expect(canvas).to_be_hidden()
        # Figures of one choice never stand under another one.
        tab.locator("[name=days]").fill("93")
        expect(tab).to_have_attribute("data-comparison", "idle")
        expect(whole).to_have_count(0)
        tab.locator("[name=days]").fill("92")
        expect(whole).to_be_visible()
        tab.locator("[name=earlier]").select_option("")
        expect(whole).to_have_count(0)
        visited.assert_quiet()


def test_an_earlier_result_is_sent_without_the_names_of_its_files(
    browser: Browser, dates: tuple[ViewedCase, ViewedCase, Path], tmp_path: Path
) -> None:
    _, later, files = dates
    later.asked.clear()
    given = []
    for name in ("result.json", "mask.nii.gz", "t1c.nii.gz"):
        given.append(tmp_path / f"SURNAMEMARK-{name}")
        given[-1].write_bytes((files / name).read_bytes())
    # The one page test with what moves left moving, as most people see it.
    with (
        serving(later) as address,
        visit(browser, f"{address}/#/case/{LATER}", width=390, height=844, reduced_motion="no-preference") as visited,
    ):
        page = visited.page
        page.locator("[data-tab=compare]").click()
        tab = page.locator("[data-comparison]")
        expect(tab.locator("[name=earlier]")).to_have_count(0)
        tab.locator("[data-file=earlier]").set_input_files([str(path) for path in given])
        expect(tab).to_contain_text("3 files chosen")
        tab.locator("[data-act=compare]").click()
        expect(tab).to_have_attribute("data-comparison", "ready", timeout=READY_MS)
        ((days, zip_bytes),) = later.asked
        assert days is None and b"SURNAMEMARK" not in zip_bytes
        with zipfile.ZipFile(io.BytesIO(zip_bytes)) as sent:
            assert sorted(map(len, map(sent.read, sent.namelist()))) == sorted(p.stat().st_size for p in given)
        screenshot(page, "compare-narrow")
        # A refusal is said where it was asked for, and the choice stays.
        answer, later.compared = later.compared, None
        tab.locator("[data-act=compare]").click()
        expect(tab.get_by_role("alert")).to_contain_text("lacks its mask")
        later.compared = answer
        visited.assert_quiet("422")

"""What the viewer shows and saves lies where the file says, whatever the file's orientation.

The library draws in an order of its own. A mistake there mirrors a patient, so every orientation is taken through a
real browser: load, point, paint one voxel by millimetres, save, and compare with nibabel.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from tests.browser import visit
from tests.viewer_gateway import ViewedCase, read_nifti, serving, viewed_case

Affine = npt.NDArray[np.float64]

SHAPE = (26, 23, 19)
SPACING_MM = (1.1, 0.9, 2.3)
SLOW_MS = 90_000


def _turned(degrees: tuple[float, float, float]) -> Affine:
    """A rotation about x, then y, then z."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        one, other = [i for i in range(3) if i != axis]
        step = np.eye(3)
        step[one, one] = step[other, other] = np.cos(angle)
        step[one, other], step[other, one] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


def _affine(codes: str, degrees: tuple[float, float, float] = (0, 0, 0)) -> Affine:
    """An affine whose axes point to `codes`, turned as a scanner turns its box."""
    columns = []
    for code, spacing in zip(codes, SPACING_MM, strict=True):
        axis = next(i for i, pair in enumerate(("RL", "AP", "SI")) if code in pair)
        column = np.zeros(3)
        column[axis] = spacing if code in "RAS" else -spacing
        columns.append(_turned(degrees) @ column)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack(columns)
    affine[:3, 3] = np.array([4.5, -7.25, 11.0]) - affine[:3, :3] @ (np.array(SHAPE) / 2)
    return affine


ORIENTATIONS = {
    "RAS": _affine("RAS"),
    "LPS": _affine("LPS"),
    "LAS": _affine("LAS"),
    "ASL": _affine("ASL"),
    "SRP": _affine("SRP"),
    "oblique-PIR": _affine("PIR", (11, -17, 23)),
    "oblique-LPS": _affine("LPS", (20, 15, -12)),
}


def _labels() -> npt.NDArray[np.uint8]:
    """Nothing here looks the same from two sides."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[3:9, 4:8, 5:9] = 1
    labels[9:12, 4:6, 5:7] = 2
    labels[20:24, 15:21, 12:17] = 4
    labels[21, 16, 13] = 3
    return labels


def _image() -> npt.NDArray[np.int16]:
    """Every voxel has its own intensity."""
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def _case(name: str, affine: Affine) -> ViewedCase:
    return viewed_case(f"{name}-0000000000", _labels(), affine, {"t1c": _image()})


@pytest.fixture(scope="module")
def cases() -> dict[str, ViewedCase]:
    """One case for each orientation."""
    return {name: _case(name, affine) for name, affine in ORIENTATIONS.items()}


@pytest.fixture(scope="module")
def address(cases: dict[str, ViewedCase]) -> Iterator[str]:
    """Where the page is."""
    with serving(*cases.values()) as url:
        yield url


@dataclass
class Panel:
    """The viewer's panel on an open page."""

    page: Page
    case: ViewedCase

    @property
    def root(self) -> Locator:
        """The element that tells what is shown."""
        return self.page.locator(".scene")

    @property
    def readout(self) -> Locator:
        """Where the crosshair is."""
        return self.page.locator(".scene-readout")

    def go_to(self, voxel: tuple[int, int, int]) -> None:
        """Ask for the middle of a file voxel by its millimetres; fails if the crosshair does not go there."""
        mm = (self.case.affine @ [*voxel, 1])[:3]
        form = self.page.locator(".scene-goto")
        if not form.is_visible():
            self.page.get_by_text("Go to", exact=True).click()
        for axis, value in zip("xyz", mm, strict=True):
            form.locator(f"[name={axis}]").fill(f"{value:.5f}")
        form.get_by_role("button").click()
        patience = time.monotonic() + SLOW_MS / 1000
        while not np.allclose(self.crosshair(), mm, atol=0.002):
            assert time.monotonic() < patience, f"asked for {mm}, went to {self.crosshair()}"
            self.page.wait_for_timeout(20)

    def crosshair(self) -> npt.NDArray[np.float64]:
        """World millimetres of the crosshair."""
        return np.array([float(x) for x in (self.readout.get_attribute("data-mm") or "").split()])

    def paint_here(self, label: str) -> None:
        """One voxel, by keyboard."""
        brush = self.page.get_by_role("button", name="Brush", exact=True)
        if brush.get_attribute("aria-pressed") != "true":
            brush.click()
        self.page.get_by_role("button", name=label, exact=True).click()
        self.page.get_by_role("button", name="1 voxel wide").click()
        self.page.locator(".scene-canvas").focus()
        self.page.keyboard.press("Space")
        expect(self.root).to_have_attribute("data-unsaved", "true")

    def save(self) -> bytes:
        """Save, and give what the server got."""
        before = len(self.case.saved)
        self.page.get_by_role("button", name="Save as new version").click()
        expect(self.root).to_have_attribute("data-unsaved", "false", timeout=SLOW_MS)
        assert len(self.case.saved) == before + 1
        return self.case.saved[-1]


@contextmanager
def opened(browser: Browser, address: str, case: ViewedCase) -> Iterator[Panel]:
    """The case's page with everything drawn; at its end the page must not have complained."""
    with visit(browser, f"{address}/#/case/{case.id}", width=1000, height=640) as visited:
        visited.page.locator(".scene[data-ready=true]").wait_for(timeout=SLOW_MS)
        yield Panel(visited.page, case)
    visited.assert_quiet()


def _counts(labels: npt.NDArray[Any]) -> str:
    return " ".join(f"{value}:{int((labels == value).sum())}" for value in (1, 2, 3, 4))


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_shows_points_at_and_saves_what_the_file_holds(
    browser: Browser, address: str, cases: dict[str, ViewedCase], name: str
) -> None:
    case = cases[name]
    with opened(browser, address, case) as panel:
        expect(panel.root).to_have_attribute("data-counts", _counts(case.labels))

        # Pointing: the voxel's own place, intensity and label, for two voxels that mirroring would swap.
        for voxel, label in (((21, 16, 13), 3), ((10, 4, 6), 2), ((4, 18, 5), 0)):
            panel.go_to(voxel)
            expect(panel.readout).to_have_attribute("data-label-value", str(label))
            expect(panel.readout).to_contain_text(f"Intensity{_image()[voxel]}")

        # A stroke that changes no voxel: what is saved is what was loaded, to the last bit.
        panel.paint_here("Eraser")
        sent, affine = read_nifti(panel.save())
        assert np.array_equal(sent, case.labels) and sent.dtype == np.uint8
        original, written = (gzip.decompress(data)[:348] for data in (_model_mask(case), case.saved[-1]))
        assert original == written
        assert np.array_equal(affine, read_nifti(_model_mask(case))[1])

        # One voxel by its millimetres: exactly that voxel of the file, and no other.
        voxel = (17, 3, 15)
        panel.go_to(voxel)
        panel.paint_here("NET")
        sent, _ = read_nifti(panel.save())
        wanted = case.labels.copy()
        wanted[voxel] = 2
        assert np.argwhere(sent != case.labels).tolist() == [list(voxel)]
        assert np.array_equal(sent, wanted)
        expect(panel.root).to_have_attribute("data-version", str(len(case.saved)))


def _model_mask(case: ViewedCase) -> bytes:
    return case.files[f"{case.name}-seg.nii.gz"][0]


def _click(panel: Panel, plane: str, right: float, down: float) -> npt.NDArray[np.float64]:
    """Click into a picture at a share of its tile; gives the crosshair's place after."""
    canvas = panel.page.locator(".scene-canvas")
    box = canvas.bounding_box()
    assert box
    column, row = {"axial": (0, 0), "coronal": (1, 0), "sagittal": (0, 1)}[plane]
    canvas.click(position={"x": (column + right) * box["width"] / 2, "y": (row + down) * box["height"] / 2})
    panel.page.wait_for_timeout(100)  # the click has been handled; the attribute follows with the next render
    return panel.crosshair()


@pytest.mark.parametrize("name", ["LPS", "ASL"])
def test_the_letters_tell_the_truth(browser: Browser, address: str, cases: dict[str, ViewedCase], name: str) -> None:
    """Clicking towards a letter moves towards that side of the patient, in both conventions."""
    ways = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    with opened(browser, address, cases[name]) as panel:
        for radiological in (True, False):
            if not radiological:
                panel.page.get_by_role("switch").click()
            for plane in ("axial", "coronal", "sagittal"):
                letters = panel.page.locator(f"[data-letters={plane}]")
                left, right, top, bottom = (
                    letters.locator(f"[data-side={side}]").inner_text() for side in ("left", "right", "top", "bottom")
                )
                assert (left == "R") == (radiological and plane != "sagittal")
                for near, far, letter, opposite in (
                    ((0.42, 0.5), (0.58, 0.5), left, right),
                    ((0.5, 0.42), (0.5, 0.58), top, bottom),
                ):
                    axis, sign = ways[letter]
                    assert ways[opposite] == (axis, -sign)
                    there = _click(panel, plane, *far)
                    here = _click(panel, plane, *near)
                    assert (here - there)[axis] * sign > 0, f"{letter} of {plane}, radiological: {radiological}"


def test_a_stroke_of_the_mouse_paints_where_it_was_drawn(
    browser: Browser, address: str, cases: dict[str, ViewedCase]
) -> None:
    case = cases["oblique-LPS"]
    # The page opens the newest version, which another test of this file may have saved.
    current = read_nifti(case.saved[-1])[0] if case.saved else case.labels
    with opened(browser, address, case) as panel:
        panel.go_to((12, 11, 9))
        page = panel.page
        page.get_by_role("button", name="Brush", exact=True).click()
        page.get_by_role("button", name="CC", exact=True).click()
        page.get_by_role("button", name="1 voxel wide").click()
        at = _click(panel, "axial", 0.42, 0.55)
        expect(panel.root).to_have_attribute("data-unsaved", "true")
        page.keyboard.press("Escape")
        shown = _counts(current).replace("3:1", "3:2")
        expect(panel.root).to_have_attribute("data-counts", shown)
        voxel = np.rint(np.linalg.inv(case.affine) @ [*at, 1])[:3].astype(int)
        sent, _ = read_nifti(panel.save())
        assert sent[tuple(voxel)] == 3
        assert int((sent != current).sum()) == 1

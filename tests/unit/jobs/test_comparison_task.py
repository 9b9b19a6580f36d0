"""A comparison as the gateway's child makes it: of two cases, of an uploaded result, and what is refused."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hope.contract.comparison import Comparison
from hope.domain.errors import InputError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.limits import DEFAULT_LIMITS
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, write_scan
from hope.jobs import bodies
from hope.jobs.comparison_task import MADE
from hope.testing.stored_results import write_stored_result

VIEWS = {"earlier.nii", "later.nii", "earlier-labels.nii", "later-labels.nii"}
FILES = {"comparison.json", "changes.csv", "comparison.png", "report.html"}
SHAPE = (60, 60, 60)


def mask(radius: int) -> Volume:
    """A ball of NET in the middle of the noise that the atlas images of a stored result show."""
    affine = np.array(ATLAS_GRID.affine_ras_mm)
    affine[:3, 3] = ATLAS_GRID.to_world([80, 80, 40])
    away = np.linalg.norm(np.stack(np.indices(SHAPE), axis=-1) - 30, axis=-1)
    return Volume((away < radius).astype(np.uint8) * 2, Grid(SHAPE, affine))


@pytest.fixture(scope="module")
def dates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two results whose tumour grew from 8 to 10 mm."""
    folder = tmp_path_factory.mktemp("dates")
    for name, radius in (("earlier", 8), ("later", 10)):
        write_stored_result(folder / name, mask(radius), textured=True, case_id=f"case-{name[0]}a1b")
        path = folder / name / "result.json"
        facts = json.loads(path.read_bytes())
        facts["transforms"] = {"t1c": {"atlas_to_native_ras_mm": np.eye(4).tolist()}}
        path.write_text(json.dumps(facts))
    return folder / "earlier", folder / "later"


@pytest.fixture
def job(dates: tuple[Path, Path], tmp_path: Path) -> dict[str, Any]:
    """A job whose two dates lie in ``in`` as the gateway puts them there."""
    for result in dates:
        folder = tmp_path / "in" / result.name
        folder.mkdir(parents=True)
        shutil.copy(result / "result.json", folder)
        shutil.copy(next(result.glob("*-seg.nii.gz")), folder / "mask.nii.gz")
        shutil.copy(next(result.glob("*-t1c-atlas.nii.gz")), folder / "t1c.nii.gz")
    for name in ("out", "scratch"):
        (tmp_path / name).mkdir()
    return {
        "do": "comparison",
        "case": "case-0a1b",
        "max_bytes": 2**30,
        "limits": asdict(DEFAULT_LIMITS),
        "sequences": {"earlier": ["t1c"], "later": ["t1c"]},
        "days": 92,
        **{name: str(tmp_path / name) for name in ("in", "out", "scratch")},
    }


def made_by(job: dict[str, Any]) -> dict[str, bytes]:
    bodies.run(job, silent)
    with zipfile.ZipFile(Path(job["out"]) / MADE) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def upload(job: dict[str, Any], *files: Path) -> None:
    """Send the earlier date as a zip under numbers, as the page does."""
    folder = Path(job["in"]) / "earlier"
    shutil.rmtree(folder)
    folder.mkdir()
    with zipfile.ZipFile(folder / "upload.zip", "w") as archive:
        for number, path in enumerate(files):
            archive.write(path, f"{number:05d}.dcm")
    job["sequences"].pop("earlier")


def test_two_cases_give_the_files_of_the_command_and_both_dates_on_one_grid(
    job: dict[str, Any], tmp_path: Path
) -> None:
    made = made_by(job)
    assert set(made) == FILES | VIEWS
    comparison = Comparison.model_validate_json(made["comparison.json"])
    assert [visit.days for visit in comparison.visits] == [0, 92]
    (step,) = comparison.steps
    assert step.changes["WT"].percent == pytest.approx(100 * (10**3 / 8**3 - 1), abs=10)
    assert [match.fate for match in step.lesions] == ["same"]
    assert step.registration.shift_mm < 0.2
    assert b"92 days" in made["report.html"] and made["changes.csv"].startswith(b"earlier,later,days_between")
    seen = {}
    for name in VIEWS:
        (tmp_path / name).write_bytes(made[name])
        # Pictures are bytes, too; read as labels they stay as they are.
        seen[name] = read_labels(tmp_path / name, name) if "labels" in name else None
        assert made[name][70:74] == b"\x02\x00\x08\x00", "unsigned bytes"
    earlier, later = seen["earlier-labels.nii"], seen["later-labels.nii"]
    assert earlier is not None and later is not None and earlier.grid.same_as(later.grid)
    assert max(earlier.grid.shape) <= 64, "cropped to what is there"
    assert earlier.data.astype(bool).sum() < later.data.astype(bool).sum()
    assert len(made["earlier.nii"]) == len(made["earlier-labels.nii"])


def test_an_uploaded_result_is_known_by_hashes_whatever_its_files_are_called(
    job: dict[str, Any], dates: tuple[Path, Path]
) -> None:
    earlier = dates[0]
    image, labels = next(earlier.glob("*-t1c-atlas.nii.gz")), next(earlier.glob("*-seg.nii.gz"))
    upload(job, image, earlier / "result.json", labels, earlier / "preview.png")
    with zipfile.ZipFile(Path(job["in"]) / "earlier" / "upload.zip", "a") as archive:
        # A name that the task might use itself.
        archive.writestr("0.nii.gz", b"something else")
    comparison = Comparison.model_validate_json(made_by(job)["comparison.json"])
    assert comparison.visits[0].case_id == "case-ea1b"
    assert comparison.steps[0].changes["WT"].change_ml > 0


@pytest.mark.parametrize(
    ("left_out", "words"),
    [
        ("result.json", "expected its result.json, its mask and its t1c"),
        ("seg.nii.gz", "lacks its mask on the scan's own grid"),
        ("t1c-atlas.nii.gz", "lacks its t1c in atlas space"),
    ],
)
def test_an_upload_that_lacks_a_file_is_refused_in_a_sentence(
    job: dict[str, Any], dates: tuple[Path, Path], left_out: str, words: str
) -> None:
    names = ("result.json", "*-seg.nii.gz", "*-t1c-atlas.nii.gz")
    upload(job, *(next(dates[0].glob(name)) for name in names if not name.endswith(left_out)))
    with pytest.raises(InputError, match=words):
        bodies.run(job, silent)
    assert list(Path(job["out"]).iterdir()) == []


def test_a_result_that_names_files_elsewhere_or_is_no_result_is_refused(
    job: dict[str, Any], dates: tuple[Path, Path], tmp_path: Path
) -> None:
    facts = json.loads((dates[0] / "result.json").read_bytes())
    for odd in (b"[" * 100_000, b"{" * 100_000, json.dumps(facts | {"files": []}).encode()):
        (tmp_path / "odd.json").write_bytes(odd)
        upload({**job, "sequences": {"earlier": []}}, tmp_path / "odd.json")
        with pytest.raises(InputError, match="the earlier result is not usable"):
            bodies.run(job, silent)
        shutil.rmtree(Path(job["scratch"]))
        Path(job["scratch"]).mkdir()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../result.json", json.dumps(facts))
    (Path(job["in"]) / "earlier" / "upload.zip").write_bytes(buffer.getvalue())
    with pytest.raises(InputError):
        bodies.run(job, silent)


def test_an_image_as_large_as_a_house_is_refused_by_the_name_of_what_was_asked_for(job: dict[str, Any]) -> None:
    """Its 27 m are to be laid on a grid of 1 mm."""
    image = np.random.default_rng(4).normal(300, 40, (90, 90, 90)).astype(np.float32)
    path = Path(job["in"]) / "earlier" / "t1c.nii.gz"
    path.unlink()
    write_scan(Volume(image, Grid(image.shape, np.diag([300.0, 300.0, 300.0, 1.0]))), path)
    with pytest.raises(InputError, match=r"^the comparison takes more memory to read .* use hope compare"):
        bodies.run(job | {"called": ["the comparison", "compare smaller scans, or use hope compare"]}, silent)
    assert list(Path(job["out"]).iterdir()) == []


def test_dates_without_a_common_sequence_are_refused(job: dict[str, Any]) -> None:
    earlier = Path(job["in"]) / "earlier"
    (earlier / "t1c.nii.gz").rename(earlier / "t2f.nii.gz")
    with pytest.raises(InputError, match="no sequence in common"):
        bodies.run({**job, "sequences": {"earlier": ["t2f"], "later": ["t1c"]}}, silent)

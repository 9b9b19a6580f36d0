"""What a result says of its own identity: every code once, and each claim falls when the file tells otherwise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, PngImagePlugin
from pydicom.sr.codedict import codes
from tests.earlier_output import holds_rule

from hope.cli import main
from hope.domain.grid import Grid
from hope.export.deidentification import findings_of
from hope.export.stored_result import read_result
from hope.formats.hashing import sha256_of
from hope.stages.report.face_free import BRAIN_ONLY, WHOLE_HEAD
from hope.testing.stored_results import labelled, write_stored_result

GRID = Grid((14, 16, 13), np.diag([1.0, 2.0, 5.0, 1.0]))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("result") / "case"
    write_stored_result(folder, labelled(GRID), atlas=True)
    Image.new("RGB", (4, 4)).save(folder / "preview.png")
    restate(folder, shows=BRAIN_ONLY, model="brain")
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "case")


def restate(folder: Path, *, shows: str, model: str, images: str = "", scans: str = "full") -> None:
    """Let result.json say something else, and describe the files as they are."""
    facts = json.loads((folder / "result.json").read_text())
    facts["model"]["head_state"], facts["input"]["head_state"] = model, scans
    for entry in facts["files"]:
        entry["sha256"] = sha256_of(folder / entry["name"])
        details = {"picture": shows, "report": shows, "image": images}
        entry["detail"] = details.get(entry["role"], "")
    (folder / "result.json").write_text(json.dumps(facts))


def states(folder: Path) -> dict[str, str]:
    return {finding.code: finding.state for finding in findings_of(read_result(folder))}


def test_every_code_of_the_context_group_is_listed_once(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["deidentify-report", str(folder), "--json", str(tmp_path / "codes.json")])

    assert done.exit_code == 0, done.stderr
    known = {(c.value, c.meaning) for c in (getattr(codes.cid7050, name) for name in codes.cid7050.dir())}
    record = json.loads((tmp_path / "codes.json").read_text())
    assert {(entry["code"], entry["name"]) for entry in record["codes"]} == known
    assert len(record["codes"]) == len(known)
    assert all(entry["evidence"] and entry["code"] in done.stdout for entry in record["codes"])


def test_findings_on_other_scans_stay(folder: Path, tmp_path: Path) -> None:
    codes = tmp_path / "codes.json"
    words = ["deidentify-report", folder, "--json", codes]

    def of_other_scans() -> None:
        facts = json.loads((folder / "result.json").read_text())
        facts["input"]["sequences"]["t1c"]["sha256"] = "1" * 64
        (folder / "result.json").write_text(json.dumps(facts))

    holds_rule(words, words, [codes], between=of_other_scans)


def test_a_plain_result_claims_profile_and_faces_and_never_burned_in_text(folder: Path) -> None:
    found = states(folder)

    assert (found["113100"], found["113102"], found["113105"]) == ("done", "done", "done")
    assert found["113101"] == "not done"
    assert found["113106"] == found["113108"] == found["113110"] == "not done"


@pytest.mark.parametrize(
    ("shows", "model", "images", "scans", "state"),
    [
        (WHOLE_HEAD, "brain", "", "full", "not done"),
        ("", "brain", "", "full", "not done"),  # as versions wrote that showed the head
        (BRAIN_ONLY, "full", "", "full", "not done"),
        (BRAIN_ONLY, "full", "face removed", "full", "done"),
        ("", "full", "", "defaced", "done"),
    ],
)
def test_a_face_that_may_be_seen_is_said(
    folder: Path, shows: str, model: str, images: str, scans: str, state: str
) -> None:
    restate(folder, shows=shows, model=model, images=images, scans=scans)

    assert states(folder)["113102"] == state


def test_text_in_a_header_ends_the_claim(folder: Path) -> None:
    path = folder / "case-0a1b-seg.nii.gz"
    image = nib.load(path)
    image.header["descrip"] = b"SURNAMEMARK"
    nib.save(image, path)
    restate(folder, shows=BRAIN_ONLY, model="brain")

    finding = findings_of(read_result(folder))[0]
    assert finding.state == "not done"
    assert "text in the header of the segmentation on the scan's own grid" in finding.evidence
    assert "SURNAMEMARK" not in finding.evidence


def test_text_in_the_picture_ends_the_claim(folder: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "SURNAMEMARK")
    Image.new("RGB", (4, 4)).save(folder / "preview.png", pnginfo=text)
    restate(folder, shows=BRAIN_ONLY, model="brain")

    assert states(folder)["113100"] == "not done"


def test_files_that_were_added_or_changed_end_the_claim(folder: Path) -> None:
    (folder / "note.txt").write_text("SURNAMEMARK")
    (folder / "report.html").write_text("other")

    finding = findings_of(read_result(folder))[0]
    assert finding.state == "not done"
    assert "does not list: 1" in finding.evidence
    assert "changed since: 1" in finding.evidence

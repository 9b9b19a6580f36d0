"""The whole command line on small cases with a tiny random model: files, facts, identity, batches."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.earlier_output import edited, refused

import hope as door
from hope.domain.case import SEQUENCES
from hope.domain.grid import ATLAS_GRID
from hope.formats.nifti import read_labels, read_scan, write_scan
from hope.stages.intake.intake import find_cases
from hope.testing.head import atlas_scan


@pytest.fixture
def result(tiny_result: Path) -> tuple[Path, dict]:
    return tiny_result, json.loads((tiny_result / "result.json").read_text())


def test_all_files_are_there_and_hashed(result: tuple[Path, dict]) -> None:
    folder, facts = result
    case = folder.name
    expected = {
        f"{case}-seg.nii.gz",
        f"{case}-seg-atlas.nii.gz",
        "preview.png",
        "report.html",
        "result.json",
        "lesions.csv",
    }
    expected |= {f"{case}-{s}-atlas.nii.gz" for s in SEQUENCES}
    assert {p.name for p in folder.iterdir()} == expected
    assert {entry["name"] for entry in facts["files"]} == expected - {"result.json"}
    assert all(entry["bytes"] == (folder / entry["name"]).stat().st_size for entry in facts["files"])


def test_result_says_what_was_done(result: tuple[Path, dict]) -> None:
    folder, facts = result
    assert facts["format"] == "hope-result/1"
    assert facts["model"]["id"] == "tiny"
    assert len(facts["model"]["sha256"]) == 64
    assert facts["input"]["treated_as"] == "preprocessed"
    assert set(facts["volumes_ml"]) == {"ET", "NET", "CC", "ED", "TC", "WT"}
    mask = read_labels(folder / f"{folder.name}-seg.nii.gz")
    whole = float((mask.data > 0).sum()) * mask.grid.voxel_volume_ml
    assert facts["volumes_ml"]["WT"]["ml"] == pytest.approx(whole, abs=2e-3)
    for volume in facts["volumes_ml"].values():
        assert volume["low_ml"] <= volume["ml"] <= volume["high_ml"]
    assert [stage["name"] for stage in facts["stages"]] == [
        "intake", "preprocess", "harmonize", "segment", "postprocess", "measure",
    ]  # fmt: skip
    assert "not a medical device" in facts["disclaimer"].lower()


def test_masks_lie_on_their_grids(result: tuple[Path, dict], preprocessed_case_dir: Path) -> None:
    folder, _ = result
    case = folder.name
    native, _ = read_scan(preprocessed_case_dir / f"{case}-t1c.nii.gz", "t1c")
    mask = read_labels(folder / f"{case}-seg.nii.gz")
    assert mask.grid.same_as(native.grid)
    assert read_labels(folder / f"{case}-seg-atlas.nii.gz").grid.same_as(ATLAS_GRID)
    assert nib.load(folder / f"{case}-seg.nii.gz").get_data_dtype() == np.uint8
    assert not mask.data[native.data == 0].any(), "labels outside the brain"


def test_one_missing_sequence_is_marked(preprocessed_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    case = preprocessed_case_dir.name
    named = [a for s in ("t1n", "t1c", "t2w") for a in (f"--{s}", preprocessed_case_dir / f"{case}-{s}.nii.gz")]
    done = hope("segment", *named, "-o", tmp_path / "out", "--model", "tiny", "--device", "cpu")
    assert done.status == 0, done.err
    facts = json.loads((tmp_path / "out" / case / "result.json").read_text())
    assert facts["input"]["missing"] == ["t2f"]
    assert any(flag["code"] == "missing_sequence" and flag["sequence"] == "t2f" for flag in facts["qc"])
    assert "t2f" in done.out
    assert "not given" in (tmp_path / "out" / case / "report.html").read_text().lower()


def test_identity_survives_in_no_output(tmp_path: Path, hope: Callable) -> None:
    """A name in file names and in every free-text field of the header must be nowhere in the results."""
    patient = "SURNAMEMARK^GIVENMARK"
    folder = tmp_path / patient.replace("^", "_")
    folder.mkdir()
    for number, sequence in enumerate(SEQUENCES):
        scan = atlas_scan(number, enhanced=sequence == "t1c")
        image = nib.Nifti1Image(scan.data, scan.grid.affine_ras_mm)
        image.header["descrip"] = patient.encode()
        image.header["aux_file"] = patient.encode()
        image.header["intent_name"] = patient.encode()[:15]
        image.header["db_name"] = patient.encode()
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", patient.encode()))
        nib.save(image, folder / f"SURNAMEMARK-{sequence}.nii.gz")
    done = hope("segment", folder, "-o", tmp_path / "out", "--model", "tiny", "--device", "cpu")
    assert done.status == 0, done.err
    (made,) = (tmp_path / "out").iterdir()
    assert made.name.startswith("case-")
    import gzip

    for path in made.iterdir():
        assert "SURNAMEMARK" not in path.name
        content = path.read_bytes()
        for text in (content, gzip.decompress(content) if path.suffix == ".gz" else b""):
            assert b"SURNAMEMARK" not in text
            assert b"GIVENMARK" not in text


def test_batch_goes_on_past_a_bad_case_and_the_same_scans_give_the_same_mask(
    preprocessed_case_dir: Path, tiny_result: Path, tmp_path: Path, hope: Callable
) -> None:
    batch = tmp_path / "batch"
    batch.mkdir()
    (batch / preprocessed_case_dir.name).symlink_to(preprocessed_case_dir)
    bad = batch / "BraTS-PED-00000-000"
    bad.mkdir()
    for sequence in SEQUENCES:
        (bad / f"{bad.name}-{sequence}.nii.gz").write_bytes(b"junk")
    out = tmp_path / "out"
    done = hope("segment", batch, "-o", out, "--model", "tiny", "--device", "cpu")
    assert done.status == 3
    mask = f"{preprocessed_case_dir.name}-seg.nii.gz"
    assert (out / preprocessed_case_dir.name / mask).read_bytes() == (tiny_result / mask).read_bytes()
    assert not (out / bad.name).exists()
    assert "BraTS-PED-00000-000 failed" in done.err
    assert "1 complete" in done.err


def test_cases_that_overlap_give_the_files_of_each_alone(
    preprocessed_case_dir: Path, tiny_result: Path, tmp_path: Path, hope: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.commands.batch_overlap.has_spare_processor", lambda: True)
    batch, alone, together = (tmp_path / name for name in ("batch", "alone", "together"))
    batch.mkdir()
    good, bad = [preprocessed_case_dir.name, "BraTS-PED-00004-000", "BraTS-PED-00006-000"], "BraTS-PED-00005-000"
    for name in (*good, bad):
        (batch / name).mkdir()
        for sequence in SEQUENCES:
            scan = preprocessed_case_dir / f"{preprocessed_case_dir.name}-{sequence}.nii.gz"
            copy = batch / name / f"{name}-{sequence}.nii.gz"
            if name == bad:
                copy.write_bytes(b"junk")
            else:
                shutil.copy(scan, copy)
    shutil.copytree(tiny_result, alone / good[0])
    assert hope("segment", batch / good[2], "-o", alone, "--model", "tiny", "--device", "cpu").status == 0
    done = hope("segment", batch, "-o", together, "--model", "tiny", "--device", "cpu")
    assert done.status == 3
    assert f"1 of 4 cases failed ({bad}); 3 complete" in done.err
    assert [line for line in done.out.splitlines() if line in (*good, bad)] == good
    assert sorted(path.name for path in together.iterdir()) == good
    for path in alone.glob("*/*"):
        other = together / path.relative_to(alone)
        if path.name == "result.json":
            one, two = (json.loads(p.read_text()) for p in (path, other))
            for facts in (one, two):
                facts.pop("stages")
                facts["files"] = [entry for entry in facts["files"] if entry["kind"] != "report"]
            assert one == two
        elif path.suffix != ".html":  # it holds the seconds
            assert path.read_bytes() == other.read_bytes(), path.name


def test_an_earlier_result_is_replaced_but_never_what_a_person_added(
    preprocessed_case_dir: Path, tiny_result: Path, tmp_path: Path, hope: Callable
) -> None:
    out, case = tmp_path / "out", preprocessed_case_dir.name
    call = ("segment", preprocessed_case_dir, "-o", out, "--model", "tiny", "--device", "cpu")
    shutil.copytree(tiny_result, out / case)
    first = (out / case / "result.json").stat().st_ino
    assert hope(*call).status == 0
    assert (out / case / "result.json").stat().st_ino != first
    assert [p.name for p in out.iterdir()] == [case]
    (out / case / "notes.txt").write_text("seen by the radiologist")
    done = hope(*call)
    assert done.status == 2
    assert "notes.txt" in done.err
    (out / case / "notes.txt").unlink()
    mask = out / case / f"{case}-seg.nii.gz"
    mask.write_bytes(mask.read_bytes() + b"corrected by hand")
    assert hope(*call).status == 2
    assert mask.read_bytes().endswith(b"corrected by hand")


@pytest.mark.parametrize("command", ["segment", "preprocess", "harmonize", "saved"])
def test_other_scans_under_the_same_name_leave_the_result_alone(
    preprocessed_case_dir: Path, tiny_result: Path, tmp_path: Path, hope: Callable, command: str
) -> None:
    out, case = tmp_path / "out", preprocessed_case_dir.name
    other = shutil.copytree(preprocessed_case_dir, tmp_path / "other" / case)
    scan, _ = read_scan(other / f"{case}-t2f.nii.gz", "t2f")
    write_scan(scan.with_data(scan.data * 1.5), other / f"{case}-t2f.nii.gz")
    model = ("--model", "tiny", "--device", "cpu") if command == "segment" else ()
    if command in ("preprocess", "harmonize"):
        assert hope(command, preprocessed_case_dir, "-o", out).status == 0
        assert hope(command, preprocessed_case_dir, "-o", out).status == 0, "the same scans"
    else:
        shutil.copytree(tiny_result, out / case)
    before = {path.name: path.read_bytes() for path in (out / case).iterdir()}

    kept: list[door.Result] = []

    def run(*more: str, replace: bool = False) -> str:
        if command == "saved":
            try:
                kept.append(kept[0] if kept else door.segment(other, model="tiny"))
                kept[0].save(out, replace=replace)
            except door.OutputError as error:
                return str(error)
            return ""
        done = hope(command, other, "-o", out, *model, *more)
        return done.err if done.status else ""

    assert "made from other scans" in run() and "got other images as t2f" in run()
    assert {path.name: path.read_bytes() for path in (out / case).iterdir()} == before
    assert run("--replace", replace=True) == ""
    assert {path.name: path.read_bytes() for path in (out / case).iterdir()} != before
    assert [p.name for p in out.iterdir()] == [case]


def test_a_foreign_folder_is_not_replaced(preprocessed_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    foreign = tmp_path / "out" / preprocessed_case_dir.name
    foreign.mkdir(parents=True)
    (foreign / "thesis.txt").write_text("years of work")
    done = hope("segment", preprocessed_case_dir, "-o", tmp_path / "out", "--model", "tiny", "--device", "cpu")
    assert done.status == 2
    assert (foreign / "thesis.txt").read_text() == "years of work"


def test_infer_writes_one_mask_per_case(preprocessed_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    done = hope(
        "infer", "--data_path", preprocessed_case_dir.parent, "--output_path", tmp_path / "o", "--model", "tiny"
    )
    assert done.status == 0, done.err
    mask = read_labels(tmp_path / "o" / f"{preprocessed_case_dir.name}.nii.gz")
    native, _ = read_scan(preprocessed_case_dir / f"{preprocessed_case_dir.name}-t1c.nii.gz", "t1c")
    assert mask.grid.same_as(native.grid)


def test_harmonize_asked_for_is_done_and_told(preprocessed_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    arguments = ("segment", preprocessed_case_dir, "-o", tmp_path / "out", "--model", "tiny", "--harmonize")
    assert hope(*arguments).status == 0
    folder = tmp_path / "out" / preprocessed_case_dir.name
    facts = json.loads((folder / "result.json").read_text())
    assert facts["harmonizer"]["method"] == "histogram"
    changed = {s for s, reported in facts["harmonization"]["sequences"].items() if reported["changed"]}
    assert changed
    for sequence in changed:
        (before, _), (after, _) = (
            read_scan(f, sequence)
            for f in (
                preprocessed_case_dir / f"{folder.name}-{sequence}.nii.gz",
                folder / f"{folder.name}-{sequence}-atlas.nii.gz",
            )
        )
        assert not np.array_equal(before.data, after.data), "what the model saw is what lies there"
    kept = set(facts["harmonization"]["sequences"]) - changed
    assert {flag["sequence"] for flag in facts["qc"] if flag["code"] == "not_harmonized"} == kept
    assert "Harmonisation" in (folder / "report.html").read_text()


def test_harmonize_alone_to_a_style_that_was_learnt(
    preprocessed_case_dir: Path, tmp_path: Path, hope: Callable
) -> None:
    case, style = preprocessed_case_dir.name, tmp_path / "site.json"
    assert hope("harmonize", "--learn-style", preprocessed_case_dir, "-o", style).status == 0
    assert case not in style.read_text(), "a style names no case"
    learnt = style.read_bytes()
    style.write_bytes(edited(style))
    refused(["harmonize", "--learn-style", preprocessed_case_dir, "-o", style], [style])
    style.write_bytes(learnt)
    other = shutil.copytree(preprocessed_case_dir, tmp_path / "other" / case)
    (other / f"{case}-t2f.nii.gz").unlink()
    refused(["harmonize", "--learn-style", other, "-o", style], [style])
    done = hope("harmonize", preprocessed_case_dir, "-o", tmp_path / "out", "--target", style)
    assert done.status == 0, done.err
    folder = tmp_path / "out" / case
    facts = json.loads((folder / "harmonize.json").read_text())["harmonization"]
    assert facts["style"] == "site"
    for sequence, reported in facts["sequences"].items():
        assert reported["distance_after"] <= 1e-3, "a case is at its own style already"
        before, _ = read_scan(preprocessed_case_dir / f"{case}-{sequence}.nii.gz", sequence)
        after, _ = read_scan(folder / f"{case}-{sequence}.nii.gz", sequence)
        assert np.allclose(after.data, before.data, rtol=1e-2, atol=1e-2 * before.data.max())
    assert find_cases([tmp_path / "out"], {})[0].case_id == case, "the result can be segmented"


def test_preprocess_alone(preprocessed_case_dir: Path, tmp_path: Path, hope: Callable) -> None:
    done = hope("preprocess", preprocessed_case_dir, "-o", tmp_path / "out")
    assert done.status == 0, done.err
    folder = tmp_path / "out" / preprocessed_case_dir.name
    assert {p.name.split("-")[-1] for p in folder.iterdir()} == {
        "t1n.nii.gz", "t1c.nii.gz", "t2w.nii.gz", "t2f.nii.gz", "mask.nii.gz", "preprocess.json",
    }  # fmt: skip
    scan, _ = read_scan(folder / f"{folder.name}-t2w.nii.gz", "t2w")
    write_scan(scan, tmp_path / "again.nii.gz")
    assert scan.grid.same_as(ATLAS_GRID)

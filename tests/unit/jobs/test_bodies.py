"""The four stages one by one give what the command line gives at once, and say plainly what goes wrong."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.jobs.driving import job_in

from hope.contract.options import RunOptions
from hope.contract.outputs import Audience
from hope.contract.stages import SCANS, Stage
from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.errors import InputError, StageError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.progress import Progress, silent
from hope.domain.style import Style
from hope.domain.volume import Volume
from hope.formats import stage_io
from hope.formats.nifti import read_labels, read_scan, write_scan
from hope.jobs import bodies, tasks
from hope.pipeline import run_case
from hope.stages.intake.intake import CaseSource
from hope.stages.postprocess.uncertainty import BY_PROBABILITY
from hope.testing.fakes import FakeBrainExtractor
from hope.testing.head import head_scan

STAGES = ("preprocess", "harmonize", "segment", "postprocess")
CASE = "case-0123abcd"
GIVEN = (MRSequence.T1C, MRSequence.T2W)  # two are enough, and twice as fast as four


class BlockPredictor:
    """Marks where t1c is bright, and two specks: one that cleaning removes, one that is too small for a surface."""

    head_state = HeadState.BRAIN

    def __init__(self) -> None:
        self.prepared = 0

    def prepare(self) -> None:
        self.prepared += 1

    def missing_sequences(self, present: Collection[MRSequence]) -> tuple[MRSequence, ...]:
        if MRSequence.T1C not in present:
            raise InputError("the model cannot do without t1c", fix="add the missing scan with --t1c FILE")
        return tuple(s for s in SEQUENCES if s not in present)

    def describe(self) -> Mapping[str, object]:
        return {"id": "block", "version": "1", "device": f"prepared {self.prepared} times"}

    device_note = ""

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        progress("segment: tile 1 of 1", 0.5)
        image = case.images[MRSequence.T1C]
        labels = (image.data > 600).astype(np.uint8)
        middle = int(np.median(np.nonzero(labels)[2]))
        labels[:, :, :middle] *= 4
        labels[120, 120, 20] = 3
        probability = {key: (labels == value).astype(np.float16) for key, value in _VALUES.items()}
        probability |= {"TC": ((labels > 0) & (labels < 4)).astype(np.float16), "WT": (labels > 0).astype(np.float16)}
        return Prediction(image.with_data(labels), probability, "block", "0" * 64, self.missing_sequences(case.images))


_VALUES = {"ET": 1, "NET": 2, "CC": 3, "ED": 4}


@pytest.fixture(autouse=True)
def doubles(monkeypatch: pytest.MonkeyPatch) -> BlockPredictor:
    predictor = BlockPredictor()
    monkeypatch.setattr(bodies, "_predictor_of", {None: predictor}.__getitem__)
    monkeypatch.setattr(bodies, "_brain", FakeBrainExtractor)
    return predictor


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Preprocessed scans, as the gateway stores them; t2w lists its voxels along other axes."""
    folder = tmp_path_factory.mktemp("scans")
    for number, sequence in enumerate(GIVEN):
        head = head_scan(number, enhanced=sequence is MRSequence.T1C, background_noise=False)
        data = np.zeros(ATLAS_GRID.shape, np.float32)
        data[60:180, 50:182, 20:132] = np.rint(head.data).repeat(2, 0).repeat(2, 1).repeat(2, 2)
        whole = Volume(data, ATLAS_GRID)
        write_scan(whole.reoriented("RSP") if sequence is MRSequence.T2W else whole, folder / f"{sequence}.nii")
    return folder


def run_stages(folder: Path, scans: Path) -> dict[str, Any]:
    """Run all stages as the worker does, each on what it reads and no more; answers the last one's done value."""
    left: dict[Path, str] = {}
    for stage in Stage:
        shutil.rmtree(folder / "in", ignore_errors=True)
        (folder / "in").mkdir(parents=True)
        for scan in scans.glob("*.nii") if SCANS in stage.spec.reads else ():
            shutil.copy(scan, folder / "in")
        for path, role in left.items():
            if role in stage.spec.reads:
                shutil.copy(path, folder / "in")
        job = job_in(folder, stage, CASE)
        done = bodies.run(job, silent)
        listed = sorted(entry["name"] for entry in done["artifacts"])
        assert listed == sorted(path.name for path in Path(job["out"]).iterdir()), "what is left must be listed"
        left |= {Path(job["out"]) / entry["name"]: entry["role"] for entry in done["artifacts"]}
        roles = {entry["role"] for entry in done["artifacts"]}
        between = {role for role in stage.spec.writes if role.audience is Audience.STAGES}
        assert between <= roles <= set(stage.spec.writes), "the contract says what a stage writes"
        json.dumps(done, allow_nan=False)
    return done


@pytest.fixture(scope="module")
def finished(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """One case through all stages, made once."""
    with pytest.MonkeyPatch.context() as patch:
        predictor = BlockPredictor()
        patch.setattr(bodies, "_predictor_of", lambda model: predictor)
        patch.setattr(bodies, "_brain", FakeBrainExtractor)
        folder = tmp_path_factory.mktemp("finished")
        return folder, run_stages(folder, scans)


def test_it_gives_what_the_command_line_gives(
    finished: tuple[Path, dict[str, Any]], scans: Path, tmp_path: Path, doubles: BlockPredictor
) -> None:
    folder, _ = finished
    source = CaseSource(CASE, {s: scans / f"{s}.nii" for s in GIVEN})
    run_case(source, doubles, FakeBrainExtractor(), tmp_path, RunOptions())
    for path in (tmp_path / CASE).iterdir():
        ours = folder / "out-postprocess" / path.name
        if path.suffix in (".gz", ".png"):
            assert ours.read_bytes() == path.read_bytes(), path.name
    at_once, one_by_one = (
        json.loads((place / "result.json").read_text()) for place in (tmp_path / CASE, folder / "out-postprocess")
    )
    names = [[stage["name"] for stage in facts.pop("stages")] for facts in (at_once, one_by_one)]
    assert names[0] == names[1]
    assert one_by_one.pop("model")["device"] == "prepared 1 times"
    for facts in (at_once, one_by_one):
        facts.pop("model", None)
        facts.pop("files")
    assert one_by_one == at_once


def test_the_files_are_those_of_the_contract(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, done = finished
    kinds = {entry["name"]: entry["kind"] for entry in done["artifacts"]}
    assert all(entry["public"] for entry in done["artifacts"])
    assert kinds.pop("result.json")
    endings = {name.removeprefix(f"{CASE}-"): kind for name, kind in kinds.items()}
    assert endings == {
        "seg.nii.gz": "segmentation on the scan's own grid",
        "seg-atlas.nii.gz": "segmentation on the atlas grid",
        "seg-model.nii.gz": "segmentation before post-processing",
        "uncertainty-view.nii.gz": f"view of the uncertainty, 0 to 1: {BY_PROBABILITY}",
        **{f"{s}-atlas.nii.gz": f"{s} on the atlas grid" for s in GIVEN},
        **{f"{s}-view.nii.gz": "view" for s in GIVEN},
        "brain-view.nii.gz": "mask of the brain",
        "mesh-ET.mz3": "mesh",
        "mesh-ED.mz3": "mesh",
        "volumes.csv": "volumes as a table",
        "lesions.csv": "diameters of lesions as a table",
        "preview.png": "picture",
        "quick-look.webp": "quick look",
        "report.html": "report",
    }
    listed = {entry["name"] for entry in json.loads((folder / "out-postprocess" / "result.json").read_text())["files"]}
    assert not [name for name in listed if "-view" in name or "-mesh" in name], "the command line's list stays as it is"


def test_views_lie_on_the_grid_of_the_mask(finished: tuple[Path, dict[str, Any]], scans: Path) -> None:
    out = finished[0] / "out-postprocess"
    mask = read_labels(out / f"{CASE}-seg.nii.gz")
    for sequence in GIVEN:
        view, facts = read_scan(out / f"{CASE}-{sequence}-view.nii.gz", sequence)
        original, _ = read_scan(scans / f"{sequence}.nii", sequence)
        assert view.grid.same_as(mask.grid)
        assert facts.dtype == "int16"
        assert np.array_equal(view.data, original.reoriented(view.grid.orientation).data)


def test_the_mask_before_cleaning_is_kept(finished: tuple[Path, dict[str, Any]]) -> None:
    out = finished[0] / "out-postprocess"
    before, after = (read_labels(out / f"{CASE}-{name}.nii.gz") for name in ("seg-model", "seg"))
    assert (before.data == 3).sum() == 1
    assert (after.data == 3).sum() == 0
    assert np.array_equal(before.data[before.data != 3], after.data[before.data != 3])


def test_the_page_gets_facts_without_matrices(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, done = finished
    full = json.loads((folder / "out-postprocess" / "result.json").read_text())
    facts = done["result"]
    assert facts["volumes_ml"] == full["volumes_ml"]
    assert facts["tumour_found"] is True
    assert facts["postprocess"]["changed"] is True
    assert facts["input"]["reference"] == "t1c"
    assert facts["input"]["sequences"]["t2w"]["sha256"] == full["input"]["sequences"]["t2w"]["sha256"]
    assert "affine" not in json.dumps(facts)
    assert "transforms" not in facts
    assert [stage["name"] for stage in facts["stages"]][:4] == ["intake", "preprocess", "harmonize", "segment"]


def test_the_table_says_the_volumes(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, done = finished
    rows = list(csv.DictReader((folder / "out-postprocess" / "volumes.csv").open()))
    assert [row["part"] for row in rows] == ["ET", "NET", "CC", "ED", "TC", "WT"]
    for row in rows:
        for name in ("ml", "low_ml", "high_ml"):
            assert float(row[name]) == done["result"]["volumes_ml"][row["part"]][name]


def test_harmonisation_hands_over_no_image(finished: tuple[Path, dict[str, Any]]) -> None:
    left = list((finished[0] / "out-harmonize").iterdir())
    assert sum(path.stat().st_size for path in left) < 4000


def test_without_cleaning_the_answer_stays_as_it_is(finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Only the last stage is run anew, on what the others left."""
    shutil.copytree(finished[0] / "in", tmp_path / "in")
    done = bodies.run(job_in(tmp_path, "postprocess", CASE, choice={"postprocess": False}), silent)
    out = tmp_path / "out-postprocess"
    assert (out / f"{CASE}-seg.nii.gz").read_bytes() == (out / f"{CASE}-seg-model.nii.gz").read_bytes()
    assert (read_labels(out / f"{CASE}-seg.nii.gz").data == 3).sum() == 1
    assert done["result"]["postprocess"]["rules"] == "none"
    assert done["result"]["postprocess"]["changed"] is False
    assert f"{CASE}-mesh-CC.mz3" in {entry["name"] for entry in done["artifacts"]}


class Doubler:
    """A ``ports.Harmonizer`` that makes t2w twice as bright, and forgets the others."""

    method = "histogram"

    def learn(self, case: AlignedCase) -> Style:
        raise AssertionError("nobody asked")

    def apply(self, case: AlignedCase, style: Style, progress: Progress) -> Mapping[MRSequence, Volume]:
        return {MRSequence.T2W: case.images[MRSequence.T2W].with_data(case.images[MRSequence.T2W].data * 2)}

    def describe(self) -> Mapping[str, object]:
        return {"method": "histogram"}


def test_harmonisation_asked_for_is_done_and_told(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hope.services.Services.harmonizer", lambda self, method=None: Doubler())
    shutil.copytree(finished[0] / "in", tmp_path / "in")
    job = job_in(tmp_path, "harmonize", CASE, choice={"harmonize": True})
    listed = {entry["name"] for entry in bodies.run(job, silent)["artifacts"]}
    assert listed == {"harmonized.json", "harmonized-t2w.npy", "harmonize.json"}
    for name in listed:
        shutil.copy(Path(job["out"]) / name, tmp_path / "in")
    aligned = stage_io.load_aligned(tmp_path / "in")
    harmonized = stage_io.load_harmonized(tmp_path / "in", aligned)
    assert np.array_equal(harmonized.images[MRSequence.T2W].data, aligned.images[MRSequence.T2W].data * 2)
    assert harmonized.details["sequences"]["t2w"]["edge_ssim"] == pytest.approx(1)
    assert {flag.sequence for flag in harmonized.flags} == set(aligned.images) - {MRSequence.T2W}


def test_how_a_series_was_told_reaches_the_result(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for scan in scans.glob("*.nii"):
        shutil.copy(scan, tmp_path / "in")
    known = {"t2w": {"confidence": 0.75, "reason": "T2 by its timing"}}
    bodies.run(job_in(tmp_path, "preprocess", CASE, sources=known), silent)
    facts = json.loads((tmp_path / "out-preprocess" / "uploaded.json").read_text())["scans"]
    assert facts["t2w"]["source"] == known["t2w"]
    assert facts["t1c"]["source"]["confidence"] == 1.0


def test_progress_grows_from_nothing_to_all(scans: Path, tmp_path: Path, finished: tuple[Path, dict[str, Any]]) -> None:
    shutil.copytree(finished[0] / "in", tmp_path / "in")
    for stage in STAGES:
        shares: list[float] = []
        words: list[str] = []

        def reported(message: str, share: float, shares: list[float] = shares, words: list[str] = words) -> None:
            shares.append(share)
            words.append(message)

        bodies.run(job_in(tmp_path, stage, CASE), reported)
        assert shares == sorted(shares), stage
        assert 0 <= shares[0] <= shares[-1] <= 1.0001, stage
        assert shares[-1] > 0.95, stage
        assert all(words), stage


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_without_its_input_is_our_fault(stage: str, scans: Path, tmp_path: Path) -> None:
    shutil.copytree(scans, tmp_path / "in")
    with pytest.raises(StageError, match="left no readable"):
        bodies.run(job_in(tmp_path, stage, CASE), silent)


@pytest.mark.parametrize(
    ("keep", "choice", "words"),
    [
        ((), {}, "none of the sequences"),
        (("t2w",), {}, "the model cannot do without t1c; look at the scans, and assign or add t1c"),
        (("t1c",), {"preprocessed": True}, "run it again as raw scans"),
    ],
)
def test_advice_speaks_of_no_flags(
    keep: tuple[str, ...], choice: dict[str, Any], words: str, scans: Path, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name in keep:
        scan, _ = read_scan(scans / f"{name}.nii", name)
        if choice:
            scan = Volume(scan.data[:-3], Grid((237, 240, 155), scan.grid.affine_ras_mm))
        write_scan(scan, tmp_path / "in" / f"{name}.nii")
    with pytest.raises(InputError, match=words) as caught:
        bodies.run(job_in(tmp_path, "preprocess", CASE, choice=choice), silent)
    assert "--" not in caught.value.message()


@pytest.mark.parametrize(
    ("fix", "said"),
    [
        ("add a scan with --t2w FILE or --t2f FILE", "look at the scans, and assign or add t2w and t2f"),
        ("say it with --t1n FILE or --t1c FILE", "look at the scans, and assign or add t1n and t1c"),
        ("name a case or a style file with --target", ""),
    ],
)
def test_flags_become_words(fix: str, said: str) -> None:
    spoken = bodies.for_the_page(InputError("two scans look alike", expected="one", got="two", fix=fix))
    assert spoken.fix == said
    assert (spoken.what, spoken.expected, spoken.got) == ("two scans look alike", "one", "two")


@pytest.mark.parametrize("job", ["harmonize", "segment", "postprocess", "dicom"])
def test_every_job_speaks_of_no_flags(job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise InputError("the model cannot work without t2w", fix="add the missing scan with --t2w FILE")

    monkeypatch.setattr(bodies, "_body", lambda _run: refused)
    monkeypatch.setitem(tasks.TASKS, "dicom", refused)
    with pytest.raises(InputError, match="assign or add t2w") as caught:
        bodies.run({"do": job}, silent)
    assert "--" not in caught.value.message()


def test_an_unknown_job_is_refused() -> None:
    with pytest.raises(InputError, match="no such stage"):
        bodies.run({"do": "delete"}, silent)


def test_advice_without_flags_is_passed_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not raised from itself: whoever follows its causes would not end."""
    error = InputError("two scans look alike", fix="zip one study at a time")

    def refused(*_: object) -> None:
        raise error

    monkeypatch.setitem(tasks.TASKS, "dicom", refused)
    with pytest.raises(InputError) as caught:
        bodies.run({"do": "dicom"}, silent)
    assert caught.value is error and error.__cause__ is None

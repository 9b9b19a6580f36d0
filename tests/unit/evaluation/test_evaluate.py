"""Scores of whole cases, the grids they are compared on, and the command."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from hope.commands.evaluate import case_name, find_masks
from hope.commands.evaluate import evaluate as command
from hope.domain.errors import InputError, OutputError
from hope.domain.grid import ALL_ORIENTATIONS, Grid
from hope.domain.volume import Volume
from hope.evaluation.evaluate import CaseScores, evaluate, mean_scores
from hope.evaluation.surface import dice, hd95_mm, surface_points_mm
from hope.formats.nifti import write_labels

Mask = npt.NDArray[np.uint8]

SHAPE = (30, 26, 22)
BRATS_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1.0, 0, 239.0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])


def volume(labels: Mask, affine: npt.NDArray[np.float64] = BRATS_AFFINE) -> Volume:
    return Volume(labels, Grid(labels.shape, affine))


def phantom() -> Mask:
    """Oedema with a solid part in it, of which half enhances, and a cyst."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:18, 4:16, 4:14] = 4
    labels[6:12, 6:12, 6:12] = 2
    labels[6:9, 6:12, 6:12] = 1
    labels[13:16, 6:9, 6:9] = 3
    return labels


def adult(labels: Mask, scheme: str) -> Mask:
    table = {"brats2021": [0, 4, 1, 1, 2], "brats2023": [0, 3, 1, 1, 2]}[scheme]
    return np.array(table, np.uint8)[labels]


class TestSurface:
    def test_two_cubes_three_apart(self) -> None:
        first, second = np.zeros((2, 20, 20, 20), np.bool_)
        first[5:10, 5:10, 5:10] = second[8:13, 5:10, 5:10] = True
        assert dice(first, second) == pytest.approx(2 * 50 / 250)
        assert hd95_mm(first, second, (1, 1, 1)) == 3.0
        assert hd95_mm(first, second, (2.5, 1, 1)) <= 7.5
        assert hd95_mm(first, first, (1, 1, 1)) == 0.0

    def test_single_voxels_measure_millimetres_along_their_axis(self) -> None:
        first, second = np.zeros((2, 9, 9, 9), np.bool_)
        first[1, 1, 1] = second[2, 4, 6] = True
        assert hd95_mm(first, second, (1, 2, 3)) == pytest.approx(np.linalg.norm([1, 6, 15]))

    def test_the_surface_is_made_of_voxels_with_a_face_outside(self) -> None:
        solid = np.ones((5, 5, 5), np.bool_)
        assert len(surface_points_mm(solid, (1, 1, 1))) == 125 - 27, "the edge of the volume is outside"
        dented = solid.copy()
        dented[0, 0, 0] = False
        assert len(surface_points_mm(dented, (1, 1, 1))) == 97

    def test_an_empty_mask_has_no_distance(self) -> None:
        empty = np.zeros((4, 4, 4), np.bool_)
        assert dice(empty, empty) == 1.0
        with pytest.raises(ValueError, match="no surface"):
            hd95_mm(empty, ~empty, (1, 1, 1))

    def test_equals_distance_transforms(self) -> None:
        rng = np.random.default_rng(2)
        spacing = (0.8, 1.3, 2.0)
        for _ in range(5):
            first, second = (ndimage.gaussian_filter(rng.normal(size=(24, 20, 18)), 2) > 0.02 for _ in range(2))
            edges = [mask & ~ndimage.binary_erosion(mask) for mask in (first, second)]
            there = ndimage.distance_transform_edt(~edges[1], sampling=spacing)[edges[0]]
            back = ndimage.distance_transform_edt(~edges[0], sampling=spacing)[edges[1]]
            assert hd95_mm(first, second, spacing) == pytest.approx(np.percentile(np.hstack([there, back]), 95))


def test_a_perfect_prediction_scores_one_everywhere() -> None:
    scores = evaluate(volume(phantom()), volume(phantom()))
    assert list(scores["regions"]) == ["ET", "TC", "WT", "NET", "CC", "ED"]
    for region in scores["regions"].values():
        assert (region["dice"], region["hd95_mm"], region["lw_hd95_mm"]) == (1.0, 0.0, 0.0)
    assert scores["notes"] == []
    assert scores["regions"]["WT"]["truth_ml"] == pytest.approx(1.68)


def test_regions_combine_labels() -> None:
    prediction = phantom()
    prediction[prediction == 1] = 2  # all ET called NET: ET fails, TC and WT do not notice
    regions = evaluate(volume(prediction), volume(phantom()))["regions"]
    assert (regions["ET"]["dice"], regions["ET"]["hd95_mm"]) == (0.0, 374.0)
    assert regions["NET"]["dice"] == pytest.approx(2 * 108 / (216 + 108))
    assert regions["TC"]["dice"] == regions["WT"]["dice"] == regions["ED"]["dice"] == 1.0


@pytest.mark.parametrize("scheme", ["brats2021", "brats2023"])
def test_adult_truth_judges_a_childrens_model(scheme: str) -> None:
    scores = evaluate(volume(phantom()), volume(adult(phantom(), scheme)), scheme)
    assert list(scores["regions"]) == ["ET", "TC", "WT", "NET", "ED"]
    assert all(scores["regions"][key]["dice"] == 1.0 for key in ("ET", "TC", "WT", "ED"))
    assert scores["regions"]["NET"]["dice"] == pytest.approx(2 * 108 / (108 + 135))
    assert "predicted CC" in scores["notes"][0]
    both = evaluate(volume(adult(phantom(), scheme)), volume(adult(phantom(), scheme)), scheme, scheme)
    assert all(region["dice"] == 1.0 for region in both["regions"].values())


@pytest.mark.parametrize("scheme", ["brats2023", "brats2021"])
def test_a_scheme_that_was_not_named_is_told(scheme: str) -> None:
    ours, theirs = phantom(), adult(phantom(), scheme)
    (note,) = evaluate(volume(ours), volume(theirs))["notes"]
    assert f"if the truth is {scheme} and the prediction peds" in note and "check the label schemes" in note
    (note,) = evaluate(volume(theirs), volume(ours))["notes"]
    assert f"if the truth is peds and the prediction {scheme}" in note
    poor = np.roll(ours, 6, axis=0)
    assert evaluate(volume(poor), volume(ours))["notes"] == [], "a poor mask is a poor mask"


@pytest.mark.parametrize("scheme", ["brats2021", "brats2023"])
def test_two_adult_masks_that_are_said_to_be_childrens_are_told(scheme: str) -> None:
    x, y, z = np.indices((40, 40, 40)) - 19.5
    away = np.sqrt(x**2 + y**2 + z**2)
    peds = np.select([away < 5, away < 9, away < 17], [2, 1, 4], 0).astype(np.uint8)
    mask = adult(peds, scheme)
    if scheme == "brats2021":
        with pytest.raises(InputError, match="scheme"):  # there is no 4 in the other, which speaks for itself
            evaluate(volume(mask), volume(mask), "brats2023", "brats2023")
    (note,) = evaluate(volume(mask), volume(mask))["notes"]
    assert f"as those of the {scheme} scheme do, not of peds" in note
    assert evaluate(volume(mask), volume(mask), scheme, scheme)["notes"] == []
    assert evaluate(volume(peds), volume(peds))["notes"] == []


def _confused(mask: np.ndarray, *pairs: tuple[int, int]) -> np.ndarray:
    """The mask with values called by others."""
    made = mask.copy()
    for value, called in pairs:
        made[mask == value] = called
    return made


def _scheme_notes(scores: CaseScores) -> list[str]:
    return [note for note in scores["notes"] if "label schemes" in note]


@pytest.mark.parametrize("scheme", ["brats2023", "peds"])
def test_a_poor_model_is_not_taken_for_another_scheme(scheme: str) -> None:
    truth = adult(phantom(), scheme) if scheme != "peds" else phantom()
    for first, second in [(1, 2), (2, 3), (1, 3)]:
        # Parts mixed up, and one never found: the schemes are as named all the same.
        for pairs in [((first, second), (second, first)), ((first, second),), ((1, second), (2, second), (3, second))]:
            poor = _confused(truth, *pairs)
            assert not _scheme_notes(evaluate(volume(poor), volume(truth), scheme, scheme)), pairs
    all_one = np.where(phantom() > 0, 2, 0).astype(np.uint8)
    adult_truth = _confused(adult(phantom(), "brats2023"), (1, 2))
    assert not _scheme_notes(evaluate(volume(all_one), volume(adult_truth), "brats2023", "peds"))


def test_values_outside_the_scheme_are_refused() -> None:
    with pytest.raises(InputError, match="--pred-scheme"):
        evaluate(volume(adult(phantom(), "brats2021") + np.uint8(3)), volume(phantom()))
    with pytest.raises(InputError, match="--scheme"):
        evaluate(volume(phantom()), volume(phantom()), "brats2023")
    with pytest.raises(InputError, match="unknown label scheme"):
        evaluate(volume(phantom()), volume(phantom()), "fets")


@settings(max_examples=25)
@given(st.sampled_from(ALL_ORIENTATIONS), st.sampled_from(ALL_ORIENTATIONS))
def test_orientation_changes_no_score(ours: str, theirs: str) -> None:
    truth = volume(phantom(), np.diag([0.9, 1.1, 3.0, 1.0]))
    prediction = truth.with_data(np.roll(truth.data, 1, axis=2))
    plain = evaluate(prediction, truth)
    turned = evaluate(prediction.reoriented(ours), truth.reoriented(theirs))
    assert turned["notes"] == []
    for region, scores in plain["regions"].items():
        assert turned["regions"][region]["dice"] == pytest.approx(scores["dice"])
        assert turned["regions"][region]["hd95_mm"] == pytest.approx(scores["hd95_mm"])


def test_another_header_on_the_same_voxels_is_compared_and_said() -> None:
    """BraTS releases disagree about the header; once both are RAS the voxels agree."""
    truth = volume(phantom())
    other = Volume(phantom()[::-1, ::-1], Grid(SHAPE, np.diag([1.0, 1.0, 1.0, 1.0])))
    scores = evaluate(other, truth)
    assert scores["regions"]["WT"]["dice"] == 1.0
    assert "headers differ by up to" in scores["notes"][0]


def test_a_sheared_grid_gets_a_note() -> None:
    sheared = BRATS_AFFINE.copy()
    sheared[0, 1] = 0.3
    scores = evaluate(volume(phantom(), sheared), volume(phantom(), sheared))
    assert any("16.7 degrees from right angles" in note for note in scores["notes"])
    assert evaluate(volume(phantom()), volume(phantom()))["notes"] == []


def test_other_sizes_and_spacings_are_refused() -> None:
    with pytest.raises(InputError, match="30 x 26 x 22 voxels as in the truth, got 29 x 26 x 22"):
        evaluate(volume(phantom()[1:]), volume(phantom()))
    with pytest.raises(InputError, match="spacing"):
        evaluate(volume(phantom(), np.diag([1.0, 1, 2, 1])), volume(phantom()))


def test_means_leave_out_what_is_not_defined() -> None:
    empty = np.zeros(SHAPE, np.uint8)
    means = mean_scores([evaluate(volume(phantom()), volume(phantom())), evaluate(volume(empty), volume(phantom()))])
    assert means["WT"]["dice"] == 0.5
    assert means["WT"]["hd95_mm"] == 187.0
    assert means["WT"]["brats-evaluation.hd95_mm"] == 0.0
    assert mean_scores([]) == {}


class TestCommand:
    def run(self, *words: object) -> Result:
        return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)

    def test_two_files(self, tmp_path: Path) -> None:
        write_labels(volume(phantom()), tmp_path / "a.nii.gz")
        write_labels(volume(adult(phantom(), "brats2023")), tmp_path / "b-seg.nii.gz")
        table = tmp_path / "scores.json"
        outcome = self.run(tmp_path / "a.nii.gz", tmp_path / "b-seg.nii.gz", "--scheme", "brats2023", "--json", table)
        assert outcome.exit_code == 0
        lines = outcome.output.splitlines()
        assert lines[0].split() == ["case", "region", "Dice", "HD95", "LW-Dice", "LW-HD95", "LW26-Dice", "LW26-HD95"]
        assert lines[1].split() == ["b", "ET", "1.000", "0.0", "1.000", "0.0", "1.000", "0.0"]
        assert len({len(line) for line in lines[:6]}) == 1, "columns are aligned"
        record = json.loads(table.read_text(encoding="utf-8"))
        assert record["cases"]["b"]["regions"]["WT"]["lesionwise"]["brats-2023"]["found"] == 1
        assert record["means"]["TC"]["lw_dice"] == 1.0
        assert record["failures"] == {}

    def test_directories_are_matched_by_case_and_gaps_end_with_status_3(self, tmp_path: Path) -> None:
        truth, ours = tmp_path / "truth", tmp_path / "ours"
        for case in ("A-000", "B-000", "C-000"):
            (truth / case).mkdir(parents=True)
            write_labels(volume(phantom()), truth / case / f"{case}-seg.nii.gz")
            (truth / case / f"{case}-t1c.nii.gz").write_bytes(b"never opened")
        (ours / "A-000").mkdir(parents=True)
        write_labels(volume(phantom()), ours / "A-000" / "A-000-seg.nii.gz")
        (ours / "A-000" / "A-000-seg-atlas.nii.gz").write_bytes(b"never opened")
        write_labels(volume(phantom()[1:]), ours / "B-000.nii.gz")
        write_labels(volume(phantom()), ours / "Z-000.nii.gz")
        outcome = self.run(ours, truth, "--json", tmp_path / "scores.json")
        assert outcome.exit_code == 3
        assert "failed: C-000: no prediction for this case" in outcome.stderr
        assert "failed: B-000: prediction and truth differ in size" in outcome.stderr
        assert "Z-000 has no truth" in outcome.stderr
        record = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
        assert list(record["cases"]) == ["A-000"]
        assert sorted(record["failures"]) == ["B-000", "C-000"]
        assert self.run(ours, truth / "A-000" / "A-000-seg.nii.gz").exit_code == 0
        assert self.run(ours / "A-000" / "A-000-seg.nii.gz", truth).exit_code == 0

    def test_several_cases_end_with_their_mean(self, tmp_path: Path) -> None:
        for folder, labels in (("truth", phantom()), ("ours", np.roll(phantom(), 1, axis=0))):
            (tmp_path / folder).mkdir()
            for case in ("one", "two"):
                write_labels(volume(labels), tmp_path / folder / f"{case}.nii.gz")
        outcome = self.run(tmp_path / "ours", tmp_path / "truth")
        assert outcome.exit_code == 0
        assert sum(line.startswith("mean ") for line in outcome.output.splitlines()) == 6

    def test_wrong_calls_are_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        write_labels(volume(phantom()), tmp_path / "a.nii.gz")
        for words, sentence in (
            ((tmp_path / "nowhere", tmp_path / "a.nii.gz"), "PRED does not exist"),
            ((tmp_path / "a.nii.gz", tmp_path / "empty"), "TRUTH holds no masks"),
        ):
            with pytest.raises(InputError, match=sentence):
                self.run(*words)

    def test_two_masks_of_one_case_are_refused(self, tmp_path: Path) -> None:
        for name in ("x.nii.gz", "x-seg.nii"):
            write_labels(volume(phantom()), tmp_path / name)
        with pytest.raises(InputError, match="two masks for case x"):
            find_masks(tmp_path, "PRED")

    def test_what_an_interrupted_run_left_is_no_mask(self, tmp_path: Path) -> None:
        for folder in ("x", ".y.0a1b2c3d.part"):
            (tmp_path / folder).mkdir()
            write_labels(volume(phantom()), tmp_path / folder / f"{folder.strip('.')[0]}-seg.nii.gz")
        (tmp_path / "x" / "._x-seg.nii.gz").write_bytes(b"never opened")
        assert list(find_masks(tmp_path, "PRED")) == ["x"]

    def test_scans_of_every_naming_scheme_are_passed_over(self, tmp_path: Path) -> None:
        for name in ("sub-01_T1w", "sub-01_ce-gad_T1w", "sub-01_FLAIR", "x-t1gd", "y_t1ce", "z-t1c-atlas"):
            (tmp_path / f"{name}.nii.gz").write_bytes(b"never opened")
        write_labels(volume(phantom()), tmp_path / "sub-01_dseg.nii.gz")
        assert list(find_masks(tmp_path, "TRUTH")) == ["sub-01"]

    def test_what_cannot_be_read_is_one_sentence(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_labels(volume(phantom()), tmp_path / "a.nii.gz")
        long = tmp_path / ("x" * 300)
        for words, role in (((long, tmp_path / "a.nii.gz"), "PRED"), ((tmp_path / "a.nii.gz", long), "TRUTH")):
            with pytest.raises(InputError, match=f"{role} cannot be read") as caught:
                self.run(*words)
            assert "xxx" not in str(caught.value)
        (tmp_path / "closed").mkdir()
        write_labels(volume(phantom()), tmp_path / "closed" / "b.nii.gz")
        scandir = os.scandir

        def refuse(path: object) -> object:
            if str(path).endswith("closed"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return scandir(str(path))

        monkeypatch.setattr(os, "scandir", refuse)
        monkeypatch.setattr(os, "listdir", lambda path: [entry.name for entry in os.scandir(path)])
        with pytest.raises(InputError, match="PRED cannot be read"):
            find_masks(tmp_path, "PRED")

    def test_scores_are_written_whole_or_not_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_labels(volume(phantom()), tmp_path / "a.nii.gz")
        table = tmp_path / "scores.json"
        self.run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", "--json", table)
        older = table.read_bytes()

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="disk is full"):
            self.run(tmp_path / "a.nii.gz", tmp_path / "a.nii.gz", "--json", table)
        assert table.read_bytes() == older

    @pytest.mark.parametrize(
        ("name", "case"),
        [
            ("BraTS-PED-00001-000.nii.gz", "BraTS-PED-00001-000"),
            ("BraTS-PED-00001-000-seg.nii.gz", "BraTS-PED-00001-000"),
            ("BraTS2021_00000_seg.nii", "BraTS2021_00000"),
            ("sub-01_dseg.nii.gz", "sub-01"),
        ],
    )
    def test_case_names(self, name: str, case: str) -> None:
        assert case_name(Path(name)) == case


@pytest.mark.real
def test_a_real_mask_agrees_with_itself_in_seconds(shared_data: Path) -> None:
    from hope.formats.nifti import read_labels

    truth = read_labels(next((shared_data / "dev" / "BraTS2021_00000").glob("*seg*")))
    scores = evaluate(truth, truth, "brats2021", "brats2021")
    assert all(region["dice"] == region["lw_dice"] == 1.0 for region in scores["regions"].values())

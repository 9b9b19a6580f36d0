"""hope train as a group, and hope train postprocess from files to a rules file that hope postprocess takes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests.earlier_output import holds_rule

from hope.cli import main
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import StageError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.labels import ET, NET
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels, write_labels, write_scan

SHAPE = (28, 24, 24)
GRID = Grid(SHAPE, ATLAS_GRID.affine_ras_mm)
ELSEWHERE = Grid(SHAPE, np.diag([-1.0, -1.0, 1.0, 1.0]))
CASES = 10


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def make_cases(root: Path, count: int = CASES) -> None:
    """results/<case>/ as hope segment writes it, drawn/<case>.nii.gz by hand under another header."""
    (root / "drawn").mkdir()
    for number in range(count):
        case = f"synth-{number:04d}"
        truth = np.zeros(SHAPE, np.uint8)
        truth[2 + number % 3 : 12, 2:12, 2:12] = NET
        spotted = truth.copy()
        spotted[20:24, 16:20, 16:20] = ET
        folder = root / "results" / case
        folder.mkdir(parents=True)
        write_labels(Volume(spotted, GRID), folder / f"{case}-seg-atlas.nii.gz")
        write_labels(Volume(spotted, GRID), folder / f"{case}-seg.nii.gz")
        (folder / "result.json").write_text("{}")
        for sequence in SEQUENCES:
            image = np.full(SHAPE, 1.0 + number % 2, np.float32)
            write_scan(Volume(image, GRID), folder / f"{case}-{sequence}-atlas.nii.gz")
        write_labels(Volume(truth, ELSEWHERE), root / "drawn" / f"{case}.nii.gz")


@pytest.fixture
def features(monkeypatch: pytest.MonkeyPatch) -> None:
    def computed(images: dict[MRSequence, Volume], labels: Volume) -> dict[str, float]:
        kind = float(images[MRSequence.T1C].data.mean())
        if kind > 5:
            raise StageError("the tumour is too small")
        return {"a": kind - 1, "b": 2 - kind, "c": 0.01 * float(labels.data.sum()) / 5000}

    monkeypatch.setattr("hope.stages.postprocess.radiomics.tumour_features", computed)


def test_rules_of_other_masks_and_rules_that_were_edited_stay(tmp_path: Path) -> None:
    make_cases(tmp_path)
    rules = tmp_path / "ours.json"
    words = ["train", "postprocess", tmp_path / "results", "--truth", tmp_path / "drawn", "-o", rules]

    def drawn_anew() -> None:
        mask = read_labels(tmp_path / "drawn" / "synth-0000.nii.gz")
        write_labels(mask.with_data(np.roll(mask.data, 2, axis=1)), tmp_path / "drawn" / "synth-0000.nii.gz")

    holds_rule([*words, "--clusters", 1], [*words, "--clusters", 1], [rules], between=drawn_anew)


def test_rules_are_learned_written_and_can_be_applied(tmp_path: Path) -> None:
    make_cases(tmp_path)
    rules = tmp_path / "ours.json"
    result = run("train", "postprocess", tmp_path / "results", "--truth", tmp_path / "drawn", "-o", rules)
    assert result.exit_code == 0, result.output
    assert "cluster 0 (10 cases): ET below 75 voxels removed" in result.stdout
    assert "10 cases better, 0 worse" in result.stdout
    assert "in 10 cases the headers of prediction and truth differ" in result.stderr
    assert "warning: cluster 0: the rules take all ET away in 10 of the 10 cases" in result.stderr
    record = json.loads(rules.read_text())
    assert (record["format"], record["clusters"], record["rules"]["name"]) == ("hope-postprocess/1", None, "ours")
    assert record["fit"]["cross_validated"]["ET"]["lesionwise_after"] == 1.0
    assert "synth-" not in rules.read_text(), "no case is named"

    mask = tmp_path / "results/synth-0000/synth-0000-seg-atlas.nii.gz"
    applied = run("postprocess", mask, tmp_path / "out.nii.gz", "--rules", rules)
    assert applied.exit_code == 0, applied.output
    cleaned, truth = read_labels(tmp_path / "out.nii.gz"), read_labels(tmp_path / "drawn/synth-0000.nii.gz")
    assert np.array_equal(cleaned.data, truth.data)


def test_clusters_take_the_images(tmp_path: Path, features: None) -> None:
    make_cases(tmp_path)
    odd = tmp_path / "results/synth-0009"
    write_scan(Volume(np.full(SHAPE, 9.0, np.float32), GRID), odd / "synth-0009-t1c-atlas.nii.gz")
    empty = Volume(np.zeros(SHAPE, np.uint8), GRID)
    write_labels(empty, tmp_path / "results/synth-0008/synth-0008-seg-atlas.nii.gz")
    words = ("train", "postprocess", tmp_path / "results", "--truth", tmp_path / "drawn", "--clusters", 2)
    result = run(*words, "-o", tmp_path / "two.json", "--normalisation", "standard")
    assert result.exit_code == 0, result.output
    assert "8 cases, 2 clusters" in result.stdout
    assert "synth-0009 is left out, its features cannot be computed: the tumour is too small" in result.stderr
    assert "1 case left out: the model found no tumour in them" in result.stderr
    assert "its thresholds are not reliable" in result.stderr
    case = tmp_path / "results/synth-0000"
    applied = run(
        "postprocess", case / "synth-0000-seg-atlas.nii.gz", tmp_path / "out.nii.gz", "--rules", tmp_path / "two.json",
        "--case", case,
    )  # fmt: skip
    assert applied.exit_code == 0, applied.output
    assert "cluster chosen by: cluster model two-2" in applied.stdout


def test_brats_directories_with_the_predictions_elsewhere(tmp_path: Path) -> None:
    make_cases(tmp_path, 4)
    for number in range(4):
        case = f"synth-{number:04d}"
        folder = tmp_path / "brats" / case
        folder.mkdir(parents=True)
        (tmp_path / f"results/{case}/{case}-t1c-atlas.nii.gz").rename(folder / f"{case}-t1c.nii.gz")
        (tmp_path / f"drawn/{case}.nii.gz").rename(folder / f"{case}-seg.nii.gz")
    words = ("train", "postprocess", tmp_path / "brats", "-o", tmp_path / "r.json", "--clusters", 1)
    refused = run(*words)
    assert refused.exit_code == 2
    assert "synth-0000 has no prediction" in refused.stderr
    assert "--predictions DIR" in refused.stderr
    result = run(*words, "--predictions", tmp_path / "results")
    assert result.exit_code == 0, result.output
    assert "4 cases, 1 cluster" in result.stdout


def test_the_models_own_answer_is_never_taken_for_the_truth(tmp_path: Path) -> None:
    make_cases(tmp_path, 1)
    words = ("train", "postprocess", tmp_path / "results", "-o", tmp_path / "r.json")
    result = run(*words)
    assert result.exit_code == 2
    assert "synth-0000 has no truth" in result.stderr
    assert "--truth DIR" in result.stderr
    assert "synth-0000 has no truth" in run(*words, "--truth", tmp_path / "results").stderr


@pytest.mark.parametrize("wrong", ["native", "labels", "truth", "size", "twice", "nothing"])
def test_what_cannot_be_used_is_named(tmp_path: Path, wrong: str) -> None:
    make_cases(tmp_path, 1)
    mask = tmp_path / "results/synth-0000/synth-0000-seg-atlas.nii.gz"
    full, folders, said = np.full(SHAPE, 7, np.uint8), [tmp_path / "results"], ""
    if wrong == "native":
        write_labels(Volume(full // 7, Grid(SHAPE, np.diag([0.5, 1, 1, 1]))), mask)
        said = "not on the atlas grid"
    elif wrong == "labels":
        write_labels(Volume(full, GRID), mask)
        said = "the prediction of synth-0000 holds labels"
    elif wrong == "truth":
        write_labels(Volume(full, GRID), tmp_path / "drawn/synth-0000.nii.gz")
        said = "the truth of synth-0000 does not fit --scheme"
    elif wrong == "size":
        write_labels(
            Volume(full[1:] // 7, Grid((27, 24, 24), GRID.affine_ras_mm)), tmp_path / "drawn/synth-0000.nii.gz"
        )
        said = "the truth of synth-0000 does not lie on the grid"
    elif wrong == "twice":
        folders *= 2
        said = "there twice"
    else:
        folders = [tmp_path / "drawn"]
        said = "no case to learn from"
    result = run("train", "postprocess", *folders, "--truth", tmp_path / "drawn", "-o", tmp_path / "r.json")
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "r.json").exists()


def test_train_alone_still_asks_for_its_output_and_takes_no_stray_options() -> None:
    alone = run("train")
    assert alone.exit_code == 2
    assert "Missing option '-o'" in alone.stderr
    stray = run("train", "--seed", 3, "postprocess", "x", "-o", "y.json")
    assert stray.exit_code == 2
    assert "--seed belongs to hope train itself" in stray.stderr
    for words in (("train", "--help"), ("train", "postprocess", "--help")):
        assert run(*words).exit_code == 0
    assert "postprocess" in run("train", "--help").stdout


@pytest.mark.parametrize("clusters", ["0", "many", "-1"])
def test_a_wrong_number_of_clusters_is_refused(clusters: str) -> None:
    result = run("train", "postprocess", "x", "-o", "y.json", "--clusters", clusters)
    assert result.exit_code == 2
    assert "auto" in result.stderr

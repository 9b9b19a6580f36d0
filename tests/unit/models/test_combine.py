"""A bundle of several networks answers with their mean, and claims nothing that was fitted on one of them."""

from __future__ import annotations

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hope.cli import main
from hope.domain.errors import BundleError, InputError, OutputError
from hope.models.bundle import WEIGHTS, Bundle, read_bundle, write_manifest
from hope.models.combine import combine_bundles
from hope.models.networks import build_network
from hope.models.out_of_distribution import OLD_FILE, OUT_OF_DISTRIBUTION, OutOfDistributionScore, stored_file
from hope.models.runtime import BundleRunner
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.loop import start
from hope.training.rounds import config_of_bundle

TINY = TrainingConfig(
    spacing_mm=4.0, patch=(16, 16, 16), widths=(4, 8), blocks=(1, 1), decoder_blocks=(1,), tile=(16, 16, 16)
)
SEEDS = (3, 4, 5)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    folder, found = tmp_path_factory.mktemp("members"), []
    for seed in SEEDS:
        config = replace(TINY, seed=seed)
        figures = {"cases": 1, "dice": {"t1n+t1c": {"WT": 0.9, "TC": 0.8, "ET": 0.7}}}
        found.append(export_bundle(start(config), config, folder / str(seed), f"one-{seed}", figures))
    return found


def test_the_answer_is_the_mean_of_the_members_probabilities(members: list[Bundle], tmp_path: Path) -> None:
    mean = BundleRunner(combine_bundles(members, tmp_path / "mean", "mean"), "cpu")
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 4, 16, 16, 16)).astype(np.float32))
    with torch.inference_mode():
        alone = [BundleRunner(bundle, "cpu").network(x).softmax(dim=1) for bundle in members]
        together = mean.network(x).softmax(dim=1)
    assert (alone[0] - alone[1]).abs().max() > 0.01, "equal members would prove nothing"
    assert torch.allclose(together, sum(alone) / len(alone), atol=1e-6)


def test_it_fills_the_empty_directory_that_it_is_called_in(
    members: list[Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = combine_bundles(members[:2], Path(), "mean")
    bundle.verify()
    assert "model.json" in {path.name for path in tmp_path.iterdir()}


def test_what_was_fitted_on_one_is_not_claimed_for_the_mean(members: list[Bundle], tmp_path: Path) -> None:
    bundle = combine_bundles(members[:2], tmp_path / "mean", "mean")
    manifest = json.loads((bundle.folder / "model.json").read_text())
    assert not {"measured", "intervals", "quality"} & manifest.keys()
    assert members[0].manifest["measured"]["cases"] == 1
    said = manifest["training"]
    assert [member["id"] for member in said["members"]] == ["one-3", "one-4"]
    assert [member["sha256"] for member in said["members"]] == [one.sha256 for one in members[:2]]
    assert said["only_synthetic"] is True
    assert bundle.licence == "Apache-2.0"
    assert {path.stat().st_mode & 0o777 for path in bundle.folder.iterdir()} == {0o644}, "others may load it too"
    read_bundle(bundle.folder).verify()


def test_real_cases_in_one_member_are_real_cases_in_the_mean(members: list[Bundle], tmp_path: Path) -> None:
    config = replace(TINY, seed=9, real_cases=3)
    real = export_bundle(start(config), config, tmp_path / "real", "real")
    bundle = combine_bundles([members[0], real], tmp_path / "mean", "mean")
    assert bundle.manifest["training"]["only_synthetic"] is False
    assert "Apache-2.0" in bundle.licence and "real cases went into it" in bundle.licence


def test_members_that_do_not_fit_are_refused_and_leave_nothing(members: list[Bundle], tmp_path: Path) -> None:
    wide = replace(TINY, widths=(4, 12))
    other = export_bundle(start(wide), wide, tmp_path / "wide", "wide")
    mean = combine_bundles(members[:2], tmp_path / "mean", "mean")
    inputs = members[1].manifest["input"] | {"at_least_one_of": ["t1c"]}
    choosy = write_manifest(
        Path(shutil.copytree(members[1].folder, tmp_path / "choosy")), {**members[1].manifest, "input": inputs}
    )
    for wrong, words in (
        ([members[0], choosy], "differ in their sequences of which one has to be there"),
        ([members[0], other], "one-3 and wide differ in their shape"),
        ([members[0], mean], "mean cannot be a member"),
        ([members[0], members[0]], "these bundles make no mean"),
        ([members[0]], "2 to 8 different ones"),
    ):
        with pytest.raises(InputError, match=words):
            combine_bundles(wrong, tmp_path / "new", "new")
        assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="not empty"):
        combine_bundles(members[:2], tmp_path / "full", "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


def test_a_damaged_member_is_refused_and_leaves_nothing(members: list[Bundle], tmp_path: Path) -> None:
    damaged = read_bundle(shutil.copytree(members[1].folder, tmp_path / "damaged"))
    with (damaged.folder / WEIGHTS).open("ab") as stream:
        stream.write(b"more")
    with pytest.raises(BundleError, match="is damaged"):
        combine_bundles([members[0], damaged], tmp_path / "new", "new")
    assert not (tmp_path / "new").exists()


def test_one_that_cannot_be_written_whole_leaves_nothing(
    members: list[Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path, manifest: object) -> Bundle:
        assert (folder / WEIGHTS).is_file()
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("hope.models.combine.write_manifest", full)
    with pytest.raises(OutputError, match="disk is full"):
        combine_bundles(members[:2], tmp_path / "new", "new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [OUT_OF_DISTRIBUTION, OLD_FILE])
def test_what_an_ordinary_input_looks_like_is_pooled(name: str, members: list[Bundle], tmp_path: Path) -> None:
    """Also under the name that version 0.1 gave it, as the starter has it."""

    def with_score(number: int, mean: float, cases: int) -> Bundle:
        folder = shutil.copytree(members[number].folder, tmp_path / f"member-{number}")
        score = OutOfDistributionScore(("volume",), np.array([mean]), np.ones(1), np.eye(1), 1.5, cases)
        (folder / name).write_text(json.dumps(score.to_json()))
        return write_manifest(folder, members[number].manifest)

    known = [with_score(0, 10.0, 100), with_score(1, 14.0, 300)]
    bundle = combine_bundles(known, tmp_path / "mean", "mean")
    score = OutOfDistributionScore.read(bundle.folder)
    assert score is not None and score.cases == 400
    assert score.mean == pytest.approx([13.0])
    assert OUT_OF_DISTRIBUTION in bundle.manifest["files"]
    some = combine_bundles([known[0], members[1]], tmp_path / "some", "some")
    assert stored_file(some.folder) is None


def test_a_damaged_score_leaves_nothing(members: list[Bundle], tmp_path: Path) -> None:
    folder = shutil.copytree(members[0].folder, tmp_path / "first")
    (folder / OUT_OF_DISTRIBUTION).write_text('{"format": "hope-familiarity/1"}')
    first = write_manifest(folder, members[0].manifest)
    with pytest.raises(BundleError, match="not usable"):
        combine_bundles([first, members[1]], tmp_path / "mean", "mean")
    assert not (tmp_path / "mean").exists()


def test_training_does_not_go_on_from_a_mean(members: list[Bundle], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bundle of one network"):
        config_of_bundle(combine_bundles(members[:2], tmp_path / "mean", "mean"), steps=1, rate=1e-4, seed=1)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_another_number_of_members_is_refused(count: int) -> None:
    with pytest.raises(BundleError, match="2 to 8 members"):
        build_network("MeanOfUNets", {"members": count, **TINY.network_arguments()})


def test_from_the_command_line(members: list[Bundle], tmp_path: Path) -> None:
    folders = [str(bundle.folder) for bundle in members]
    done = CliRunner().invoke(main, ["models", "combine", *folders, "--id", "three", "-o", str(tmp_path / "three")])
    assert done.exit_code == 0, done.output
    assert "three: the mean of 3 networks" in done.output
    assert read_bundle(tmp_path / "three").arguments["members"] == 3

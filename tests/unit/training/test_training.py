"""Training: learns, resumes to the same weights, takes the user's cases, exports what runs."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tests.earlier_output import WORK, refused

from hope.cli import main
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError
from hope.domain.grid import ATLAS_GRID, Grid
from hope.domain.labels import label_set
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.formats.nifti import write_labels, write_scan
from hope.formats.private_directory import MACHINE
from hope.models.bundle import BUNDLED, Bundle, read_bundle, write_manifest
from hope.models.combine import combine_bundles
from hope.services import Services
from hope.stages.intake.intake import find_cases
from hope.testing.fakes import FakeBrainExtractor
from hope.testing.head import atlas_scan
from hope.training.checkpoints import CHECKPOINT, write_bundle
from hope.training.config import RECIPES, TrainingConfig, config_of_recipe, continued
from hope.training.export import export_bundle
from hope.training.harmonizer_config import HarmonizerConfig
from hope.training.harmonizer_pool import load_pool
from hope.training.loop import LOSSES, learning_rate, load_checkpoint, save_checkpoint, start, train, unet_weights
from hope.training.pool import CasePool, make_sample
from hope.training.real_cases import by_kind, load_samples, store_cases
from hope.training.stored import RING, Sample, read_sample, write_sample

SMALL = TrainingConfig(
    steps=4,
    batch=1,
    patch=(32, 32, 32),
    tile=(32, 32, 32),
    widths=(8, 16),
    blocks=(1, 1),
    decoder_blocks=(1,),
    real_share=1.0,
    seed=2,
    held_out=1,
    calibration_cases=0,
)


GIVEN = (MRSequence.T1C, MRSequence.T2F)
"""Two sequences are read as four are, in half the time."""


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [make_sample(5, index) for index in range(2)]


@pytest.fixture(scope="module")
def files(samples: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """The same on disk, as a run keeps real cases."""
    folder = tmp_path_factory.mktemp("cases")
    paths = [folder / f"{number}-00-{RING}.npz" for number in range(len(samples))]
    for path, sample in zip(paths, samples, strict=True):
        write_sample(path, sample)
    return {RING: paths}


def test_a_resumed_run_ends_with_the_same_weights(files: dict[str, list[Path]], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train(start(SMALL), SMALL, whole, silent, files)
    train(start(SMALL), SMALL, parts, silent, files, stop_at=2)
    resumed, config = load_checkpoint(parts)
    assert resumed.step == 2
    finished = train(resumed, config, parts, silent, files)
    for name, value in expected.network.state_dict().items():
        assert torch.allclose(value, finished.network.state_dict()[name], atol=1e-6), name
    assert (whole / LOSSES).read_text() == (parts / LOSSES).read_text()
    assert len((whole / LOSSES).read_text().splitlines()) == SMALL.steps


@pytest.mark.parametrize("start_again", ["synthetic cases", "real cases", "harmonizer"])
def test_what_killed_workers_left_half_written_is_cleared_at_the_next_start(tmp_path: Path, start_again: str) -> None:
    pool = CasePool(SMALL, tmp_path)
    folder = pool.folder if start_again == "synthetic cases" else tmp_path
    folder.mkdir(exist_ok=True)
    (folder / f".{MACHINE}-0a1b2c3d.part").write_bytes(b"half a case")
    if start_again == "synthetic cases":
        with pool:
            pass
    elif start_again == "real cases":
        store_cases([], SMALL, folder, FakeBrainExtractor(), silent)
    else:
        load_pool(folder, dataclasses.replace(HarmonizerConfig(), groups=0), silent)
    assert list(folder.iterdir()) == []


def test_learning_rate_warms_up_and_falls_to_zero() -> None:
    config = TrainingConfig(steps=1000)
    rates = [learning_rate(config, s) for s in range(1000)]
    assert rates[0] < 0.1 * config.learning_rate
    assert max(rates) == pytest.approx(config.learning_rate, rel=0.01)
    assert rates[-1] < 0.001 * config.learning_rate


def test_the_configuration_survives_json() -> None:
    assert TrainingConfig.from_json(json.loads(json.dumps(SMALL.to_json()))) == SMALL


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of the user's own, as BraTS 2023 lays it out; it is made once, for writing it takes seconds."""
    folder = tmp_path_factory.mktemp("own") / "BraTS-GLI-00001-000"
    folder.mkdir()
    for number, sequence in enumerate(GIVEN):
        write_scan(atlas_scan(number, enhanced=sequence == "t1c"), folder / f"{folder.name}-{sequence}.nii.gz")
    labels = np.zeros(ATLAS_GRID.shape, np.uint8)
    labels[100:130, 100:130, 70:90] = 3
    write_labels(Volume(labels, ATLAS_GRID), folder / f"{folder.name}-seg.nii.gz")
    return folder


@pytest.fixture
def own(labelled: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    return shutil.copytree(labelled, tmp_path / labelled.name)


def test_own_cases_arrive_with_their_labels_in_place(own: Path) -> None:
    (sample,) = load_samples(find_cases([own], {}), "brats2023", 2.0, FakeBrainExtractor(), silent)
    images, sets = sample
    assert images.shape[1:] == sets.shape
    assert [s for s, channel in zip(SEQUENCES, images, strict=True) if channel.any()] == list(GIVEN)
    assert set(np.unique(sets)) == {label_set(0), label_set(1)}, "adult ET (3) becomes peds ET (1)"
    assert (sets == label_set(1)).sum() == pytest.approx(30 * 30 * 20 / 8, rel=0.25)


def test_an_adult_core_may_be_either_part(own: Path) -> None:
    (path,) = own.glob("*-seg.nii.gz")
    labels = np.zeros(ATLAS_GRID.shape, np.uint8)
    labels[100:130, 100:130, 70:90] = 1
    write_labels(Volume(labels, ATLAS_GRID), path)
    ((_, sets),) = load_samples(find_cases([own], {}), "brats2023", 2.0, FakeBrainExtractor(), silent)
    assert set(np.unique(sets)) == {label_set(0), label_set(2, 3)}


def test_the_command_trains_on_own_cases_and_says_what_one_case_is_worth(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES, "starter", dataclasses.replace(SMALL, held_out=0, look_every=1))  # type: ignore[arg-type]
    monkeypatch.setattr(Services, "brain_extractor", lambda _: FakeBrainExtractor())
    call = ["train", "-o", str(tmp_path / "run"), "--cases", str(own), "--scheme", "brats2023", "--steps", "2"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 0, result.output
    assert "one case alone" in result.stderr
    assert len(list((tmp_path / "run" / "cases").glob(f"*-{RING}.npz"))) == 1
    bundle = read_bundle(tmp_path / "run" / "bundle")
    assert bundle.manifest["training"]["real_cases"] == 1
    assert bundle.manifest["training"]["config"]["scheme"] == "brats2023"
    wrong = CliRunner().invoke(main, [*call[:2], str(tmp_path / "other"), *call[3:6], "brats2021", *call[7:]])
    assert wrong.exit_code == 2
    assert "its labels would fit --scheme peds or brats2023" in " ".join(wrong.stderr.split())


def test_stored_cases_have_copies_and_are_made_once(own: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, scheme="brats2023", real_copies=2)
    sources = find_cases([own], {})
    stored = store_cases(sources, config, tmp_path / "cases", FakeBrainExtractor(), silent)
    kind, paths = stored[own.name]
    assert kind == RING
    assert len(paths) == 3
    volumes = [int((read_sample(path)[1] == label_set(1)).sum()) for path in paths]
    assert all(0.6 * volumes[0] < other < 1.7 * volumes[0] for other in volumes[1:]), "scaled by 0.85 to 1.15"
    assert len(set(volumes)) == 3
    before = [path.stat().st_mtime_ns for path in paths]
    for path in own.iterdir():  # as after a copy to another machine
        os.utime(path, ns=(1, 1))
    again = store_cases(sources, config, tmp_path / "cases", FakeBrainExtractor(), silent)
    assert again == stored
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert by_kind(stored) == {RING: paths}


def test_own_cases_without_labels_are_refused(own: Path) -> None:
    (own / f"{own.name}-seg.nii.gz").unlink()
    with pytest.raises(InputError, match="-seg"):
        load_samples(find_cases([own], {}), "brats2023", 2.0, FakeBrainExtractor(), silent)


@pytest.mark.slow
def test_the_command_makes_a_bundle_that_can_be_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    small = {name: getattr(SMALL, name) for name in ("batch", "patch", "tile", "widths", "blocks", "decoder_blocks")}
    few = dataclasses.replace(RECIPES["starter"], first_cases=2, held_out=1, calibration_cases=1, **small)
    monkeypatch.setitem(RECIPES, "starter", few)  # type: ignore[arg-type]
    call: Callable[..., object] = CliRunner().invoke
    run = tmp_path / "run"
    result = call(main, ["train", "-o", str(run), "--steps", "2", "--id", "trial", "--seed", "3"])
    assert result.exit_code == 0, result.output
    bundle = read_bundle(run / "bundle")
    assert (bundle.id, bundle.manifest["training"]["steps"]) == ("trial", 2)
    assert "held-out" in result.stderr
    again = call(main, ["train", "-o", str(run), "--steps", "2"])
    assert again.exit_code == 2
    assert "--resume" in again.stderr
    more = call(main, ["train", "-o", str(run), "--steps", "3", "--resume", "--id", "trial"])
    assert more.exit_code == 0, more.output
    assert read_bundle(run / "bundle").manifest["training"]["steps"] == 3
    (run / CHECKPOINT).rename(tmp_path / "kept.pt")
    refused(["train", "-o", run, "--steps", 2], sorted((run / "bundle").iterdir()), "choose another -o")
    (tmp_path / "kept.pt").rename(run / CHECKPOINT)
    (run / "bundle" / "notes.txt").write_bytes(WORK)
    refused(["train", "-o", run, "--steps", 4, "--resume"], sorted((run / "bundle").iterdir()), "choose another -o")
    (run / "bundle" / "notes.txt").unlink()
    added = call(main, ["models", "add", str(run / "bundle")])
    assert added.exit_code == 0, added.output
    assert "trial" in call(main, ["models", "list"]).output


def test_a_bundle_takes_the_place_of_the_earlier_one_when_it_is_whole(tmp_path: Path) -> None:
    first = write_bundle(tmp_path, lambda folder: export_bundle(start(SMALL), SMALL, folder, "first"))

    def half(folder: Path) -> Bundle:
        export_bundle(start(SMALL), SMALL, folder, "second")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(tmp_path, half)
    assert read_bundle(tmp_path / "bundle").sha256 == first.sha256
    second = write_bundle(tmp_path, lambda folder: export_bundle(start(SMALL), SMALL, folder, "second"))
    assert second.id == "second" and second.folder == tmp_path / "bundle"
    second.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_resumed_run_must_get_the_cases_it_started_with() -> None:
    """Else a bundle could say that no patient's scan went into it, and be wrong."""
    config = config_of_recipe("starter", 10, None, None, "brats2023", ["case-b", "case-a"])
    assert (config.real_cases, config.scheme) == (2, "brats2023")
    assert continued(config, ["case-a", "case-b"], 20).steps == 20
    for others in ([], ["case-a"], ["case-a", "case-c"]):
        with pytest.raises(InputError, match="cases"):
            continued(config, others, None)
    with pytest.raises(InputError, match="no --cases"):
        continued(config_of_recipe("starter", 10, None, None, "peds", []), ["case-a"], None)


def test_a_bundle_of_own_cases_claims_neither_our_licence_nor_synthesis(tmp_path: Path) -> None:
    own = dataclasses.replace(SMALL, real_cases=3, real_sha256="x")
    bundle = export_bundle(start(own), own, tmp_path, "ours")
    assert bundle.manifest["training"]["real_cases"] == 3
    assert bundle.manifest["note"] == ""
    assert "Apache" not in bundle.licence


def test_a_run_can_start_from_a_bundle(tmp_path: Path) -> None:
    recipe = config_of_recipe("starter", None, None, None, "peds", [])
    base = export_bundle(start(recipe), recipe, tmp_path / "base", "base")
    config = config_of_recipe("starter", None, None, None, "peds", [], base)
    assert (config.steps, config.base_synthetic) == (400, True)
    assert config.learning_rate < recipe.learning_rate
    assert config.base == f"base {base.sha256}"
    state = start(config, base)
    weights = load_file(base.folder / "weights.safetensors")
    for network in (state.network, state.average):
        assert all(torch.equal(tensor, weights[name].float()) for name, tensor in network.state_dict().items())
    config_of_recipe("starter", None, None, None, "peds", [], read_bundle(BUNDLED / "starter"))
    again = export_bundle(state, config, tmp_path / "again", "again")
    assert again.manifest["training"]["started_from"] == config.base
    assert again.manifest["training"]["only_synthetic"] is True


def test_what_started_from_real_cases_never_claims_synthesis(tmp_path: Path) -> None:
    """Neither itself, nor what starts from it in turn."""
    real = config_of_recipe("starter", None, None, None, "peds", ["case-a"])
    first = export_bundle(start(real), real, tmp_path / "first", "first")
    second = config_of_recipe("starter", None, None, None, "peds", [], first)
    bundle = export_bundle(start(second, first), second, tmp_path / "second", "second")
    third = config_of_recipe("starter", None, None, None, "peds", [], bundle)
    assert (second.base_synthetic, third.base_synthetic) == (False, False)
    assert (bundle.licence, bundle.manifest["note"]) == (first.licence, "")
    assert "Apache" not in bundle.licence


def test_a_run_may_start_from_the_mean_of_several_networks(tmp_path: Path) -> None:
    members = []
    for seed in (1, 2):
        config = dataclasses.replace(RECIPES["starter"], seed=seed)
        members.append(export_bundle(start(config), config, tmp_path / f"{seed}", f"m{seed}"))
    several = combine_bundles(members, tmp_path / "both", "both")
    config = config_of_recipe("starter", None, None, None, "peds", [], several)
    assert config.base == f"both {several.sha256}"
    kept = start(config, several).network.state_dict()
    one, other = (unet_weights(member) for member in members)
    assert all(torch.allclose(kept[name], (one[name] + other[name]) / 2) for name in one)


def test_what_a_base_learnt_from_is_named_by_what_started_from_it(tmp_path: Path) -> None:
    config = config_of_recipe("starter", None, None, None, "peds", ["case-a"])
    plain = export_bundle(start(config), config, tmp_path / "base", "base")
    source = {"release": "a release", "licence": "CC BY 4.0", "cases": ["1"]}
    named = {key: value for key, value in plain.manifest.items() if key != "files"} | {"trained_on": [source]}
    base = write_manifest(plain.folder, {**named, "licence": "learnt from a release (CC BY 4.0)"})
    second = config_of_recipe("starter", None, None, None, "peds", [], base)
    bundle = export_bundle(start(second, base), second, tmp_path / "second", "second", base=base)
    assert bundle.manifest["trained_on"] == [source]
    assert "learnt from a release (CC BY 4.0)" in bundle.licence
    assert "trained_on" not in plain.manifest
    both = combine_bundles([bundle, base, plain], tmp_path / "mean", "mean")
    assert both.manifest["trained_on"] == [source], "once, although two of them name it"


def test_a_run_does_not_start_from_another_network(tmp_path: Path) -> None:
    other = export_bundle(start(SMALL), SMALL, tmp_path, "other")
    with pytest.raises(InputError, match="another network"):
        config_of_recipe("starter", None, None, None, "peds", [], other)


@pytest.mark.parametrize("name", ["garbage", "truncated"])
def test_a_damaged_checkpoint_is_said(tmp_path: Path, name: str) -> None:
    save_checkpoint(start(SMALL), SMALL, tmp_path)
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"garbage" if name == "garbage" else path.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path)


def test_labels_on_another_grid_are_refused_not_mirrored(own: Path) -> None:
    (path,) = own.glob("*-seg.nii.gz")
    shifted = np.array(ATLAS_GRID.affine_ras_mm)
    shifted[0, 3] += 30
    write_labels(Volume(np.ones(ATLAS_GRID.shape, np.uint8), Grid(ATLAS_GRID.shape, shifted)), path)
    with pytest.raises(InputError, match="grid"):
        load_samples(find_cases([own], {}), "brats2023", 2.0, FakeBrainExtractor(), silent)
    write_labels(Volume(np.full(ATLAS_GRID.shape, 4, np.uint8), ATLAS_GRID), path)
    with pytest.raises(InputError, match="scheme"):
        load_samples(find_cases([own], {}), "brats2023", 2.0, FakeBrainExtractor(), silent)

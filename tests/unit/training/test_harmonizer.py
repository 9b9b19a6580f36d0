"""Training a harmonizer: it learns, resumes to the same weights, and makes a bundle that harmonizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hope.cli import main
from hope.domain.errors import InputError
from hope.domain.progress import silent
from hope.models.bundle import HARMONIZER, read_bundle
from hope.models.hail.runner import HailHarmonizer
from hope.training.checkpoints import CHECKPOINT
from hope.training.harmonizer import _batch, load_checkpoint, loss_of, start, train
from hope.training.harmonizer_config import HarmonizerConfig
from hope.training.harmonizer_export import export_harmonizer
from hope.training.harmonizer_pool import Group, draw_pair, load_pool, make_group
from hope.training.steps import LOG

SMALL = HarmonizerConfig(
    steps=4,
    voxel_sample_steps=2,
    voxel_samples_per_step=2,
    batch=1,
    groups=1,
    anatomies=2,
    voxels=600,
    voxels_per_pair=300,
    held_out=0,
    code=8,
    width=8,
    widths=(8, 8),
    seed=4,
)


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    return [make_group(SMALL, 0)]


def test_it_learns_a_handful_of_exercises(groups: list[Group]) -> None:
    rng = np.random.default_rng(0)
    batch = _batch([draw_pair(rng, groups, SMALL) for _ in range(2)])
    state = start(SMALL)
    first = loss_of(state.network, batch)[1]
    for _ in range(25):
        loss, _ = loss_of(state.network, batch)
        state.optimiser.zero_grad()
        loss.backward()
        state.optimiser.step()
    last = loss_of(state.network, batch)[1]
    assert last["voxels"] < 0.7 * first["voxels"]
    assert last["tissue"] < 0.7 * first["tissue"]


def test_an_exercise_is_consistent(groups: list[Group]) -> None:
    pair = draw_pair(np.random.default_rng(5), groups, SMALL)
    assert pair.source.shape == pair.target.shape == (12, 40, 48, 40)
    assert pair.x.shape == pair.y.shape == (4, SMALL.voxels_per_pair)
    assert pair.tissue.shape == (2, 4, 3)
    again = draw_pair(np.random.default_rng(5), groups, SMALL)
    assert all(np.array_equal(getattr(pair, n), getattr(again, n)) for n in ("source", "target", "x", "y"))
    there = pair.counts
    assert there.any()
    # Without its shading a source is its truth under another rising curve.
    for channel in np.flatnonzero(there):
        ranks = [np.argsort(np.argsort(v[channel])) for v in (pair.x, pair.y)]
        assert np.corrcoef(*ranks)[0, 1] > 0.6


def test_sequences_are_dropped_from_source_and_target(groups: list[Group]) -> None:
    config = HarmonizerConfig(**{**SMALL.to_json(), "drop": 1.0})
    pair = draw_pair(np.random.default_rng(1), groups, config)
    there = [view[5:9].any(axis=(1, 2, 3)) for view in (pair.source, pair.target)]
    assert np.array_equal(there[0] & there[1], pair.counts)
    assert not all(t.all() for t in there)
    assert not pair.source[:4][~there[0]].any()


def test_a_resumed_run_ends_with_the_same_weights(groups: list[Group], tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    expected = train(start(SMALL), SMALL, whole, groups, silent)
    train(start(SMALL), SMALL, parts, groups, silent, stop_at=3)
    resumed, config = load_checkpoint(parts)
    assert (resumed.step, config) == (3, SMALL)
    finished = train(resumed, config, parts, groups, silent)
    for name, value in expected.average.state_dict().items():
        assert torch.equal(value, finished.average.state_dict()[name]), name
    assert json.loads((whole / LOG).read_text().splitlines()[-1])["step"] == SMALL.steps
    bundle = export_harmonizer(finished, config, tmp_path / "bundle", "mine")
    assert (bundle.kind, bundle.id) == (HARMONIZER, "mine")
    assert HailHarmonizer(read_bundle(tmp_path / "bundle"), "cpu").describe()["id"] == "mine"


def test_a_pool_is_made_once_and_damage_is_said(groups: list[Group], tmp_path: Path) -> None:
    def never(message: str, _share: float) -> None:
        raise AssertionError(message)

    np.savez(tmp_path / "group-0000.npz", **vars(groups[0]))
    (again,) = load_pool(tmp_path, SMALL, never)
    assert np.array_equal(again.coarse, groups[0].coarse)
    assert np.array_equal(again.lesion, groups[0].lesion)
    (tmp_path / "group-0000.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(InputError, match=r"group-0000.npz of the run's pool is damaged"):
        load_pool(tmp_path, SMALL, silent)


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_a_damaged_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no checkpoint to resume from"):
        load_checkpoint(tmp_path)
    (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(InputError, match="no checkpoint of a harmonizer, or damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--resume"], "no checkpoint to resume from"),
        (["--resume", "--seed", "3"], "belong to the start of a run"),
        (["--id", "Not Usable"], "id is not usable"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], match: str, tmp_path: Path) -> None:
    run = CliRunner().invoke(main, ["train", "harmonizer", "-o", str(tmp_path / "run"), *arguments])
    assert run.exit_code == 2
    assert match in run.output

"""The GPU form of training, in small on the CPU: pack, train, and take the checkpoint back."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tools.gpu_training import pack, to_bundle, train_on_gpu

from hope.domain.errors import InputError
from hope.models.bundle import BUNDLED, WEIGHTS, read_bundle
from hope.models.networks.unet import UNet
from hope.models.runtime import BundleRunner
from hope.training.config import config_of_recipe
from hope.training.losses import segmentation_loss
from hope.training.stored import NON_ENHANCING, RING, TUMOUR_FREE

SHAPE = (20, 24, 18)
STARTER = BUNDLED / "starter"


def small_case(
    case_id: str, kind: str, lesion: bool = True, source: str = "", sets: int = 1 << 2 | 1 << 3
) -> pack.Case:
    """A ball of a brain off the middle of its block, brighter to the right, with a small lesion of ET and ``sets``."""
    rng = np.random.default_rng(len(case_id))
    place = np.indices(SHAPE) - np.array([9.0, 12.0, 8.0])[:, None, None, None]
    brain = (place**2).sum(axis=0) < 49
    images = (np.stack([place[0] / 5] * 4) + rng.normal(0, 0.3, (4, *SHAPE))) * brain
    labels = np.ones(SHAPE, np.uint8)
    if lesion:
        labels[11:13, 11:14, 6:10], labels[13, 11:14, 6:10] = 1 << 1, sets
        images[:, 11:14, 11:14, 6:10] += np.array([1.0, 4.0, -2.0, 3.0])[:, None, None, None]
    return pack.Case(case_id, kind, images.astype(np.float16), labels, source)


def test_the_script_needs_nothing_but_torch_and_numpy() -> None:
    tree = ast.parse(Path(train_on_gpu.__file__).read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) == {"torch", "numpy"}


def test_the_network_is_the_one_of_the_package() -> None:
    arguments = read_bundle(STARTER).arguments
    ours, theirs = UNet(**arguments), train_on_gpu.UNet(**arguments)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(1, 4, 16, 32, 16)
    with torch.no_grad():
        assert torch.equal(ours(x), theirs(x))


def test_members_of_a_set_get_the_same_gradient() -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.5, 0.1]).view(1, 5, 1, 1, 1).repeat(1, 1, 2, 1, 1).requires_grad_()
    sets = torch.tensor([1 << 2 | 1 << 3, 1 << 4], dtype=torch.uint8).view(1, 2, 1, 1)
    loss = train_on_gpu.set_loss(logits, sets)
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = logits.grad[0, :, 0, 0, 0].tolist()
    assert gradient[2] == pytest.approx(gradient[3], abs=1e-7)
    assert gradient[2] < 0 < min(gradient[0], gradient[1], gradient[4])
    # By hand: the first voxel counts for ED, NET with CC, TC and WT, but neither for NET nor for CC.
    p = np.exp([0.3, -1.0, 2.0, 0.5, 0.1]) / np.exp([0.3, -1.0, 2.0, 0.5, 0.1]).sum()
    entropy = -(np.log(p[2] + p[3]) + np.log(p[4])) / 2
    core, everything = p[1] + p[2] + p[3], 1 - p[0]
    dice = [(2 * p[4] + 1) / (2 * p[4] + 2), (2 * (p[2] + p[3]) + 1) / (2 * (p[2] + p[3]) + 2)]
    dice += [(2 * core + 1) / (2 * core + 2), (4 * everything + 1) / (2 * everything + 3)]
    assert loss.item() == pytest.approx(entropy + 1 - np.mean(dice), abs=1e-5)


def test_the_loss_is_the_one_of_the_package() -> None:
    random = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 5, 6, 7, 8, generator=random)
    sets = torch.tensor([1, 2, 4, 8, 16, 12], dtype=torch.uint8)[torch.randint(0, 6, (2, 6, 7, 8), generator=random)]
    gradients = []
    for loss in (train_on_gpu.set_loss, segmentation_loss):
        x = logits.clone().requires_grad_()
        value = loss(x, sets)
        value.backward()  # type: ignore[no-untyped-call]
        gradients.append((value.detach(), x.grad))
    assert torch.allclose(gradients[0][0], gradients[1][0], atol=1e-6)
    assert torch.allclose(gradients[0][1], gradients[1][1], atol=1e-7)


@pytest.mark.parametrize(
    ("case_id", "may"),
    [
        ("BraTS2021_00006", True),
        ("BraTS-SSA-00002-000", True),
        ("BraTS-GLI-00005-000", True),
        ("open-ms-07", True),
        ("BraTS-GLI-00002-000", False),
        ("BraTS20_Training_001", False),
        ("Brats18_2013_21_1", False),
        ("BraTS2024_SSA-00230-000", False),
        ("case-01", False),
    ],
)
def test_only_listed_cases_may_train(case_id: str, may: bool) -> None:
    source = pack.Permissions(pack.MAY_TRAIN.read_text(encoding="utf-8")).source_of(case_id)
    assert (source is not None) == may
    assert not may or "CC BY" in str(source)


def test_folds_keep_a_patient_together_and_share_out_each_kind() -> None:
    cases = [small_case(f"P-{n:05d}-{visit:03d}", kind) for kind, first in ((RING, 0), (NON_ENHANCING, 50))
             for n in range(first, first + 6) for visit in range(2)]  # fmt: skip
    folds = pack.draw_folds([*cases, small_case("synth", pack.SYNTHETIC)])
    assert "synth" not in folds
    for n in range(6):
        assert folds[f"P-{n:05d}-000"] == folds[f"P-{n:05d}-001"]
    for start in (0, 50):
        assert sorted(folds[f"P-{n:05d}-000"] for n in range(start, start + 6)) == [0, 0, 1, 1, 2, 2]


def test_a_fold_list_that_lacks_a_case_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    cases = [small_case("a", RING), small_case("b", RING)]
    for written in ([["a"], ["b"]], {"comment": "drawn once", "folds": [["a"], ["b"]]}):
        path.write_text(json.dumps(written))
        assert pack.read_folds(path, cases) == {"a": 0, "b": 1}
    with pytest.raises(InputError, match="lacks 1 of 3 cases, such as c"):
        pack.read_folds(path, [*cases, small_case("c", RING)])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two synthetic cases, and three small made-up ones of the other kinds."""
    path = tmp_path_factory.mktemp("pack") / "cases.npz"
    real = [
        small_case("P-1", RING, source="a release (CC BY)"),
        small_case("P-2", NON_ENHANCING),
        small_case("P-3", TUMOUR_FREE, lesion=False),
    ]
    pack.write_pack(path, [*real, *pack.synthetic_cases(2, 3)], {"P-1": 0, "P-2": 1, "P-3": 2}, STARTER, 36)
    return path


@pytest.fixture(scope="module")
def read(packed: Path) -> train_on_gpu.Pack:
    """The packed cases as the script reads them."""
    return train_on_gpu.read_pack(packed, torch.device("cpu"))


class Still(train_on_gpu.Randomness):
    """Randomness that deforms nothing."""

    def smooth(self, count: int, channels: int, crop: tuple[int, int, int], scale: float) -> torch.Tensor:
        return torch.zeros(count, channels, *crop)


def still_view(read: train_on_gpu.Pack, case: int, crop: tuple[int, int, int]) -> train_on_gpu.Views:
    origin, pivot = (read.block - 1)[None] / 2, (np.array(crop, dtype=float) - 1)[None] / 2
    return train_on_gpu.Views(np.array([case]), origin, pivot, np.eye(3)[None], pivot)


def test_what_was_packed_is_what_is_shown(read: train_on_gpu.Pack) -> None:
    case = small_case("P-1", RING)
    crop = tuple(int(n) for n in read.block)
    x, sets = train_on_gpu.show(read, still_view(read, 0, crop), crop, Still(torch.device("cpu"), 1, 1))
    inside = (case.images != 0).any(axis=0)
    shown = ((sets[0, 0] & train_on_gpu.BRAIN) > 0).numpy()
    assert shown.sum() == inside.sum()
    # Both walk through the brain in the same order, wherever the block has put it.
    expected = np.clip(case.images[:, inside].astype(float), -6, 6)
    assert np.abs(x[0].numpy()[:, shown] - expected).max() <= 0.5 / pack.STEPS + 1e-3
    assert np.array_equal(sets[0, 0].numpy()[shown] & 31, case.sets[inside])
    assert not x[0].numpy()[:, ~shown].any()


def test_a_turned_view_puts_the_chosen_voxel_where_it_says(read: train_on_gpu.Pack) -> None:
    rng, crop = np.random.default_rng(4), (32, 32, 32)
    for _ in range(10):
        views = train_on_gpu.draw_views(rng, read, [0], crop)
        shown = views.origin[0] + views.matrix[0] @ (views.target[0] - views.pivot[0])
        assert np.allclose(shown, np.rint(shown), atol=1e-6)  # it was a voxel of the case
        assert read.sets[(0, *np.rint(shown).astype(int))] > 0


def test_a_transplant_brings_the_lesion_and_leaves_the_rest(read: train_on_gpu.Pack) -> None:
    crop, still = tuple(int(n) for n in read.block), Still(torch.device("cpu"), 1, 1)
    x, sets = train_on_gpu.show(read, still_view(read, 2, crop), crop, still)
    donor, donor_sets = train_on_gpu.show(read, still_view(read, 0, crop), crop, still)
    mixed, mixed_sets = train_on_gpu.transplant(x, sets, donor, donor_sets)
    lesion = (donor_sets & train_on_gpu.LESION) > 0
    assert torch.equal(mixed_sets & 31, torch.where(lesion, donor_sets & 30, sets & 31))
    far = torch.nn.functional.max_pool3d(lesion.float(), 11, 1, 5) == 0
    assert torch.equal(mixed[far.expand_as(x)], x[far.expand_as(x)])
    inside = lesion.expand_as(x)
    assert float((mixed - donor)[inside].abs().mean()) < float((x - donor)[inside].abs().mean()) / 2


def test_batches_are_whole_and_the_same_again(read: train_on_gpu.Pack) -> None:
    settings = train_on_gpu.Settings(crop=(32, 48, 16), seed=5)
    sampler = train_on_gpu.Sampler(read, read.chosen(-1, False), settings)
    assert set(sampler.roles) == set(train_on_gpu.SHARES)
    seen = set()
    for step in range(4):
        x, sets = sampler.batch(step, 5)
        assert x.shape == (5, 4, 32, 48, 16) and bool(torch.isfinite(x).all())
        assert int(sets.min()) > 0
        seen |= set(sets.unique().tolist())
    assert seen == {1, 2, 4, 4 | 8, 8, 16}
    again = sampler.batch(3, 5)
    assert torch.equal(x, again[0]) and torch.equal(sets, again[1])


def test_a_held_out_fold_is_not_trained_on(read: train_on_gpu.Pack) -> None:
    held, train = read.chosen(1, True), read.chosen(1, False)
    assert [read.meta["cases"][i]["id"] for i in held] == ["P-2"]
    assert set(held) & set(train) == set() and len(held) + len(train) == 5
    assert "non_enhancing" not in train_on_gpu.Sampler(read, train, train_on_gpu.Settings()).roles


def test_too_large_a_pack_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"too large \(expected at most 1 MiB"):
        pack.write_pack(tmp_path / "cases.npz", [small_case("a", RING)], {}, STARTER, 1)
    assert not list(tmp_path.iterdir())


def test_synthetic_cases_are_left_out_where_they_do_not_fit(tmp_path: Path) -> None:
    cases = [small_case(f"synth-{n}", pack.SYNTHETIC) for n in range(3)] + [small_case("a", RING)]
    packed, size = pack.write_pack(tmp_path / "cases.npz", cases, {"a": 0}, STARTER, 9.5)
    assert [case.case_id for case in packed] == ["a"] and size <= 9.5
    read = train_on_gpu.read_pack(tmp_path / "cases.npz", torch.device("cpu"))
    assert [case["id"] for case in read.meta["cases"]] == ["a"] and len(read.places) == 2


def test_the_output_keeps_to_what_may_come_back(tmp_path: Path) -> None:
    weights = load_file(STARTER / WEIGHTS)
    output = train_on_gpu.Output(tmp_path / "out", weights)
    for step in range(1, 9):
        output.save(weights, {"step": step}, score=-abs(step - 3))
        output.log({"step": step})
        sizes = [path.stat().st_size for path in (tmp_path / "out").iterdir()]
        assert len(sizes) <= 8 and max(sizes) <= 16 * 2**20 and sum(sizes) <= 64 * 2**20
    names = sorted(path.name for path in (tmp_path / "out").glob("step-*"))
    assert names[-1] == "step-000008.safetensors" and len(names) >= 3
    assert to_bundle.read_checkpoint(tmp_path / "out" / train_on_gpu.BEST)[1] == {"step": 3}


def test_a_network_too_large_to_come_back_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="at most 16 may come back"):
        train_on_gpu.Output(tmp_path / "out", {"a": torch.zeros(9 * 2**20)})


def run_script(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["train_on_gpu.py", *map(str, words)])
    train_on_gpu.main()


def test_three_steps_and_back_to_the_cpu(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, before = tmp_path / "out", load_file(STARTER / WEIGHTS)
    small = ("--steps", "3", "--crop", "32", "32", "16", "--device", "cpu", "--fold", "1")
    # The clock of the script starts with its import, which may be minutes ago here.
    monkeypatch.setattr(train_on_gpu, "STARTED", train_on_gpu.time.monotonic())
    run_script(monkeypatch, packed, "--out", out, *small)
    assert {path.name for path in out.iterdir()} == {"step-000003.safetensors", train_on_gpu.BEST, train_on_gpu.LOG}
    assert max(path.stat().st_size for path in out.iterdir()) <= 16 * 2**20
    log = [json.loads(line) for line in (out / train_on_gpu.LOG).read_text().splitlines()]
    assert [entry["step"] for entry in log] == [0, 3]
    assert set(log[-1]["held_out"]["non_enhancing"]) == {"WT", "TC", "ET"}
    weights, facts = to_bundle.read_checkpoint(out / "step-000003.safetensors")
    UNet(**read_bundle(STARTER).arguments).load_state_dict(weights, strict=True)
    assert any(not torch.equal(weights[name].half(), value.half()) for name, value in before.items())
    assert facts["real_cases"] == ["P-1", "P-3"] and facts["sources"] == ["a release (CC BY)"]
    bundle = to_bundle.make_bundle([out / "step-000003.safetensors"], [1.0], tmp_path / "bundle", "from-gpu")
    bundle.verify()
    training: Mapping[str, object] = bundle.manifest["training"]
    assert training["real_cases"] == 2 and training["only_synthetic"] is False
    assert training["sources"] == ["a release (CC BY)"] and bundle.licence.startswith("not stated")
    BundleRunner(bundle)
    # What `hope train --from` asks of a bundle:
    assert config_of_recipe("starter", 5, None, None, "peds", [], bundle).base.startswith("from-gpu ")
    with pytest.raises(SystemExit, match="already holds a run"):
        run_script(monkeypatch, packed, "--out", out, *small)


def test_checkpoints_are_averaged_by_their_shares(tmp_path: Path) -> None:
    mean = to_bundle.averaged([{"a": torch.zeros(2)}, {"a": torch.ones(2)}], [3, 7])
    assert torch.allclose(mean["a"], torch.full((2,), 0.7))
    with pytest.raises(InputError, match="does not say how it was trained"):
        to_bundle.make_bundle([STARTER / WEIGHTS], [1.0], tmp_path / "bundle", "x")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="cannot be read"):
        to_bundle.make_bundle([tmp_path / "text.safetensors"], [1.0], tmp_path / "bundle", "x")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("minutes", ["0", "9.5"])
def test_more_than_nine_minutes_are_refused(packed: Path, monkeypatch: pytest.MonkeyPatch, minutes: str) -> None:
    with pytest.raises(SystemExit, match="at most 9"):
        run_script(monkeypatch, packed, "--out", "nowhere", "--minutes", minutes)

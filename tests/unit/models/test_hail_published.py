"""The published harmonizer: its checkpoint becomes a bundle, which runs on any grid and twice alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hope.cli import main
from hope.domain.case import AlignedCase, HeadState, MRSequence
from hope.domain.errors import BundleError, HopeError, InputError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.volume import Volume
from hope.models.bundle import HARMONIZER
from hope.models.hail.choose import harmonizer_of
from hope.models.hail.published_runner import PublishedHarmonizer
from hope.models.hail.released import CLASSES, Attention, PublishedHail, SliceUNet
from hope.models.importers.choices import ImportChoices
from hope.models.importers.hail import STATES
from hope.models.registry import ModelRegistry

T1N, T1C, T2W, T2F = MRSequence
Checkpoint = dict[str, Any]


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    """A checkpoint with random weights, as its training would save it."""
    torch.manual_seed(0)
    state = PublishedHail().state_dict()
    parts = {
        part: {name.removeprefix(f"{part}."): tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        for part in STATES
    }
    return {"epoch": 3, **parts, "optimizer": {"state": {}, "param_groups": []}}


@pytest.fixture(scope="module")
def checkpoint(published: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "harmonization.pt"
    torch.save(published, path)
    return path


@pytest.fixture(scope="module")
def registry(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelRegistry:
    models = ModelRegistry(tmp_path_factory.mktemp("registry") / "models")
    models.add_published([checkpoint], "hail", ImportChoices(licence="CC-BY-NC-SA-4.0"))
    return models


def a_case(shape: tuple[int, int, int] = (50, 44, 3), seed: int = 0) -> AlignedCase:
    """One slice of brain."""
    rng = np.random.default_rng(seed)
    brain = np.zeros(shape, bool)
    brain[5:45, 8:40, 1] = True
    grid = Grid(shape, np.eye(4))
    t1n = Volume((brain * (200 + 100 * rng.random(shape))).astype(np.float32), grid)
    return AlignedCase("case", {T1N: t1n, T2W: t1n}, Volume(brain, grid), HeadState.BRAIN, grid, T1N, {})


def test_the_checkpoint_becomes_a_harmonizer_with_every_tensor(registry: ModelRegistry, published: Checkpoint) -> None:
    bundle = registry.get("hail", HARMONIZER)
    bundle.verify()
    assert (bundle.licence, bundle.sequences) == ("CC-BY-NC-SA-4.0", (T1N,))
    assert any("99th percentile" in sentence for sentence in bundle.manifest["source"]["assumed"])
    harmonizer = harmonizer_of(bundle, "cpu")
    assert isinstance(harmonizer, PublishedHarmonizer)
    stored = harmonizer._network.state_dict()
    for part in STATES:
        for name, tensor in published[part].items():
            assert torch.equal(stored[f"{part}.{name}"], tensor), f"{part}.{name}"


def test_it_draws_the_brain_alone_on_the_cases_own_grid_and_twice_alike(registry: ModelRegistry) -> None:
    harmonizer = harmonizer_of(registry.get("hail"), "cpu")
    case = a_case()
    style = harmonizer.learn(a_case(seed=1))
    assert style.sequences.keys() == {T1N}
    first = harmonizer.apply(case, style, silent)
    second = harmonizer.apply(case, style, silent)
    assert first.keys() == {T1N}
    image = first[T1N]
    assert image.grid.same_as(case.grid)
    assert image.data.dtype == np.float32
    assert np.array_equal(image.data, second[T1N].data)
    assert not image.data[np.asarray(case.images[T1N].data) == 0].any()
    assert image.data.any()
    with pytest.raises(InputError, match="not learnt with the harmonizer hail"):
        harmonizer.apply(case, replace(style, network_sha256="0" * 64), silent)


def test_without_a_native_t1_there_is_nothing_to_do(registry: ModelRegistry) -> None:
    harmonizer = harmonizer_of(registry.get("hail"), "cpu")
    case = a_case()
    without = replace(case, images={T2W: case.images[T2W]})
    with pytest.raises(InputError, match="needs the native T1"):
        harmonizer.learn(without)


@pytest.mark.parametrize("shape", [(300, 40, 2), (40, 225, 1), (10, 10, 10)])
def test_any_grid_is_padded_and_put_back(registry: ModelRegistry, shape: tuple[int, int, int]) -> None:
    harmonizer = PublishedHarmonizer(registry.get("hail"), "cpu")
    grid = Grid(shape, np.eye(4))
    data = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    volume = Volume(data, grid)
    case = AlignedCase("case", {T1N: volume}, Volume(np.ones(shape, bool), grid), HeadState.BRAIN, grid, T1N, {})
    block, top, (box, inner) = harmonizer._block(case)
    assert block.shape[0] == shape[2]
    assert all(n >= 224 and n % 16 == 0 for n in block.shape[1:])
    back = np.zeros(shape, np.float32)
    back[box] = block[inner].permute(1, 2, 0).numpy()
    assert np.allclose(back, np.minimum(data / top, 1), atol=1e-6)


def broken(published: Checkpoint, change: Callable[[Checkpoint], Any]) -> Checkpoint:
    copy = {key: dict(value) if isinstance(value, dict) else value for key, value in published.items()}
    change(copy)
    return copy


CHANGES: dict[str, tuple[Callable[[Checkpoint], Any], str]] = {
    "no part": (lambda c: c.pop("patchifier"), "has no patchifier"),
    "no tensor": (lambda c: c["decoder"].pop("in_conv.weight"), "the tensor in_conv.weight is missing"),
    "one more": (lambda c: c["eta_encoder"].update(extra=torch.zeros(1)), "the tensor extra is unexpected"),
    "shape": (lambda c: c["beta_encoder"].update({"in_conv.bias": torch.zeros(9)}), "in_conv.bias has another shape"),
    "not finite": (
        lambda c: c["theta_encoder"].update({"conv.0.bias": torch.full((32,), torch.nan)}),
        "conv.0.bias holds numbers that are not finite",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(name: str, published: Checkpoint, tmp_path: Path) -> None:
    change, match = CHANGES[name]
    torch.save(broken(published, change), tmp_path / "harmonization.pt")
    models = ModelRegistry(tmp_path / "models")
    with pytest.raises(BundleError, match=match):
        models.add_published([tmp_path / "harmonization.pt"], "x")
    assert list(models.user_folder.iterdir()) == []


class Evil:
    """A pickle that would run a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("run",))


@pytest.mark.parametrize(
    ("choices", "kind", "match"),
    [
        (ImportChoices(weights={"nnunet": 1.0}), InputError, "one network for t1n"),
        (ImportChoices(sequences=("t1c",)), InputError, "one network for t1n"),
    ],
)
def test_choices_for_other_networks_are_refused(
    choices: ImportChoices, kind: type[HopeError], match: str, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=match):
        ModelRegistry(tmp_path / "models").add_published([checkpoint], "x", choices)


def test_code_in_the_checkpoint_is_not_run_and_other_models_go_alone(
    published: Checkpoint, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**published, "evil": Evil()}, tmp_path / "harmonization.pt")
    with pytest.raises(BundleError):
        ModelRegistry(tmp_path / "models").add_published([tmp_path / "harmonization.pt"], "x")
    assert "run" not in capsys.readouterr().out
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("harmonization.pt", "other.pt"):
        (folder / name).write_bytes(checkpoint.read_bytes())
    with pytest.raises(InputError, match="a model by itself"):
        ModelRegistry(tmp_path / "models").add_published([folder], "x")


def test_the_command_line_adds_lists_and_shows_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOPE_MODELS_DIR", str(tmp_path / "models"))
    run = CliRunner()
    added = run.invoke(main, ["models", "add", str(checkpoint), "--id", "hail", "--licence", "CC-BY-NC-SA-4.0"])
    assert added.exit_code == 0, added.output
    listed = run.invoke(main, ["models", "list"]).output
    assert "harmonizer of t1n" in next(line for line in listed.splitlines() if line.startswith("hail "))
    assert '"kind": "harmonizer"' in run.invoke(main, ["models", "show", "hail"]).output


def test_attention_prefers_the_image_that_is_most_like_the_target() -> None:
    torch.manual_seed(1)
    attention = Attention()
    attention.k_fc.load_state_dict(attention.q_fc.state_dict())
    query = torch.randn(2, 4)
    keys = torch.stack([query, -query, torch.zeros_like(query)], dim=1)
    with torch.inference_mode():
        weights = attention(query, keys)
    assert torch.allclose(weights.sum(1), torch.ones(2))
    assert bool((weights.argmax(1) == 0).all())


def test_the_slices_network_keeps_sizes_and_its_classes() -> None:
    network = SliceUNet(1, CLASSES, 2, positive=False).eval()
    with torch.inference_mode():
        assert network(torch.rand(2, 1, 32, 48)).shape == (2, CLASSES, 32, 48)
        drawn = SliceUNet(3, 1, 2, positive=True).eval()(torch.rand(1, 3, 32, 32))
    assert float(drawn.min()) >= 0

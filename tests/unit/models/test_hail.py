"""Our harmonizer: maps that stay within their bounds whatever the weights, and a runner that any grid will do for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hope.domain.case import SEQUENCES, AlignedCase, HeadState, MRSequence
from hope.domain.errors import BundleError, InputError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.style import SequenceStyle, Style
from hope.domain.volume import Volume
from hope.models.bundle import HARMONIZER, SEGMENTER, WEIGHTS, Bundle
from hope.models.hail.coarse import averaged, medians, places, view
from hope.models.hail.network import KNOTS, MOST_SHADING, STEEPEST, TISSUES, HailNetwork, apply_curve
from hope.models.hail.runner import STRENGTHS, HailHarmonizer
from hope.models.registry import ModelRegistry
from hope.training.harmonizer import start
from hope.training.harmonizer_config import HarmonizerConfig
from hope.training.harmonizer_export import export_harmonizer

SMALL = HarmonizerConfig(code=6, width=8, widths=(8, 8))
SHAPE = (32, 40, 36)
T1N, T1C, T2W, T2F = SEQUENCES


def wild(seed: int) -> HailNetwork:
    """A network whose weights are far larger than training makes them."""
    torch.manual_seed(seed)
    network = HailNetwork(6, 8, (8, 8))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    return network


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    state = start(SMALL)
    state.average = wild(3)
    return export_harmonizer(state, SMALL, tmp_path_factory.mktemp("hail") / "b", "tiny-hail")


def a_case(seed: int = 0, missing: tuple[MRSequence, ...] = (), spacing: float = 2.0) -> AlignedCase:
    """A ball with two tissues, noise and a rim of fluid, off centre; sequences differ in scale."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    distance = np.sqrt((x - 15) ** 2 + (y - 21) ** 2 + (z - 17) ** 2)
    brain = distance < 14
    tissue = np.select([distance < 7, distance < 12], [1.0, 0.7], 0.3)
    grid = Grid(SHAPE, np.diag([spacing, spacing, spacing, 1.0]))
    images = {
        s: Volume((100 * (n + 1) * brain * (tissue + 0.03 * rng.random(SHAPE))).astype(np.float32), grid)
        for n, s in enumerate(SEQUENCES)
        if s not in missing
    }
    return AlignedCase("case", images, Volume(brain, grid), HeadState.BRAIN, grid, T1C, {})


def seen(case: AlignedCase) -> tuple[torch.Tensor, torch.Tensor]:
    images = np.stack([np.asarray(case.images[s].data) for s in SEQUENCES])
    share = np.asarray(case.brain_mask.data, np.float32)
    coarse = averaged(images, share)
    channels, percentiles = view(coarse, share, medians(coarse, share), places(share))
    padded = torch.nn.functional.pad(torch.from_numpy(channels), [0, 4, 0, 0, 0, 0])
    return padded[None], torch.from_numpy(percentiles)[None]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_maps_rise_within_their_bounds_whatever_the_weights(seed: int) -> None:
    network = wild(seed)
    channels, percentiles = seen(a_case(seed))
    with torch.inference_mode():
        target = 3 * torch.rand(1, 4, 6 + percentiles.shape[2], generator=torch.Generator().manual_seed(seed))
        curve, shading = network(channels, network.code(channels, percentiles), target)
    slopes = curve.diff(dim=2) / torch.tensor(KNOTS).diff()
    assert float(slopes.min()) >= 1 / STEEPEST - 1e-4
    assert float(slopes.max()) <= STEEPEST + 1e-4
    assert float(slopes.max() - slopes.min()) > 0.1, "the weights should bend something"
    assert float(curve[:, :, 0].abs().max()) == 0
    brain = channels[:, 4:5] >= 0.5
    assert float(shading.abs().max()) <= 2 * MOST_SHADING
    assert float((shading * brain).sum((2, 3, 4)).abs().max() / brain.sum()) < 1e-5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.4, 2.5), min_size=len(KNOTS) - 1, max_size=len(KNOTS) - 1), st.integers(0, 99))
def test_bending_is_linear_between_knots_and_straight_beyond(slopes: list[float], seed: int) -> None:
    values = np.concatenate([[0], np.cumsum(np.array(slopes) * np.diff(KNOTS))])
    x = np.random.default_rng(seed).uniform(0, 6, 200)
    got = apply_curve(torch.tensor(x)[None, None], torch.tensor(values)[None, None])[0, 0].numpy()
    beyond = values[-1] + (x - KNOTS[-1]) * slopes[-1]
    assert np.allclose(got, np.where(x > KNOTS[-1], beyond, np.interp(x, KNOTS, values)), atol=1e-9)


def test_an_untrained_network_already_sends_tissue_to_tissue() -> None:
    network = HailNetwork(6, 8, (8, 8))
    channels, percentiles = seen(a_case())
    source, target = (torch.zeros(1, 4, 6 + percentiles.shape[2]) for _ in range(2))
    source[..., :TISSUES] = torch.tensor([0.5, 0.85, 1.3])
    target[..., :TISSUES] = torch.tensor([0.4, 0.9, 1.2])
    with torch.inference_mode():
        curve, shading = network(channels, source, target)
        there = apply_curve(source[:, :, :TISSUES], curve)
    assert torch.allclose(there, target[:, :, :TISSUES], atol=0.03)
    assert float(shading.abs().max()) == 0


def test_a_missing_sequence_has_no_code() -> None:
    network = wild(1)
    channels, percentiles = seen(a_case())
    channels[:, 2] = channels[:, 7] = 0
    percentiles[:, 2] = 0
    with torch.inference_mode():
        codes = network.code(channels, percentiles)
    assert float(codes[:, 2].abs().max()) == 0
    assert bool(codes[:, [0, 1, 3]].abs().amax(2).gt(0).all())


def harmonized(bundle: Bundle, case: AlignedCase, style: Style) -> Mapping[MRSequence, Volume]:
    return HailHarmonizer(bundle, "cpu").apply(case, style, silent)


def test_the_result_has_the_cases_grid_and_nothing_appears_where_nothing_was(bundle: Bundle) -> None:
    case, style = a_case(1), HailHarmonizer(bundle, "cpu").learn(a_case(2))
    done = harmonized(bundle, case, style)
    assert set(done) == set(SEQUENCES)
    for sequence, image in done.items():
        before = np.asarray(case.images[sequence].data)
        assert image.grid.same_as(case.grid)
        assert image.data.dtype == np.float32
        assert not image.data[before == 0].any()
        assert (image.data[before > 0] > 0).all()
        assert not np.allclose(image.data, before, rtol=0.01)


def test_two_runs_agree_bit_for_bit(bundle: Bundle) -> None:
    case = a_case(1)
    harmonizer = HailHarmonizer(bundle, "cpu")
    style = harmonizer.learn(a_case(2))
    first, second = (harmonizer.apply(case, style, silent) for _ in range(2))
    assert all(np.array_equal(first[s].data, second[s].data) for s in SEQUENCES)


@pytest.mark.parametrize("orientation", ["LPS", "SAR", "PIL"])
def test_the_order_of_the_axes_does_not_matter(bundle: Bundle, orientation: str) -> None:
    case, style = a_case(1), HailHarmonizer(bundle, "cpu").learn(a_case(2))
    turned = replace(
        case,
        images={s: v.reoriented(orientation) for s, v in case.images.items()},
        brain_mask=case.brain_mask.reoriented(orientation),
    )
    plain, other = harmonized(bundle, case, style), harmonized(bundle, turned, style)
    for sequence in SEQUENCES:
        assert other[sequence].grid.same_as(turned.grid)
        assert np.array_equal(other[sequence].reoriented("RAS").data, plain[sequence].data)


def test_scale_of_the_source_does_not_matter(bundle: Bundle) -> None:
    case, style = a_case(1), HailHarmonizer(bundle, "cpu").learn(a_case(2))
    louder = replace(case, images={s: v.with_data(v.data * np.float32(64)) for s, v in case.images.items()})
    plain, other = harmonized(bundle, case, style), harmonized(bundle, louder, style)
    assert all(np.allclose(plain[s].data, other[s].data, rtol=1e-4) for s in SEQUENCES)


def test_the_unit_of_the_style_scales_the_result(bundle: Bundle) -> None:
    case, style = a_case(1), HailHarmonizer(bundle, "cpu").learn(a_case(2))
    twice = replace(style, sequences={s: replace(e, unit=2 * e.unit) for s, e in style.sequences.items()})
    plain, other = harmonized(bundle, case, style), harmonized(bundle, case, twice)
    assert all(np.allclose(2 * plain[s].data, other[s].data, rtol=1e-5) for s in SEQUENCES)


@pytest.mark.parametrize("missing", [(T1C,), (T1N, T2F), (T1C, T2W, T2F)])
def test_what_is_missing_in_source_or_style_is_left_out(bundle: Bundle, missing: tuple[MRSequence, ...]) -> None:
    harmonizer = HailHarmonizer(bundle, "cpu")
    rest = {s for s in SEQUENCES if s not in missing}
    style = harmonizer.learn(a_case(2))
    assert set(harmonizer.apply(a_case(1, missing), style, silent)) == rest
    poorer = harmonizer.learn(a_case(2, missing))
    assert set(poorer.sequences) == rest
    assert set(harmonizer.apply(a_case(1), poorer, silent)) == rest


def test_a_style_survives_its_file_and_ties_its_units(bundle: Bundle) -> None:
    harmonizer = HailHarmonizer(bundle, "cpu")
    style = harmonizer.learn(a_case(2))
    again = Style.from_json(style.to_json())
    first, second = (harmonizer.apply(a_case(1), s, silent) for s in (style, again))
    assert all(np.array_equal(first[s].data, second[s].data) for s in SEQUENCES)
    entry = style.sequences[T2W]
    assert entry.unit == pytest.approx(float(np.median(a_case(2).images[T2W].data[a_case(2).brain_mask.data])))
    assert entry.code[-1] == pytest.approx(1, abs=0.2)


def test_other_networks_styles_and_damaged_codes_are_refused(bundle: Bundle) -> None:
    harmonizer = HailHarmonizer(bundle, "cpu")
    style = harmonizer.learn(a_case(2))
    with pytest.raises(InputError, match="not learnt with the harmonizer tiny-hail"):
        harmonizer.apply(a_case(1), replace(style, network_sha256="0" * 64), silent)
    entry = style.sequences[T1N]
    short: dict[MRSequence, SequenceStyle] = {T1N: replace(entry, code=entry.code[:3])}
    with pytest.raises(InputError, match="code of t1n does not fit"):
        harmonizer.apply(a_case(1), replace(style, sequences=short), silent)


def test_an_empty_brain_or_a_constant_image_teaches_nothing(bundle: Bundle) -> None:
    harmonizer = HailHarmonizer(bundle, "cpu")
    case = a_case()
    nothing = case.brain_mask.with_data(np.zeros(SHAPE, bool))
    with pytest.raises(InputError, match="brain mask is empty"):
        harmonizer.learn(replace(case, brain_mask=nothing))
    dark = {s: v.with_data(v.data * 0) for s, v in case.images.items()}
    with pytest.raises(InputError, match="no style can be learnt"):
        harmonizer.learn(replace(case, images=dark))


def test_where_the_anatomy_suffers_less_is_done(bundle: Bundle) -> None:
    style = HailHarmonizer(bundle, "cpu").learn(a_case(2))
    asked: list[MRSequence] = []

    def keeps(sequence: MRSequence, _image: Volume) -> bool:
        asked.append(sequence)
        return sequence is not T2W

    careful = HailHarmonizer(bundle, "cpu", guard=lambda _case, _style: keeps).apply(a_case(1), style, silent)
    whole = harmonized(bundle, a_case(1), style)
    assert asked.count(T2W) == len(STRENGTHS)
    assert asked.count(T1N) == 1
    assert np.array_equal(careful[T1N].data, whole[T1N].data)
    before = np.asarray(a_case(1).images[T2W].data)
    brain = before > 0

    def curved(image: Volume) -> float:
        ratio = np.asarray(image.data)[brain] / before[brain]
        return float(ratio.std() / ratio.mean())

    assert curved(careful[T2W]) < curved(whole[T2W])


def test_what_lies_outside_the_brain_is_mapped_too(bundle: Bundle) -> None:
    case, style = a_case(1), HailHarmonizer(bundle, "cpu").learn(a_case(2))
    data = np.asarray(case.images[T2W].data).copy()
    outside = tuple(np.argwhere(~np.asarray(case.brain_mask.data))[0])
    data[outside] = np.median(data[data > 0])
    other = replace(case, images={**case.images, T2W: case.images[T2W].with_data(data)})
    one, two = harmonized(bundle, case, style)[T2W], harmonized(bundle, other, style)[T2W]
    changed = np.argwhere(one.data != two.data)
    assert [tuple(place) for place in changed] == [outside]
    assert two.data[outside] > 0


def test_a_harmonizer_is_no_segmenter(bundle: Bundle, tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path / "models")
    added = registry.add(bundle.folder)
    assert (added.kind, added.label_schema) == (HARMONIZER, "")
    assert "tiny-hail" in [b.id for b in registry.list()]
    assert "tiny-hail" not in [b.id for b in registry.list(SEGMENTER)]
    assert registry.get("tiny-hail", HARMONIZER).sha256 == bundle.sha256
    with pytest.raises(InputError, match="tiny-hail is a harmonizer, not a segmenter"):
        registry.get("tiny-hail", SEGMENTER)
    with pytest.raises(BundleError, match="no harmonizer of this kind"):
        HailHarmonizer(registry.get("starter"), "cpu")


def test_weights_that_do_not_fit_are_refused(bundle: Bundle) -> None:
    other = replace(bundle, arguments={**bundle.arguments, "code": 7})
    with pytest.raises(BundleError, match="do not fit"):
        HailHarmonizer(other, "cpu")
    assert (bundle.folder / WEIGHTS).is_file()

"""The harmonizer that ships: near the truth where it is known, takes no lesion away, and is found by the command."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from scipy import ndimage

from hope.cli import main
from hope.domain.case import SEQUENCES, AlignedCase
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.models.bundle import BUNDLED, read_bundle
from hope.models.hail.choose import harmonizer_of
from hope.ports import Harmonizer
from hope.services import DEFAULT_HARMONIZER, Services
from hope.settings import Settings
from hope.stages.harmonize.harmonize import default_style, harmonize
from hope.stages.harmonize.histogram import HistogramHarmonizer
from hope.stages.harmonize.lesion_prior import healthy_brain
from hope.synthesis.style_pairs import style_pair

SHIPPED = read_bundle(BUNDLED / DEFAULT_HARMONIZER)
Image = npt.NDArray[np.float32]


def as_case(images: Sequence[Image], mask: npt.NDArray[np.bool_], grid: Grid) -> AlignedCase:
    volumes = {s: Volume(np.asarray(image, np.float32), grid) for s, image in zip(SEQUENCES, images, strict=True)}
    return AlignedCase.in_place("pair", volumes, Volume(mask, grid))


def error(image: Image, truth: Image, brain: npt.NDArray[np.bool_]) -> float:
    """Root mean square in units of the truth's spread, both divided by their medians."""
    one, other = (data[brain] / np.median(data[brain]) for data in (image, truth))
    return float(np.sqrt(np.mean((one - other) ** 2)) / other.std())


def test_the_style_that_ships_was_learnt_with_the_network_that_ships() -> None:
    assert default_style("hail").network_sha256 == SHIPPED.sha256
    assert SHIPPED.manifest["training"]["real_cases"] == 0


def test_it_comes_nearer_to_the_truth_than_landmarks_do() -> None:
    methods: dict[str, Harmonizer] = {
        "hail": harmonizer_of(SHIPPED, "cpu", healthy_brain),
        "histogram": HistogramHarmonizer(),
    }
    errors: dict[str, list[float]] = {"none": [], **{name: [] for name in methods}}
    for index in range(2):
        pair = style_pair(seed=515, index=index)
        brain, grid = pair.source_case.mask, pair.source_case.grid
        source, target = as_case(pair.source, brain, grid), as_case(pair.target, pair.target_case.mask, grid)
        done = {name: method.apply(source, method.learn(target)) for name, method in methods.items()}
        for channel, s in enumerate(SEQUENCES):
            errors["none"].append(error(pair.source[channel], pair.truth[channel], brain))
            for name, images in done.items():
                errors[name].append(error(images[s].data, pair.truth[channel], brain))
    means = {name: np.mean(values) for name, values in errors.items()}
    assert means["hail"] < 0.85 * means["histogram"], means
    assert means["hail"] < 0.85 * means["none"], means


def test_no_lesion_vanishes_and_two_runs_agree() -> None:
    """The short form of `make phantoms`, which has 1,000 trials."""
    harmonizer = Services(Settings.from_environment()).harmonizer("hail")
    pair = style_pair(seed=78, index=0, kind="none")
    images, mask, grid = pair.source, pair.source_case.mask, pair.source_case.grid
    rng = np.random.default_rng(4)
    inside = np.argwhere(mask)
    for trial in range(4):
        place = np.moveaxis(np.indices(mask.shape), 0, -1) - inside[rng.integers(len(inside))]
        ball = ((place**2).sum(axis=-1) <= rng.uniform(2, 7) ** 2) & mask
        shell = ndimage.binary_dilation(ball, iterations=3) & mask & ~ndimage.binary_dilation(ball)
        lifted = np.array(images)
        for channel in range(len(SEQUENCES)):
            lifted[channel][ball] = np.percentile(images[channel][mask], 95) * rng.uniform(1.05, 1.6)
        case = as_case(lifted, mask, grid)
        done = harmonize(case, harmonizer, default_style("hail"))
        for channel, s in enumerate(SEQUENCES):
            before, after = (
                float(image[ball].mean() / image[shell].mean()) - 1 for image in (lifted[channel], done.images[s].data)
            )
            assert after > 0.5 * before, (trial, s, before, after)
        if trial == 0:
            again = harmonize(case, harmonizer, default_style("hail"))
            assert all(np.array_equal(done.images[s].data, again.images[s].data) for s in SEQUENCES)


@pytest.fixture(scope="module")
def site(preprocessed_case_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A style that was learnt with the network."""
    style = tmp_path_factory.mktemp("style") / "site.json"
    call = ["harmonize", "--learn-style", str(preprocessed_case_dir), "-o", str(style), "--method", "hail"]
    done = CliRunner().invoke(main, call)
    assert done.exit_code == 0, done.output
    return style


@pytest.mark.parametrize(("asked", "used"), [((), "hail"), (("--method", "histogram"), "histogram")])
def test_a_style_file_brings_its_network_unless_another_method_is_asked_for(
    preprocessed_case_dir: Path, site: Path, tmp_path: Path, hope: Callable, asked: tuple[str, ...], used: str
) -> None:
    done = hope("harmonize", preprocessed_case_dir, "-o", tmp_path / "out", "--target", site, *asked)
    assert done.status == 0, done.err
    assert f": {used}, to the style site" in done.out
    written = json.loads((tmp_path / "out" / preprocessed_case_dir.name / "harmonize.json").read_text())
    assert written["harmonization"]["asked"] == used

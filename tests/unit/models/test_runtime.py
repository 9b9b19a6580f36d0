"""The runtime: orientation does not matter, missing t1c means no ET, damaged or foreign weights are said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, MRSequence
from hope.domain.errors import BundleError, InputError
from hope.domain.grid import Grid
from hope.domain.progress import silent
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.models.bundle import read_bundle
from hope.models.networks import build_network
from hope.models.normalise import zscore_inside
from hope.models.out_of_distribution import OUT_OF_DISTRIBUTION, OutOfDistributionScore
from hope.models.runtime import BundleRunner, _likeliest, choose_device
from hope.training.config import TrainingConfig
from hope.training.export import export_bundle
from hope.training.loop import start

TINY = TrainingConfig(
    spacing_mm=4.0, patch=(16, 16, 16), widths=(4, 8), blocks=(1, 1), decoder_blocks=(1,), seed=3, tile=(16, 16, 16)
)
GRID = Grid((40, 44, 36), np.array([[2.0, 0, 0, -40], [0, 2.0, 0, -44], [0, 0, 2.0, -36], [0, 0, 0, 1]]))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> BundleRunner:
    folder = tmp_path_factory.mktemp("tiny")
    return BundleRunner(export_bundle(start(TINY), TINY, folder, "tiny"), "cpu")


def case(orientation: str = "RAS", without: MRSequence | None = None) -> HarmonizedCase:
    rng = np.random.default_rng(1)
    ball = (np.moveaxis(np.indices(GRID.shape), 0, -1) - np.array(GRID.shape) / 2) ** 2
    inside = ball.sum(axis=-1) < 15**2
    images: Mapping[MRSequence, Volume] = {
        s: Volume((rng.random(GRID.shape) * inside).astype(np.float32), GRID).reoriented(orientation) for s in SEQUENCES
    }
    kept = {s: v for s, v in images.items() if s is not without}
    mask = Volume(inside, GRID).reoriented(orientation)
    aligned = AlignedCase(
        "c", kept, mask, HeadState.BRAIN, mask.grid, next(iter(kept)), {s: Transform.identity() for s in kept}
    )
    return HarmonizedCase(aligned, kept)


@pytest.mark.parametrize("orientation", ["LPS", "ASR", "IPL", "SRA"])
def test_orientation_of_the_input_does_not_matter(runner: BundleRunner, orientation: str) -> None:
    upright = runner.predict(case(), silent)
    turned = runner.predict(case(orientation), silent)
    assert len(np.unique(upright.labels.data)) > 1, "a constant answer would prove nothing"
    assert turned.labels.grid.orientation == orientation
    assert np.array_equal(turned.labels.reoriented("RAS").data, upright.labels.data)
    wt = Volume(turned.region_probability["WT"], turned.labels.grid).reoriented("RAS").data
    assert np.array_equal(wt, upright.region_probability["WT"])


def test_labels_stay_inside_the_brain_and_probabilities_add_up(runner: BundleRunner) -> None:
    given = case()
    prediction = runner.predict(given, silent)
    assert not prediction.labels.data[~given.aligned.brain_mask.data].any()
    parts = [prediction.region_probability[k].astype(np.float32) for k in ("ET", "NET", "CC")]
    assert np.allclose(sum(parts), prediction.region_probability["TC"].astype(np.float32), atol=5e-3)


def test_two_runs_are_equal(runner: BundleRunner) -> None:
    first, second = (runner.predict(case(), silent) for _ in range(2))
    assert np.array_equal(first.labels.data, second.labels.data)


def test_without_t1c_there_is_no_enhancing_tumour(runner: BundleRunner) -> None:
    prediction = runner.predict(case(without=MRSequence.T1C), silent)
    assert prediction.missing == (MRSequence.T1C,)
    assert not (prediction.labels.data == 1).any()
    assert not prediction.region_probability["ET"].any()
    assert [flag.sequence for flag in prediction.flags] == ["t1c"]


def test_a_sequence_it_needs_is_asked_for(runner: BundleRunner) -> None:
    needy = BundleRunner(replace(runner.bundle, optional=frozenset({MRSequence.T1N})), "cpu")
    with pytest.raises(InputError, match="--t2w"):
        needy.predict(case(without=MRSequence.T2W), silent)


def test_an_input_unlike_the_training_is_marked_with_the_reason(tmp_path: Path) -> None:
    names = ("t1c bright", "t1n~t2w")
    known = OutOfDistributionScore(names, np.array([40.0, 0.0]), np.array([1.0, 1.0]), np.eye(2), 3.0, 100)
    wary = BundleRunner(export_bundle(start(TINY), TINY, tmp_path, "wary", out_of_distribution=known), "cpu")
    (flag,) = wary.predict(case(), silent).flags
    assert flag.code == "unlike_training"
    assert "t1c: its brightest parts" in flag.reason
    codes = [flag.code for flag in wary.predict(case(without=MRSequence.T1C), silent).flags]
    assert codes == ["missing_sequence"], "what was not given cannot be strange"
    (tmp_path / OUT_OF_DISTRIBUTION).write_text("{")
    with pytest.raises(BundleError):
        BundleRunner(wary.bundle, "cpu")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    export_bundle(start(TINY), TINY, tmp_path, "tiny")
    text = (
        (tmp_path / "model.json")
        .read_text()
        .replace('"widths": [\n        4,\n        8', '"widths": [\n        4,\n        6')
    )
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(BundleError, match="do not fit"):
        BundleRunner(read_bundle(tmp_path), "cpu").predict(case(), silent)


def test_unknown_architectures_and_arguments_are_refused() -> None:
    with pytest.raises(BundleError, match="UNet"):
        build_network("Transformer9000", {})
    with pytest.raises(BundleError, match="arguments"):
        build_network("UNet", {"depth": 3})


def test_a_gpu_that_is_not_there_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="CUDA"):
        choose_device("cuda")


def test_normalisation_ignores_what_lies_outside_and_survives_constants() -> None:
    images = np.stack([np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.full((4, 4, 4), 7, np.float32)])
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[1:3] = True
    out = zscore_inside(images, mask)
    assert out[0][mask].mean() == pytest.approx(0, abs=1e-5)
    assert out[0][mask].std() == pytest.approx(1, abs=1e-4)
    assert not out[:, ~mask].any()
    assert not out[1].any()
    assert not zscore_inside(images, np.zeros_like(mask)).any()


def test_the_likeliest_class_is_that_of_argmax_and_the_first_of_equals() -> None:
    probability = torch.from_numpy(np.random.default_rng(2).integers(0, 4, (5, 6, 7, 8)).astype(np.float32))

    np.testing.assert_array_equal(_likeliest(probability).numpy(), probability.numpy().argmax(axis=0))

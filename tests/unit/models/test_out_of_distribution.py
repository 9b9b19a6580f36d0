"""What is unlike the training is flagged with a reason, whatever is missing; what is like it is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import BundleError
from hope.models.normalise import zscore_inside
from hope.models.out_of_distribution import OUT_OF_DISTRIBUTION, OutOfDistributionScore, in_words, measurements, pooled
from hope.training.out_of_distribution import LEAST_CASES, fit_out_of_distribution
from hope.training.pool import Sample

SHAPE = (24, 30, 26)


def head(seed: int) -> Sample:
    """An egg that is wider at the top, of two tissues with a contrast of their own in every sequence."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2).transpose(3, 0, 1, 2)
    radii = np.array([9.5, 12.5, 10.5]) * rng.uniform(0.92, 1.06, 3)
    width = radii[0] * (1 + 0.02 * z)
    mask = (x / width) ** 2 + (y / (radii[1] * (1 - 0.01 * y))) ** 2 + (z / radii[2]) ** 2 < 1
    tissue = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5)
    tissue = (tissue + tissue[::-1]) / np.std(tissue)
    slopes = np.array([1.0, 1.1, -1.2, -0.8]) * rng.uniform(0.8, 1.2, 4)
    noise = ndimage.gaussian_filter(rng.standard_normal((4, *SHAPE)), (0, 0.7, 0.7, 0.7))
    images = np.stack([slope * tissue + 1.5 * n + 0.1 * x for slope, n in zip(slopes, noise, strict=True)])
    return zscore_inside(images.astype(np.float32), mask).astype(np.float16), mask.astype(np.uint8)


@pytest.fixture(scope="module")
def known() -> OutOfDistributionScore:
    learned = fit_out_of_distribution([head(seed) for seed in range(150)], 2.0)
    assert learned is not None
    return learned


def of(images: np.ndarray, present: tuple[MRSequence, ...] = SEQUENCES) -> dict[str, float]:
    return measurements(images, (images != 0).any(axis=0), 2.0, present)


def test_ordinary_cases_are_not_flagged(known: OutOfDistributionScore) -> None:
    distances = [known.distance(of(head(seed)[0])) for seed in range(1000, 1040)]
    assert 0.7 < np.median(distances) < 1.6
    assert sum(distance > known.limit for distance in distances) <= 1


@pytest.mark.parametrize(
    ("order", "named"), [([2, 1, 0, 3], "t1n"), ([0, 3, 2, 1], "t1c"), ([1, 1, 1, 1], "go together")]
)
def test_swapped_sequences_are_flagged_with_a_reason(
    known: OutOfDistributionScore, order: list[int], named: str
) -> None:
    for seed in range(1000, 1005):
        flag = known.flag(of(head(seed)[0][order]))
        assert flag is not None
        assert flag.code == "unlike_training"
        assert named in flag.reason


def test_noise_and_a_brain_upside_down_or_half_are_flagged(known: OutOfDistributionScore) -> None:
    images = head(1000)[0].astype(np.float32)
    inside = (images != 0).any(axis=0)
    noise = zscore_inside(np.random.default_rng(0).standard_normal(images.shape).astype(np.float32), inside)
    half = images * (np.arange(SHAPE[0]) < SHAPE[0] // 2)[None, :, None, None]
    for strange in (noise, images[..., ::-1], half):
        assert known.flag(of(np.ascontiguousarray(strange))) is not None


@pytest.mark.parametrize("present", [SEQUENCES[1:], SEQUENCES[:2], SEQUENCES[3:]])
def test_a_missing_sequence_alone_is_not_strange(
    known: OutOfDistributionScore, present: tuple[MRSequence, ...]
) -> None:
    found = of(head(1001)[0], present)
    absent = [s for s in SEQUENCES if s not in present]
    assert not any(s in name for name in found for s in absent)
    assert known.distance(found) < known.limit


def test_the_order_of_the_images_does_not_matter() -> None:
    images = head(3)[0]
    order = (SEQUENCES[2], SEQUENCES[0], SEQUENCES[3])
    found = measurements(images[[2, 0, 3]], (images != 0).any(axis=0), 2.0, SEQUENCES, order)
    whole = of(images)
    assert set(found) == {name for name in whole if "t1c" not in name}
    assert all(found[name] == pytest.approx(whole[name]) for name in found)


def test_what_cannot_be_measured_is_strange(known: OutOfDistributionScore) -> None:
    assert known.distance({**of(head(1003)[0]), "t1n rim": float("nan")}) == float("inf")


def test_cases_that_lack_a_sequence_teach_nothing_about_it(known: OutOfDistributionScore) -> None:
    samples = [head(seed) for seed in range(150)]
    for index in (2, 5, 40):
        images = samples[index][0].copy()
        images[0] = 0
        samples[index] = (images, samples[index][1])
    learned = fit_out_of_distribution(samples, 2.0)
    assert learned is not None
    assert learned.cases == 147
    assert learned.limit == pytest.approx(known.limit, rel=0.2)


def test_every_measurement_has_its_words() -> None:
    words = [in_words(name) for name in of(head(1)[0])]
    assert len(set(words)) == len(words)


def test_too_few_cases_learn_nothing() -> None:
    assert fit_out_of_distribution([head(seed) for seed in range(LEAST_CASES - 1)], 2.0) is None


def test_what_is_written_is_read(known: OutOfDistributionScore, tmp_path: Path) -> None:
    assert OutOfDistributionScore.read(tmp_path) is None
    (tmp_path / OUT_OF_DISTRIBUTION).write_text(json.dumps(known.to_json()))
    again = OutOfDistributionScore.read(tmp_path)
    assert again is not None
    found = of(head(1002)[0])
    assert again.distance(found) == pytest.approx(known.distance(found), rel=1e-3)
    assert again.names == known.names


def _changed(known: OutOfDistributionScore, **change: Any) -> str:
    return json.dumps({**known.to_json(), **change})


def test_damaged_files_are_refused(known: OutOfDistributionScore, tmp_path: Path) -> None:
    n = len(known.names)
    contents = [
        "",
        "[]",
        "{}",
        "[" * 3000,
        _changed(known, format="x"),
        _changed(known, names=["liver", *known.names[1:]]),
        _changed(known, mean=[0.0]),
        _changed(known, mean=[float("nan")] * n),
        _changed(known, deviation=[0.0] * n),
        _changed(known, correlation=np.zeros((n, n)).tolist()),
        _changed(known, correlation=[[float("nan")] * n] * n),
        _changed(known, limit=float("nan")),
        _changed(known, cases=float("inf")),
    ]
    for content in contents:
        (tmp_path / OUT_OF_DISTRIBUTION).write_text(content)
        with pytest.raises(BundleError, match=OUT_OF_DISTRIBUTION):
            OutOfDistributionScore.read(tmp_path)


def test_scores_of_several_models_are_pooled() -> None:
    """As if their cases had been measured together: covariances about the common mean."""
    rng = np.random.default_rng(4)
    names = ("volume", "fill")
    groups = [rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 2]], 4000), rng.normal([3, -1], [2, 1], (2000, 2))]
    scores = [
        OutOfDistributionScore(names, g.mean(axis=0), g.std(axis=0), np.corrcoef(g.T), limit, len(g))
        for g, limit in zip(groups, (1.5, 1.8), strict=True)
    ]
    everything = np.concatenate(groups)
    together = pooled(scores)
    assert together.mean == pytest.approx(everything.mean(axis=0))
    assert together.deviation == pytest.approx(everything.std(axis=0))
    assert together.correlation == pytest.approx(np.corrcoef(everything.T))
    assert together.cases == 6000 and together.limit == pytest.approx(1.6)
    same = pooled(scores[:1])
    assert same.distance({"volume": 2.0, "fill": 1.0}) == pytest.approx(
        scores[0].distance({"volume": 2.0, "fill": 1.0})
    )
    other = replace(scores[1], names=("volume", "front"))
    with pytest.raises(BundleError, match="different measurements"):
        pooled([scores[0], other])

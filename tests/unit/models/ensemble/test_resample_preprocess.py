"""Preprocessing: equal to nnU-Net v2's and MONAI's own, and to hand-made expectations for nnU-Net v1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes
from tests.unit.models.ensemble.building import MONAI_GROUP, ZSCORE, blob_images, case_of, group

from hope.domain.errors import BundleError, StageError
from hope.models.ensemble.preprocess import CaseImages, lay_out, prepare
from hope.models.ensemble.resample import resample_image, resample_output, separate_axis, shape_at
from hope.models.ensemble.spec import Average, Group, Method, Preprocessing, Resampling, Tiling, group_from_json

V1 = replace(ZSCORE, normalise_first=False)
SPACINGS = st.tuples(*[st.sampled_from([0.7, 1.0, 1.3, 3.5, 5.0])] * 3)


@settings(max_examples=30, deadline=None)
@given(SPACINGS, SPACINGS, st.sampled_from([None, True, False]), st.integers(0, 3))
def test_images_are_resampled_as_nnunet_does(
    old: tuple[float, ...], new: tuple[float, ...], force: bool | None, order: int
) -> None:
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape, resample_data_or_seg_to_shape

    image = np.random.default_rng(0).normal(size=(7, 9, 8)).astype(np.float32)
    shape = shape_at(image.shape, old, new)
    assert shape == tuple(max(n, 1) for n in compute_new_shape(image.shape, old, new))
    expected = resample_data_or_seg_to_shape(image[None], shape, old, new, order=order, force_separate_z=force)[0]
    ours = resample_image(image, shape, separate_axis(old, new, force), Resampling(order))
    assert np.allclose(ours, expected, atol=1e-6)
    if order <= 1:
        answer = resample_output(
            torch.from_numpy(image)[None], shape, separate_axis(old, new, force), Resampling(order)
        )[0]
        assert np.allclose(answer.numpy(), expected, atol=1e-5)


def test_prepared_input_is_that_of_nnunet_bit_by_bit() -> None:
    images = blob_images((20, 18, 22))
    layout = lay_out(given := CaseImages(case_of(images)), group())
    prepared = prepare(given, group(), layout)
    inside = binary_fill_holes((images != 0).any(axis=0)).transpose(2, 1, 0)[layout.box]
    assert inside.shape == layout.cropped == layout.shape
    for channel, image in zip(prepared, images, strict=True):
        cropped = image.transpose(2, 1, 0)[layout.box]
        values = cropped[inside]
        assert np.array_equal(channel[inside], (values - values.mean()) / max(values.std(), 1e-8))
        assert not channel[~inside].any()


@given(st.integers(0, 2**20))
@settings(max_examples=30, deadline=None)
def test_holes_are_filled_as_scipy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = np.zeros((4, 6, 7, 5), np.float32)
    images[0, 1:5, 1:6, :] = rng.random((4, 5, 5)) < 0.8
    images[1, 3, 3, 2] = 1
    one = group(preprocessing=replace(ZSCORE, schemes=("ZScoreNormalization",) * 4))
    layout = lay_out(case := CaseImages(case_of(images)), one)
    prepared = prepare(case, one, layout)
    inside = binary_fill_holes((images != 0).any(axis=0)).transpose(2, 1, 0)[layout.box]
    # Channel 1 is 1 in one voxel, so every voxel inside is moved away from 0 by the mean.
    assert np.array_equal(prepared[1] != 0, inside) or inside.sum() == 1


def test_the_crop_and_the_transposition_can_be_undone() -> None:
    images = np.zeros((4, 10, 11, 12), np.float32)
    images[2, 3:7, 2:9, 5:6] = 4.0
    prep = replace(ZSCORE, transpose=(1, 2, 0))
    layout = lay_out(CaseImages(case_of(images, (1.0, 2.0, 3.0))), group(preprocessing=prep))
    assert layout.order == (1, 0, 2)  # zyx, of it the second, third and first
    assert layout.box == (slice(2, 9), slice(3, 7), slice(5, 6))
    assert layout.spacing_mm == (2.0, 1.0, 3.0)


def test_v1_resamples_first_then_normalises_and_sets_the_outside_to_zero() -> None:
    images = blob_images((16, 16, 16))
    one = group(preprocessing=replace(V1, spacing_mm=(2.0, 2.0, 2.0)))
    layout = lay_out(case := CaseImages(case_of(images)), one)
    prepared = prepare(case, one, layout)
    mask = binary_fill_holes((images != 0).any(axis=0)).transpose(2, 1, 0)[layout.box].astype(np.float32)
    inside = resample_image(mask, layout.shape, None, Resampling(1)) >= 0.5
    for channel, image in zip(prepared, images, strict=True):
        small = resample_image(image.transpose(2, 1, 0)[layout.box].copy(), layout.shape, None, Resampling(3))
        values = small[inside]
        assert np.allclose(channel[inside], (values - values.mean()) / (values.std() + 1e-8), atol=1e-5)
        assert not channel[~inside].any() and not inside.all()


def test_v1_without_a_mask_uses_the_whole_crop() -> None:
    images = blob_images((12, 13, 14))
    one = group(preprocessing=replace(V1, nonzero_only=(False,) * 4))
    layout = lay_out(case := CaseImages(case_of(images)), one)
    prepared = prepare(case, one, layout)
    assert np.allclose(prepared.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    assert np.allclose(prepared.std(axis=(1, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("constant", [False, True])
def test_nonzero_channel_equals_monai(constant: bool) -> None:
    from monai.transforms import NormalizeIntensity

    images = blob_images((9, 10, 11))
    images[1] = 7.0 * (images[1] != 0) if constant else images[1]
    images[3] = 0
    one = group(**MONAI_GROUP)
    layout = lay_out(case := CaseImages(case_of(images)), one)
    expected = NormalizeIntensity(nonzero=True, channel_wise=True)(torch.from_numpy(images.copy()))
    assert layout.cropped == (9, 10, 11)
    assert np.allclose(prepare(case, one, layout), np.asarray(expected), atol=1e-5)


def test_images_that_are_zero_everywhere_are_refused() -> None:
    with pytest.raises(StageError, match="0 everywhere"):
        lay_out(CaseImages(case_of(np.zeros((4, 8, 8, 8), np.float32))), group())


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("schemes", {"preprocessing": replace(ZSCORE, schemes=("Strange",) * 4)}),
        ("nonzero_only", {"preprocessing": replace(ZSCORE, nonzero_only=(True,))}),
        ("intensities", {"preprocessing": replace(ZSCORE, schemes=("CTNormalization",) * 4)}),
        ("outputs", {"preprocessing": replace(ZSCORE, outputs=Resampling(3))}),
        ("classes", {"classes": (0, 1, 1, 2)}),
        ("weight", {"weight": float("nan")}),
        ("weight", {"weight": float("inf")}),
        ("channels", {"channels": ("t1n", "t1c", "t2w", "../x")}),
        ("patch", {"tiling": Tiling((8, 8, 10**9))}),
        ("step", {"tiling": Tiling((8, 8, 8), step=1e-9)}),
        ("spacing_mm", {"preprocessing": replace(ZSCORE, spacing_mm=(1e-30, 1.0, 1.0))}),
        ("images", {"preprocessing": replace(ZSCORE, images=Resampling(99))}),
        ("fold_mean", {"fold_mean": Average.LOGITS, "tiling": Tiling((8, 8, 8), mean=Average.PROBABILITIES)}),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(part: str, changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=part):
        group_from_json(group(**changes).to_json())


@pytest.mark.parametrize("one", [group(), group(**MONAI_GROUP), group(preprocessing=V1, classes=(0, 2, 1))])
def test_groups_survive_json(one: Group) -> None:
    assert group_from_json(one.to_json()) == replace(one, arguments=dict(one.arguments))
    assert Preprocessing(Method.NNUNET) != one.preprocessing

"""All features of one case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import StageError
from hope.domain.feature_names import FEATURE_NAMES, REGION_PREFIX
from hope.domain.volume import Volume
from hope.stages.postprocess.radiomics.cooccurrence import glcm_features
from hope.stages.postprocess.radiomics.intensity import as_floats, first_order_features, grey_levels, mean_and_deviation
from hope.stages.postprocess.radiomics.lines import Direction, directions
from hope.stages.postprocess.radiomics.region import ORIENTATION, Region, largest_region
from hope.stages.postprocess.radiomics.shape import shape_features
from hope.stages.postprocess.radiomics.sizes import gldm_features, glrlm_features, glszm_features
from hope.stages.postprocess.radiomics.tone import ngtdm_features

DEFAULT_BIN_WIDTH = 25.0


def tumour_features(
    images: Mapping[MRSequence, Volume],
    labels: Volume,
    bin_width: float = DEFAULT_BIN_WIDTH,
    normalise: bool = True,
) -> dict[str, float]:
    """Shape of the largest connected part of the whole tumour, and its texture in each of the four sequences.

    With the defaults, these are the features that published cluster models expect: intensities in standard deviations
    of the whole image and bins of 25, so nearly every tumour has one or two grey levels only.

    Args:
        images: one volume per sequence, all four, on the grid of the labels (the axes may be listed otherwise).
        labels: uint8 peds labels.
        bin_width: width of a grey level in the units of the (normalised) intensities.
        normalise: whether to express intensities in standard deviations from the mean of all voxels of their image.

    Returns:
        ``FEATURE_NAMES`` to values, in that order; all finite.

    Raises:
        ValueError: if the bin width is not positive.
        StageError: if a sequence is missing or on another grid, there is no tumour, the tumour is too small to have
            texture, an image has one value only, or a feature is not defined for this tumour.
    """
    if not bin_width > 0:
        raise ValueError(f"the bin width must be positive, got {bin_width}")
    missing = [sequence for sequence in SEQUENCES if sequence not in images]
    if missing:
        raise StageError(f"radiomics needs all four sequences, missing: {', '.join(missing)}")
    labels = labels.reoriented(ORIENTATION)
    upright = {sequence: images[sequence].reoriented(ORIENTATION) for sequence in SEQUENCES}
    for sequence, image in upright.items():
        if not image.grid.same_as(labels.grid):
            raise StageError(f"radiomics needs {sequence} on the grid of the labels; resample it first")
    region = largest_region(labels)
    along = directions(region.inside)
    features = {f"{REGION_PREFIX}_shape_{name}": value for name, value in shape_features(region).items()}
    for sequence, image in upright.items():
        try:
            texture = texture_features(image, region, along, bin_width, normalise)
        except StageError as error:
            raise StageError(f"radiomics of {sequence}: {error}") from error
        features |= {f"{REGION_PREFIX}_{sequence}_{name}": value for name, value in texture.items()}
    undefined = [name for name in FEATURE_NAMES if not np.isfinite(features[name])]
    if undefined:
        raise StageError(f"radiomics: {len(undefined)} features are not defined for this tumour, first {undefined[0]}")
    return {name: features[name] for name in FEATURE_NAMES}


def texture_features(
    image: Volume, region: Region, along: Sequence[Direction], bin_width: float, normalise: bool
) -> dict[str, float]:
    """The 93 features of one sequence, named ``class_Feature``.

    Args:
        image: the sequence in ``ORIENTATION``.
        region: where to look.
        along: the region's directions.
        bin_width: width of a grey level.
        normalise: see ``tumour_features``.

    Raises:
        StageError: see ``tumour_features``.
    """
    values = as_floats(region.values_of(image))
    if normalise:
        mean, deviation = mean_and_deviation(image)
        values = (values - mean) / deviation
    levels = grey_levels(values, bin_width)
    classes = {
        "firstorder": first_order_features(values, levels, region.voxel_volume_mm3),
        "glcm": glcm_features(levels, along),
        "gldm": gldm_features(levels, along),
        "glrlm": glrlm_features(levels, along),
        "glszm": glszm_features(levels, region.inside),
        "ngtdm": ngtdm_features(levels, along),
    }
    return {f"{kind}_{name}": value for kind, facts in classes.items() for name, value in facts.items()}

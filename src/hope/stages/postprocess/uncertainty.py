"""A map of uncertainty: where the ensemble's members disagree with the mask, or a single network is unsure of it."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hope.domain.case import Prediction
from hope.domain.labels import PEDS
from hope.domain.volume import Volume

BY_MEMBERS: Final = "share of the ensemble's members, by weight, that do not say what the mask says"
BY_PROBABILITY: Final = "1 minus the probability that the network gives to what the mask says"


def uncertainty_map(prediction: Prediction) -> tuple[Volume, str]:
    """How little the mask is supported at each voxel, before any post-processing.

    Args:
        prediction: labels with the members' agreement, or else with probabilities.

    Returns:
        float32 volume on the atlas grid, 0 (certain) to 1, and what its values mean.
    """
    given, meaning = prediction.region_probability, BY_PROBABILITY
    if prediction.agreement:
        given, meaning = prediction.agreement, BY_MEMBERS
    labels = prediction.labels.data
    whole: npt.NDArray[np.float32] = given["WT"].astype(np.float32)
    # Background is what no tumour label claims.
    uncertainty = np.where(labels == 0, whole, np.float32(0))
    for label in PEDS.labels:
        here = labels == label.value
        uncertainty[here] = 1 - given[label.key][here].astype(np.float32)
    return prediction.labels.with_data(np.clip(uncertainty, 0, 1)), meaning

"""``hope.evaluate``: how well a mask agrees with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hope.domain.errors import InputError
from hope.domain.volume import Volume
from hope.formats.nifti import read_labels
from hope.formats.private_directory import private_directory
from hope.python_api.images import ImageLike, as_file
from hope.python_api.result import Result

if TYPE_CHECKING:
    from hope.evaluation.evaluate import CaseScores

_SCHEMES = ("peds", "brats2023", "brats2021")


def evaluate(
    prediction: ImageLike | Result, truth: ImageLike, *, scheme: str = "peds", prediction_scheme: str = "peds"
) -> CaseScores:
    """Compare a mask with the truth: Dice, HD95 (mm) and lesion-wise scores per label and region.

    Args:
        prediction: a `hope.Result`, a path, a nibabel or SimpleITK image, or a `hope.Volume`.
        truth: likewise; on the same grid, or on one with the same world positions.
        scheme: labels of the truth: peds (1 ET, 2 NET, 3 CC, 4 ED), brats2023 or brats2021.
        prediction_scheme: labels of the prediction.

    Returns:
        the scores that ``hope evaluate --json`` writes for a case.

    Raises:
        InputError: if one is no label volume, or the grids do not fit.
    """
    from hope.evaluation.evaluate import evaluate as score

    for name, value in (("scheme", scheme), ("prediction_scheme", prediction_scheme)):
        if value not in _SCHEMES:
            raise InputError(f"there is no such {name}", expected=", ".join(_SCHEMES), got=str(value))
    ours = prediction.volume if isinstance(prediction, Result) else _labels(prediction, "prediction")
    return score(ours, _labels(truth, "truth"), scheme, prediction_scheme)


def _labels(image: ImageLike, what: str) -> Volume:
    with private_directory() as folder:
        return read_labels(as_file(image, folder, what), what)

"""The features of pyradiomics 3.0.1, made-up case by made-up case (tests/golden/data/README.md says how)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.golden.radiomics_cases import CASES

from hope.domain.case import MRSequence
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.stages.postprocess.radiomics import FEATURE_NAMES, tumour_features

REFERENCE = Path(__file__).parent / "data" / "radiomics_reference.npz"
ORDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "feature_names_in_order.json"

RELATIVE = 1e-6
ABSOLUTE = 1e-9


@pytest.mark.real
@pytest.mark.skipif(not ORDER.is_file(), reason="the published order (../shared/golden) is not on this machine")
def test_names_stand_in_the_published_order() -> None:
    assert list(FEATURE_NAMES) == json.loads(ORDER.read_text(encoding="utf-8"))


def test_every_case_has_its_reference() -> None:
    with np.load(REFERENCE) as reference:
        assert reference["names"].tolist() == list(CASES)
        assert reference["values"].shape == (len(CASES), len(FEATURE_NAMES))
        assert np.isfinite(reference["values"]).all()


@pytest.mark.parametrize("name", CASES)
def test_features_are_those_of_pyradiomics(name: str) -> None:
    case = CASES[name]()
    with np.load(REFERENCE) as reference:
        expected = reference["values"][reference["names"].tolist().index(name)]
    i, j, k = case.spacing_mm
    grid = Grid(case.labels.shape, np.diag([-i, -j, k, 1.0]))
    images = {MRSequence(sequence): Volume(data, grid) for sequence, data in case.images.items()}
    features = tumour_features(images, Volume(case.labels, grid), case.bin_width, case.normalise)
    assert tuple(features) == FEATURE_NAMES
    got = np.array(list(features.values()))
    wrong = ~np.isclose(got, expected, rtol=RELATIVE, atol=ABSOLUTE)
    assert not wrong.any(), [(FEATURE_NAMES[n], got[n], expected[n]) for n in np.flatnonzero(wrong)]


def test_cases_hold_what_their_names_say() -> None:
    with np.load(REFERENCE) as reference:
        by_case = dict(zip(reference["names"].tolist(), reference["values"], strict=True))
    uniformity = FEATURE_NAMES.index("wt_t1c_firstorder_Uniformity")
    coarseness = FEATURE_NAMES.index("wt_t1c_ngtdm_Coarseness")
    assert by_case["brain"][uniformity] == by_case["one value in the tumour"][uniformity] == 1.0
    assert by_case["brain"][coarseness] == 1e6
    assert 0.999 < by_case["brain with bright voxels"][uniformity] < 1.0
    assert by_case["sponge, 28 levels"][uniformity] < 1 / 20
    assert CASES["brain"]().tumour.sum() > 20_000

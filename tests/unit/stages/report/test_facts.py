"""What result.json says of an empty mask: whether the model found nothing, or all of it was taken away again."""

from __future__ import annotations

import numpy as np
import pytest

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, MRSequence, Prediction, UploadedCase
from hope.domain.grid import Grid
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.stages.postprocess.measure import measure
from hope.stages.postprocess.postprocess import drop_unsure
from hope.stages.report.facts import describe

GRID = Grid((20, 20, 20), np.eye(4))


@pytest.mark.parametrize(("edge", "codes"), [(0, []), (6, ["all_removed"]), (14, [])])
def test_a_mask_that_the_clean_up_emptied_is_said(edge: int, codes: list[str]) -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:edge, :edge, :edge] = 2
    unsure = {key: np.where(labels == 2, np.float16(0.7), np.float16(0)) for key in ("NET", "TC", "WT")}
    none = {key: np.zeros(GRID.shape, np.float16) for key in ("ET", "CC", "ED")}
    prediction = Prediction(Volume(labels, GRID), {**unsure, **none}, "test", "0" * 64)
    cleaned = drop_unsure(prediction.labels, prediction.region_probability["WT"])
    scans = {s: Volume(np.ones(GRID.shape, np.float32), GRID) for s in SEQUENCES}
    uploaded = UploadedCase("case", scans, True, HeadState.BRAIN, dict.fromkeys(scans, "0" * 64))
    brain = Volume(np.ones(GRID.shape, bool), GRID)
    unmoved = dict.fromkeys(scans, Transform.identity())
    aligned = AlignedCase("case", scans, brain, HeadState.BRAIN, GRID, MRSequence.T1C, unmoved)
    volumes = measure(cleaned.labels, prediction)
    facts = describe(uploaded, HarmonizedCase(aligned, scans), prediction, cleaned, volumes)
    assert [flag["code"] for flag in facts["qc"]] == codes
    assert facts["tumour_found"] is (edge == 14)
    if codes:
        assert "the 0.2 ml that the model marked" in facts["qc"][0]["reason"]

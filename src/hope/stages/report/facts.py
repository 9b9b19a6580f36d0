"""The facts of result.json: what was done to a case and what came of it, as plain JSON values without identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hope import DISCLAIMER, __version__
from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, Prediction, UploadedCase
from hope.domain.qc import QCFlag, Severity
from hope.ports import BrainExtractor
from hope.stages.harmonize.harmonize import described
from hope.stages.postprocess.measure import interval_method
from hope.stages.postprocess.postprocess import PostprocessOutcome

RESULT_FORMAT = "hope-result/1"


def describe(
    uploaded: UploadedCase,
    harmonized: HarmonizedCase,
    prediction: Prediction,
    cleaned: PostprocessOutcome,
    volumes_ml: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """The facts that do not depend on who ran the stages."""
    aligned = harmonized.aligned
    flags: dict[QCFlag, None] = dict.fromkeys((*aligned.flags, *harmonized.flags, *prediction.flags))
    if not cleaned.after_voxels["WT"] and (marked := cleaned.before_ml["WT"]):
        reason = f"no tumour is reported: the {marked:.1f} ml that the model marked were removed by post-processing"
        flags[QCFlag("all_removed", Severity.WARNING, reason)] = None
    if cleaned.warning:
        flags[QCFlag("postprocess", Severity.WARNING, cleaned.warning)] = None
    return {
        "format": RESULT_FORMAT,
        "case_id": uploaded.case_id,
        "created_by": {"software": "hope", "version": __version__},
        "disclaimer": DISCLAIMER,
        "input": {
            "sequences": {
                str(s): {
                    "sha256": uploaded.input_sha256[s],
                    "grid": uploaded.scans[s].grid.to_json(),
                    **uploaded.sources.get(s, {}),
                }
                for s in SEQUENCES
                if s in uploaded.scans
            },
            "missing": [str(s) for s in prediction.missing],
            "reference": str(uploaded.reference),
            "treated_as": "preprocessed" if uploaded.preprocessed else "raw",
            "head_state": str(uploaded.head_state),
        },
        **({"series_selection": {"series": [dict(row) for row in uploaded.selection]}} if uploaded.selection else {}),
        "harmonizer": described(harmonized),
        "harmonization": dict(harmonized.details),
        "qc": [flag.to_json() for flag in flags],
        "volumes_ml": volumes_ml,
        "interval_method": interval_method(prediction),
        "tumour_found": bool(cleaned.labels.data.any()),
        "postprocess": cleaned.to_json(),
        "transforms": {
            str(s): {"atlas_to_native_ras_mm": t.fixed_to_moving_ras_mm.tolist()}
            for s, t in aligned.atlas_to_native.items()
        },
    }


def brain_method(aligned: AlignedCase, uploaded: UploadedCase, brain: BrainExtractor) -> str:
    """How the brain mask came about, in words."""
    if uploaded.head_state is HeadState.BRAIN:
        return "none: the scans were stripped already"
    if any(flag.code == "brain_mask_from_atlas" for flag in aligned.flags):
        return f"atlas brain ({brain.name} found none)"
    return brain.name


def for_page(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The facts without what only machines read: matrices, and the list of files, which the store knows better."""
    kept = {key: value for key, value in facts.items() if key not in ("transforms", "files")}
    scans = facts["input"]["sequences"]
    kept["input"] = {
        **facts["input"],
        "sequences": {name: {k: v for k, v in scan.items() if k != "grid"} for name, scan in scans.items()},
    }
    return kept

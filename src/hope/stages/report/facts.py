"""The facts of a case: what was done to it and what came of it, without identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hope import DISCLAIMER, __version__
from hope.contract.measurements import Measurements
from hope.contract.report import FORMAT, CaseReport
from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, HeadState, Prediction, UploadedCase
from hope.domain.qc import QCFlag, Severity
from hope.ports import BrainExtractor
from hope.stages.harmonize.harmonize import described
from hope.stages.postprocess.measure import interval_method
from hope.stages.postprocess.postprocess import PostprocessOutcome


@dataclass(frozen=True)
class MadeWith:
    """Volumes and what they were made with.

    Attributes:
        volumes_ml: per label key and region ``{"ml": ..., "low_ml": ..., "high_ml": ...}``, on the scan's own grid.
        model: its facts.
        brain_mask: how the brain was found, in words.
        measurements: diameters of the lesions, if they were measured.
    """

    volumes_ml: Mapping[str, Mapping[str, float]]
    model: Mapping[str, object]
    brain_mask: str
    measurements: Measurements | None = None


def describe(
    uploaded: UploadedCase,
    harmonized: HarmonizedCase,
    prediction: Prediction,
    cleaned: PostprocessOutcome,
    made_with: MadeWith,
) -> CaseReport:
    """The report of a case, without the stages' seconds and the files, which are known last.

    Args:
        uploaded: the scans.
        harmonized: what the model saw.
        prediction: what it said.
        cleaned: its answer after the clean-up.
        made_with: volumes on the scan's own grid, and what they were made with.
    """
    aligned = harmonized.aligned
    flags: dict[QCFlag, None] = dict.fromkeys((*aligned.flags, *harmonized.flags, *prediction.flags))
    if not cleaned.after_voxels["WT"] and (marked := cleaned.before_ml["WT"]):
        reason = f"no tumour is reported: the {marked:.1f} ml that the model marked were removed by post-processing"
        flags[QCFlag("all_removed", Severity.WARNING, reason)] = None
    if cleaned.warning:
        flags[QCFlag("postprocess", Severity.WARNING, cleaned.warning)] = None
    for code, note in cleaned.notes.items():
        flags[QCFlag(code, Severity.CAUTION, note)] = None
    values = {
        "format": FORMAT,
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
        "volumes_ml": made_with.volumes_ml,
        "interval_method": interval_method(prediction),
        **({"measurements": sizes.model_dump()} if (sizes := made_with.measurements) else {}),
        "tumour_found": bool(cleaned.labels.data.any()),
        **({"expected_quality": expected.to_json()} if (expected := prediction.expected_quality) else {}),
        "postprocess": cleaned.to_json(),
        "transforms": {
            str(s): {"atlas_to_native_ras_mm": t.fixed_to_moving_ras_mm.tolist()}
            for s, t in aligned.atlas_to_native.items()
        },
        "model": dict(made_with.model),
        "brain_mask": {"method": made_with.brain_mask},
    }
    return CaseReport.model_validate(values)


def brain_method(aligned: AlignedCase, uploaded: UploadedCase, brain: BrainExtractor) -> str:
    """How the brain mask came about, in words."""
    if uploaded.head_state is HeadState.BRAIN:
        return "none: the scans were stripped already"
    if any(flag.code == "brain_mask_from_atlas" for flag in aligned.flags):
        return f"atlas brain ({brain.name} found none)"
    return brain.name

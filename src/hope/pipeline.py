"""The stages in order, and nothing else."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hope import DISCLAIMER, __version__
from hope.domain.case import SEQUENCES, AlignedCase, CaseResult, HarmonizedCase, HeadState, Prediction, UploadedCase
from hope.domain.progress import Progress, silent
from hope.domain.qc import QCFlag
from hope.domain.volume import Volume
from hope.ports import BrainExtractor, Predictor
from hope.stages.deliver import deliver, result_folder
from hope.stages.harmonize import NOTE, harmonize
from hope.stages.intake import CaseSource, load_case
from hope.stages.measure import INTERVAL_METHOD, measure
from hope.stages.postprocess import PostprocessOutcome, drop_unsure
from hope.stages.preprocess import preprocess, to_native
from hope.stages.segment import segment

RESULT_FORMAT = "hope-result/1"


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        preprocessed: True if the input is in atlas space already; None lets the input decide.
        harmonize: True, False, or None for the default.
    """

    preprocessed: bool | None = None
    harmonize: bool | None = None


@dataclass
class _Clock:
    """Seconds per stage, and progress of the whole from the share of each stage."""

    progress: Progress
    seconds: list[dict[str, Any]] = field(default_factory=list)
    done: float = 0.0

    @contextmanager
    def stage(self, name: str, weight: float) -> Iterator[Progress]:
        start = time.perf_counter()
        yield lambda message, share: self.progress(message, self.done + weight * share)
        self.done += weight
        self.seconds.append({"name": name, "seconds": round(time.perf_counter() - start, 3)})


def run_case(
    source: CaseSource,
    predictor: Predictor,
    brain: BrainExtractor,
    out: Path,
    options: Options | None = None,
    progress: Progress = silent,
) -> CaseResult:
    """From scans to delivered results of one case.

    Args:
        source: where the scans lie.
        predictor: runs the model.
        brain: finds the brain where the scans still show the head.
        out: results go to ``out/case_id``, all of them or none.
        options: what the user chose.
        progress: told of everything that takes time.

    Raises:
        InputError: if the scans cannot be used.
        OutputError: if the results cannot be written.
        StageError: if a stage fails on input that looked right.
    """
    chosen = options or Options()
    clock = _Clock(progress)
    with tempfile.TemporaryDirectory(prefix="hope-") as scratch, result_folder(out, source.case_id) as folder:
        with clock.stage("intake", 0.05) as told:
            uploaded = load_case(source, preprocessed=chosen.preprocessed, scratch=Path(scratch), progress=told)
            predictor.missing_sequences(uploaded.scans.keys())
        with clock.stage("preprocess", 0.55) as told:
            aligned = preprocess(uploaded, predictor.head_state, brain, told)
        with clock.stage("harmonize", 0.0):
            harmonized = harmonize(aligned, chosen.harmonize)
        with clock.stage("segment", 0.2) as told:
            prediction = segment(harmonized, predictor, told)
        with clock.stage("postprocess", 0.05) as told:
            told("postprocess: components, labels back on the scan", 0.0)
            cleaned = drop_unsure(prediction.labels, prediction.region_probability["WT"])
            native = to_native(cleaned.labels, aligned)
        with clock.stage("measure", 0.05) as told:
            told("measure: volumes", 0.0)
            volumes = _rounded(measure(native, _with_labels(prediction, cleaned.labels)))
        facts = describe(uploaded, harmonized, prediction, cleaned, volumes)
        facts["model"] = dict(predictor.describe())
        facts["brain_mask"] = {"method": _brain_method(aligned, uploaded, brain)}
        result = CaseResult(source.case_id, native, cleaned.labels, volumes, facts)
        with clock.stage("report", 0.1) as told:
            told("report: write files", 0.0)
            reference = uploaded.scans[uploaded.reference]
            written = deliver(folder, result, harmonized, reference, list(clock.seconds))
    progress("done", 1.0)
    return CaseResult(source.case_id, native, cleaned.labels, volumes, written)


def describe(
    uploaded: UploadedCase,
    harmonized: HarmonizedCase,
    prediction: Prediction,
    cleaned: PostprocessOutcome,
    volumes_ml: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """The facts of result.json that do not depend on who ran the stages; plain JSON values, no identity."""
    aligned = harmonized.aligned
    flags: dict[QCFlag, None] = dict.fromkeys((*aligned.flags, *harmonized.flags, *prediction.flags))
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
        "harmonizer": {"method": harmonized.method, "note": NOTE},
        "qc": [flag.to_json() for flag in flags],
        "volumes_ml": volumes_ml,
        "interval_method": INTERVAL_METHOD,
        "tumour_found": bool(cleaned.labels.data.any()),
        "postprocess": cleaned.to_json(),
        "transforms": {
            str(s): {"atlas_to_native_ras_mm": t.fixed_to_moving_ras_mm.tolist()}
            for s, t in aligned.atlas_to_native.items()
        },
    }


def _brain_method(aligned: AlignedCase, uploaded: UploadedCase, brain: BrainExtractor) -> str:
    if uploaded.head_state is HeadState.BRAIN:
        return "none: the scans were stripped already"
    if any(flag.code == "brain_mask_from_atlas" for flag in aligned.flags):
        return f"atlas brain ({brain.name} found none)"
    return brain.name


def _with_labels(prediction: Prediction, labels: Volume) -> Prediction:
    return Prediction(
        labels, prediction.region_probability, prediction.model_id, prediction.model_sha256, prediction.missing
    )


def _rounded(volumes: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {key: {name: round(value, 3) for name, value in entry.items()} for key, entry in volumes.items()}

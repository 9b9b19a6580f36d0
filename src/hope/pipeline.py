"""The stages in order, and nothing else: all at once for the command line, or one by one for the platform."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hope.domain.case import AlignedCase, CaseResult, HarmonizedCase, MRSequence, Prediction, UploadedCase
from hope.domain.progress import Progress, silent
from hope.domain.volume import Volume
from hope.ports import BrainExtractor, Harmonizer, Predictor
from hope.stages.harmonize.harmonize import default_style, harmonize, not_harmonized
from hope.stages.harmonize.histogram import HistogramHarmonizer
from hope.stages.intake.intake import CaseSource, load_case
from hope.stages.postprocess.adaptive import AdaptivePostprocess
from hope.stages.postprocess.doubt import doubt_map
from hope.stages.postprocess.measure import measure
from hope.stages.postprocess.postprocess import PostprocessOutcome, count_voxels, default_cleanup, drop_unsure
from hope.stages.preprocess.preprocess import preprocess, to_native
from hope.stages.report.deliver import deliver, result_folder
from hope.stages.report.facts import brain_method, describe
from hope.stages.segment.segment import segment


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        preprocessed: True if the input is in atlas space already; None lets the input decide.
        harmonize: True, False, or None for the default, which is not to.
        postprocess: False leaves the model's answer as it is.
        doubt_map: also write the map of doubt.
        harmonizer: the method, if the case is harmonized; histogram if not given.
    """

    preprocessed: bool | None = None
    harmonize: bool | None = None
    postprocess: bool = True
    doubt_map: bool = False
    harmonizer: Harmonizer | None = None


@dataclass
class Clock:
    """Seconds per stage, and progress of the whole from the share of each stage.

    Attributes:
        progress: told how far the whole is.
        whole: what the weights of the stages add up to.
        seconds: ``{"name", "seconds"}`` of the finished stages.
        done: the weights of the finished stages, added up.
    """

    progress: Progress
    whole: float = 1.0
    seconds: list[dict[str, Any]] = field(default_factory=list)
    done: float = 0.0

    @contextmanager
    def stage(self, name: str, weight: float) -> Iterator[Progress]:
        """Time a block and scale the progress in it."""
        start = time.perf_counter()
        yield lambda message, share: self.progress(message, (self.done + weight * share) / self.whole)
        self.done += weight
        self.seconds.append({"name": name, "seconds": round(time.perf_counter() - start, 3)})


@dataclass(frozen=True)
class Prepared:
    """A case as it came and as the model wants it.

    Attributes:
        uploaded: the scans on their own grids.
        aligned: the same on the atlas grid.
        brain_mask: how the brain was found, in words.
    """

    uploaded: UploadedCase
    aligned: AlignedCase
    brain_mask: str


@dataclass(frozen=True)
class Segmented:
    """All that the stages before the last one leave behind.

    Attributes:
        prepared: the case before the model.
        harmonized: what the model saw.
        prediction: what it said.
        model: its facts for result.json.
    """

    prepared: Prepared
    harmonized: HarmonizedCase
    prediction: Prediction
    model: Mapping[str, object]


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
    clock = Clock(progress)
    with tempfile.TemporaryDirectory(prefix="hope-") as scratch, result_folder(out, source.case_id) as folder:
        prepared = prepare_case(source, predictor, brain, chosen, Path(scratch), clock)
        harmonized = harmonize_case(prepared.aligned, chosen, clock)
        prediction, model = segment_case(harmonized, predictor, clock)
        result = finish_case(folder, Segmented(prepared, harmonized, prediction, model), chosen, clock)
    progress("done", 1.0)
    return result


def prepare_case(
    source: CaseSource, predictor: Predictor, brain: BrainExtractor, options: Options, scratch: Path, clock: Clock
) -> Prepared:
    """First service: read and check the scans, bring them to the atlas.

    Raises:
        InputError: if the scans cannot be used, or the model cannot do without one that is missing.
        StageError: if they cannot be brought together.
    """
    with clock.stage("intake", 0.05) as told:
        uploaded = load_case(source, preprocessed=options.preprocessed, scratch=scratch, progress=told)
        predictor.missing_sequences(uploaded.scans.keys())
    with clock.stage("preprocess", 0.5) as told:
        aligned = preprocess(uploaded, predictor.head_state, brain, told)
    return Prepared(uploaded, aligned, brain_method(aligned, uploaded, brain))


def harmonize_case(aligned: AlignedCase, options: Options, clock: Clock) -> HarmonizedCase:
    """Second service: bring the images to the default style if that was asked for, else pass them on.

    Raises:
        StageError: if the method does not give back images of the case.
    """
    with clock.stage("harmonize", 0.05) as told:
        if not options.harmonize:
            return not_harmonized(aligned)
        harmonizer = options.harmonizer or HistogramHarmonizer()
        return harmonize(aligned, harmonizer, default_style(harmonizer.method), told)


def segment_case(
    harmonized: HarmonizedCase, predictor: Predictor, clock: Clock
) -> tuple[Prediction, Mapping[str, object]]:
    """Third service: what the model says, and what model that was.

    Raises:
        StageError: if the model cannot answer.
    """
    with clock.stage("segment", 0.2) as told:
        prediction = segment(harmonized, predictor, told)
    return prediction, dict(predictor.describe())


def finish_case(folder: Path, case: Segmented, options: Options, clock: Clock) -> CaseResult:
    """Last service: clean up, bring the labels home, measure, and write all files into an empty folder.

    Raises:
        OutputError: if a file cannot be written.
    """
    uploaded, prediction = case.prepared.uploaded, case.prediction
    with clock.stage("postprocess", 0.05) as told:
        told("postprocess: clean up, labels back on the scan", 0.0)
        cleaned = _cleaned(prediction, case.harmonized.aligned.images, options, told)
        native = to_native(cleaned.labels, case.harmonized.aligned)
    with clock.stage("measure", 0.05) as told:
        told("measure: volumes", 0.0)
        volumes = _rounded(measure(native, replace(prediction, labels=cleaned.labels)))
    facts = describe(uploaded, case.harmonized, prediction, cleaned, volumes)
    facts["model"] = dict(case.model)
    facts["brain_mask"] = {"method": case.prepared.brain_mask}
    result = CaseResult(uploaded.case_id, native, cleaned.labels, volumes, facts)
    with clock.stage("report", 0.1) as told:
        told("report: write files", 0.0)
        reference = uploaded.scans[uploaded.reference]
        doubt = doubt_map(prediction) if options.doubt_map else None
        written = deliver(folder, result, case.harmonized, reference, list(clock.seconds), doubt)
    return CaseResult(uploaded.case_id, native, cleaned.labels, volumes, written)


def _cleaned(
    prediction: Prediction, images: Mapping[MRSequence, Volume], options: Options, progress: Progress
) -> PostprocessOutcome:
    """What the model's own rules make of its answer, or the default clean-up where there are none to use."""
    if not options.postprocess:
        counts = count_voxels(prediction.labels.data)
        return PostprocessOutcome(prediction.labels, "none", counts, counts)
    adaptive = None
    if prediction.postprocess is not None:
        adaptive = AdaptivePostprocess.from_json(prediction.postprocess).apply(prediction.labels, images, progress)
        if not adaptive.warning:
            return adaptive
    # How sure is sure was chosen for the starter model, and single networks are made as it was; the published ensemble
    # is not, and gets the plain clean-up.
    imported = bool(prediction.agreement)
    wt = prediction.region_probability["WT"]
    cleaned = default_cleanup(prediction.labels) if imported else drop_unsure(prediction.labels, wt)
    return replace(cleaned, details=adaptive.details, warning=adaptive.warning) if adaptive else cleaned


def _rounded(volumes: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {key: {name: round(value, 3) for name, value in entry.items()} for key, entry in volumes.items()}

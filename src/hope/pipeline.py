"""The stages in order, and nothing else: all at once for the command line, or one by one for the platform."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from hope.contract.options import RunOptions
from hope.contract.report import StageSeconds
from hope.contract.result import CaseResult
from hope.contract.stages import STAGES, Step, steps_of
from hope.domain.case import AlignedCase, CleanUp, HarmonizedCase, HeadState, Prediction, UploadedCase
from hope.domain.progress import Progress, silent
from hope.formats.private_directory import private_directory
from hope.ports import BrainExtractor, Harmonizer, Predictor
from hope.stages.harmonize.harmonize import default_style, harmonize, not_harmonized
from hope.stages.harmonize.histogram import HistogramHarmonizer
from hope.stages.intake.intake import CaseSource, load_case
from hope.stages.postprocess.adaptive import AdaptivePostprocess
from hope.stages.postprocess.lesions import measure_lesions
from hope.stages.postprocess.measure import measure
from hope.stages.postprocess.postprocess import PostprocessOutcome, count_voxels, default_cleanup, drop_unsure
from hope.stages.postprocess.uncertainty import uncertainty_map
from hope.stages.preprocess.preprocess import preprocess, to_native
from hope.stages.report.face_free import BRAIN_ONLY, WHOLE_HEAD, shown_scan
from hope.stages.report.facts import MadeWith, brain_method, describe
from hope.stages.report.result_folder import Destination, result_folder
from hope.stages.report.write_results import Delivered, write_results
from hope.stages.segment.segment import segment


@dataclass
class Clock:
    """Seconds per step, and progress of the whole from the measured seconds of each step.

    Attributes:
        progress: called with how far the whole is.
        steps: what the whole consists of, in order; each is left when it is done.
        preprocessed: whether the case came preprocessed, once that is known: the shares of what is left depend on it.
        seconds: the finished steps.
        done: share of the whole that is done, 0 to 1.
    """

    progress: Progress
    steps: Sequence[Step] = steps_of(STAGES, page=False)
    preprocessed: bool = False
    seconds: list[StageSeconds] = field(default_factory=list)
    done: float = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Time a step and scale the progress in it.

        Raises:
            ValueError: if the whole holds no such step any more.
        """
        start = time.perf_counter()
        place = next((number for number, step in enumerate(self.steps) if step.name == name), None)
        if place is None:
            raise ValueError(f"{name} is not one of the steps that are left")
        left = [step.seconds(self.preprocessed) for step in self.steps[place:]]
        weight, done = (1 - self.done) * left[0] / sum(left), self.done
        yield lambda message, share: self.progress(message, done + weight * share)
        self.done, self.steps = done + weight, self.steps[place + 1 :]
        self.seconds.append(StageSeconds(name=name, seconds=round(time.perf_counter() - start, 3)))


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
    source: CaseSource | UploadedCase,
    predictor: Predictor,
    brain: BrainExtractor,
    out: Path | Destination,
    options: RunOptions | None = None,
    progress: Progress = silent,
) -> CaseResult:
    """From scans to delivered results of one case.

    Args:
        source: where the scans lie, or the scans themselves.
        predictor: runs the model.
        brain: finds the brain where the scans still show the head.
        out: results go to ``out/case_id``, all of them or none; a result of other scans there is not replaced,
            unless a `Destination` says so.
        options: what the user chose.
        progress: called for everything that takes time.

    Raises:
        InputError: if the scans cannot be used.
        OutputError: if the results cannot be written, or would replace what must not be replaced.
        StageError: if a stage fails on input that looked right.
    """
    steps = case_steps(source, predictor, brain, out, options, progress)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            result: CaseResult = done.value
            return result


def case_steps(
    source: CaseSource | UploadedCase,
    predictor: Predictor,
    brain: BrainExtractor,
    out: Path | Destination,
    options: RunOptions | None = None,
    progress: Progress = silent,
) -> Generator[None, None, CaseResult]:
    """What `run_case` does, in three steps, for callers that let the steps of several cases overlap.

    It yields twice: when the scans are read (and on the atlas, if they came preprocessed: that takes no registration),
    and when the network has answered. Each step may run in another thread. Closing it early leaves nothing behind.

    Returns:
        the result, as the generator's value.

    Raises:
        InputError, OutputError, StageError: as `run_case`.
    """
    chosen = options or RunOptions()
    clock = Clock(progress)
    to = Destination(out) if isinstance(out, Path) else out
    with private_directory() as scratch, result_folder(to.out, source.case_id, replace=to.replace) as folder:
        uploaded = _read_case(source, predictor, chosen, scratch, clock)
        to.refuse_other_scans(source.case_id, uploaded.input_sha256)
        if not uploaded.preprocessed:
            yield
        prepared = _align_case(uploaded, predictor, brain, clock)
        if uploaded.preprocessed:
            yield
        harmonized = harmonize_case(prepared.aligned, chosen, clock)
        prediction, model = segment_case(harmonized, predictor, clock)
        yield
        result = finish_case(folder, Segmented(prepared, harmonized, prediction, model), chosen, clock)
    progress("done", 1.0)
    return result


def prepare_case(
    source: CaseSource | UploadedCase,
    predictor: Predictor,
    brain: BrainExtractor,
    options: RunOptions,
    scratch: Path,
    clock: Clock,
) -> Prepared:
    """First service: read and check the scans unless they were read before, and bring them to the atlas.

    Raises:
        InputError: if the scans cannot be used, or the model cannot do without one that is missing.
        StageError: if they cannot be brought together.
    """
    return _align_case(_read_case(source, predictor, options, scratch, clock), predictor, brain, clock)


def _read_case(
    source: CaseSource | UploadedCase, predictor: Predictor, options: RunOptions, scratch: Path, clock: Clock
) -> UploadedCase:
    with clock.stage("intake") as step:
        uploaded = (
            load_case(source, preprocessed=options.preprocessed, scratch=scratch, progress=step)
            if isinstance(source, CaseSource)
            else source
        )
        predictor.missing_sequences(uploaded.scans.keys())
    clock.preprocessed = uploaded.preprocessed
    return uploaded


def _align_case(uploaded: UploadedCase, predictor: Predictor, brain: BrainExtractor, clock: Clock) -> Prepared:
    with clock.stage("preprocess") as step:
        aligned = preprocess(uploaded, predictor.head_state, brain, step)
    return Prepared(uploaded, aligned, brain_method(aligned, uploaded, brain))


def harmonize_case(
    aligned: AlignedCase, options: RunOptions, clock: Clock, harmonizer: Harmonizer | None = None
) -> HarmonizedCase:
    """Second service: bring the images to the default style if that was asked for, else pass them on.

    Args:
        aligned: the case on the atlas grid.
        options: what the user chose.
        clock: times the step.
        harmonizer: the method; histogram if not given.

    Raises:
        StageError: if the method does not give back images of the case.
    """
    with clock.stage("harmonize") as step:
        if not options.harmonize:
            return not_harmonized(aligned)
        method = harmonizer or HistogramHarmonizer()
        return harmonize(aligned, method, default_style(method.method), step)


def segment_case(
    harmonized: HarmonizedCase, predictor: Predictor, clock: Clock
) -> tuple[Prediction, Mapping[str, object]]:
    """Third service: what the model says, and what model that was.

    Raises:
        StageError: if the model cannot answer.
    """
    with clock.stage("segment") as step:
        prediction = segment(harmonized, predictor, step)
    return prediction, dict(predictor.describe())


def finish_case(folder: Path, case: Segmented, options: RunOptions, clock: Clock) -> CaseResult:
    """Last service: clean up, bring the labels home, measure, and write all files into an empty folder.

    Raises:
        OutputError: if a file cannot be written.
    """
    uploaded, prediction = case.prepared.uploaded, case.prediction
    with clock.stage("postprocess") as step:
        step("postprocess: clean up, labels back on the scan", 0.0)
        cleaned = _cleaned(prediction, case.harmonized.aligned, options, step)
        native = to_native(cleaned.labels, case.harmonized.aligned)
    with clock.stage("measure") as step:
        step("measure: volumes", 0.0)
        volumes = _rounded(measure(native, replace(prediction, labels=cleaned.labels)))
        step("measure: diameters", 0.5)
        sizes = measure_lesions(native)
    made_with = MadeWith(volumes, case.model, case.prepared.brain_mask, sizes)
    report = describe(uploaded, case.harmonized, prediction, cleaned, made_with)
    result = CaseResult(native, cleaned.labels, report)
    with clock.stage("report") as step:
        step("report: write files", 0.0)
        aligned = case.harmonized.aligned
        scan = uploaded.scans[uploaded.reference]
        shown = scan if options.show_head else shown_scan(uploaded, aligned, native)
        said = (WHOLE_HEAD if options.show_head else BRAIN_ONLY) if uploaded.head_state is HeadState.FULL else ""
        uncertainty = uncertainty_map(prediction) if options.uncertainty_map else None
        delivered = Delivered(shown, deface=options.deface and aligned.head_state is HeadState.FULL, shows=said)
        written = write_results(folder, result, case.harmonized, delivered, clock.seconds, uncertainty)
    return replace(result, report=written)


def _cleaned(
    prediction: Prediction, aligned: AlignedCase, options: RunOptions, progress: Progress
) -> PostprocessOutcome:
    """What the model's own rules make of its answer, or the default clean-up where there are none to use."""
    if not options.postprocess:
        counts = count_voxels(prediction.labels.data)
        return PostprocessOutcome(prediction.labels, "none", counts, counts)
    adaptive = None
    if prediction.postprocess is not None:
        adaptive = AdaptivePostprocess.from_json(prediction.postprocess).apply(
            prediction.labels, aligned.images, progress
        )
        if not adaptive.warning:
            return adaptive
    wt = prediction.region_probability["WT"]
    specks = _stated(prediction) is CleanUp.SPECKS
    if specks:
        cleaned = default_cleanup(prediction.labels)
    else:
        cleaned = drop_unsure(prediction.labels, wt, aligned.brain_mask, aligned.images)
    return replace(cleaned, details=adaptive.details, warning=adaptive.warning) if adaptive else cleaned


def _stated(prediction: Prediction) -> CleanUp:
    """The clean-up that the bundle states; earlier versions told it from the members' votes, which ensembles have."""
    return prediction.cleanup or (CleanUp.SPECKS if prediction.agreement else CleanUp.UNSURE)


def _rounded(volumes: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {key: {name: round(value, 3) for name, value in entry.items()} for key, entry in volumes.items()}

"""What a child process does: the four stages and the gateway's tasks, each from files to files.

A stage finds in ``in`` the scans as they were uploaded (``t1c.nii`` ...) and whatever the stages before it left; what
it leaves in ``out`` it lists. Heavy libraries are imported by the job that needs them. A model stays loaded for the
next.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile, Role
from hope.contract.report import StageSeconds
from hope.contract.stages import STAGES, Stage, steps_of
from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError
from hope.domain.progress import Progress

if TYPE_CHECKING:
    from hope.pipeline import Clock
    from hope.ports import BrainExtractor, Predictor
    from hope.services import Services

Done = dict[str, Any]

Body = Callable[[Mapping[str, Any], Progress], Done]

TASKS = (
    "scan",
    "dicom",
    "sample",
    "checks",
    "segmentation",
    "dicom-objects",
    "comparison",
    "archive-find",
    "archive-pull",
)
"""What the gateway lets a child do besides the stages; see `hope.jobs.tasks`."""


def run(job: Mapping[str, Any], progress: Progress) -> Done:
    """Do one stage or task; see `hope.jobs.child` for the job and the answer.

    Raises:
        InputError: if the input is to blame.
        StageError, BundleError, OutputError: if it is not.
    """
    name = str(job["do"])
    try:
        if name in list(STAGES):
            return _body(Stage(name).spec.run)(job, progress)
        if name in TASKS:
            from hope.jobs import tasks

            return tasks.TASKS[name](job, progress)
    except InputError as error:
        if "--" not in error.fix:
            raise
        raise for_the_page(error) from error
    raise InputError("there is no such stage or task", expected=", ".join((*STAGES, *TASKS)), got=name)


def _body(run: str) -> Body:
    """The function that a `StageSpec` names."""
    module, _, function = run.partition(":")
    body: Body = getattr(importlib.import_module(module), function)
    return body


def preprocess(job: Mapping[str, Any], progress: Progress) -> Done:
    """The first stage: read and check the scans, bring them to the atlas."""
    from hope.formats import stage_io
    from hope.pipeline import prepare_case
    from hope.stages.intake.intake import CaseSource

    folder, out = Path(job["in"]), Path(job["out"])
    files = {s: folder / f"{s}.nii" for s in SEQUENCES if (folder / f"{s}.nii").is_file()}
    sources = {s: dict(facts) for s, facts in dict(job.get("sources") or {}).items() if s in files}
    source = CaseSource(str(job["case"]), files, sources={MRSequence(s): facts for s, facts in sources.items()})
    clock = _clock(Stage.PREPROCESS, progress)
    prepared = prepare_case(source, _predictor(job), _brain(), _options(job), Path(job["scratch"]), clock)
    facts = {"seconds": _seconds(clock), "brain_mask": prepared.brain_mask}
    return _left(
        {
            Role.UPLOADED: stage_io.save_uploaded(prepared.uploaded, out),
            Role.ALIGNED: stage_io.save_aligned(prepared.aligned, out),
            Role.NOTES: stage_io.save_facts(facts, out, "preprocess"),
        }
    )


def harmonize(job: Mapping[str, Any], progress: Progress) -> Done:
    """The second stage: bring the images to one style if that was asked for."""
    from hope.formats import stage_io
    from hope.pipeline import harmonize_case

    out = Path(job["out"])
    clock = _clock(Stage.HARMONIZE, progress)
    options = _options(job)
    harmonizer = _services().harmonizer() if options.harmonize else None
    harmonized = harmonize_case(stage_io.load_aligned(Path(job["in"])), options, clock, harmonizer)
    progress(f"harmonize: {'passed on unchanged' if harmonized.method == 'none' else 'done'}", 1.0)
    notes = stage_io.save_facts({"seconds": _seconds(clock)}, out, "harmonize")
    return _left({Role.HARMONIZED: stage_io.save_harmonized(harmonized, out), Role.NOTES: notes})


def segment(job: Mapping[str, Any], progress: Progress) -> Done:
    """The third stage: let the model label the case."""
    from hope.formats import stage_io
    from hope.pipeline import segment_case

    folder, out = Path(job["in"]), Path(job["out"])
    predictor = _predictor(job)
    progress("segment: load the model", 0.0)
    predictor.prepare()
    clock = _clock(Stage.SEGMENT, progress)
    harmonized = stage_io.load_harmonized(folder, stage_io.load_aligned(folder))
    prediction, model = segment_case(harmonized, predictor, clock)
    notes = stage_io.save_facts({"seconds": _seconds(clock), "model": dict(model)}, out, "segment")
    return _left({Role.PREDICTION: stage_io.save_prediction(prediction, out), Role.NOTES: notes})


def postprocess(job: Mapping[str, Any], progress: Progress) -> Done:
    """The last stage: clean up, measure, and write all that a person or the page gets."""
    from hope.formats import stage_io
    from hope.formats.nifti import read_scan
    from hope.pipeline import Prepared, Segmented, finish_case
    from hope.stages.postprocess.uncertainty import uncertainty_map
    from hope.stages.report.viewer_files import ViewerCase, write_viewer_files
    from hope.stages.report.write_results import RESULT

    folder, out = Path(job["in"]), Path(job["out"])
    progress("postprocess: read the scans", 0.0)
    scans = {s: read_scan(folder / f"{s}.nii", s)[0] for s in SEQUENCES if (folder / f"{s}.nii").is_file()}
    earlier = STAGES[: STAGES.index(Stage.POSTPROCESS)]
    facts = {stage: stage_io.load_facts(folder, stage) for stage in earlier if Role.NOTES in stage.spec.writes}
    aligned = stage_io.load_aligned(folder)
    prepared = Prepared(stage_io.load_uploaded(folder, scans), aligned, facts[Stage.PREPROCESS]["brain_mask"])
    harmonized = stage_io.load_harmonized(folder, aligned)
    case = Segmented(prepared, harmonized, stage_io.load_prediction(folder), facts[Stage.SEGMENT]["model"])
    clock = _clock(Stage.POSTPROCESS, progress)
    clock.preprocessed = prepared.uploaded.preprocessed
    clock.seconds += [StageSeconds(**entry) for stage in facts.values() for entry in stage["seconds"]]
    result = finish_case(out, case, _options(job), clock)
    written = [entry.model_dump(exclude_unset=True) | {"public": True} for entry in result.report.files]
    written.append(OutputFile.of(Role.FACTS).entry(RESULT))
    scale = _scale_of(folder / f"{aligned.reference}.nii")
    prediction = case.prediction
    shown = ViewerCase(case.prepared.uploaded, case.harmonized, prediction.labels, uncertainty_map(prediction))
    with clock.stage("view") as viewer_progress:
        views = write_viewer_files(out, shown, result, scale, viewer_progress)
    written += [output.entry(output.name(result.case_id)) for output in views]
    progress("postprocess: done", 1.0)
    return {"artifacts": written, "result": result.report.for_page()}


def _left(files: Mapping[Role, Sequence[str]]) -> Done:
    artifacts = [OutputFile(role).entry(name) for role, names in files.items() for name in names]
    return {"artifacts": artifacts, "result": None}


def _clock(stage: Stage, progress: Progress) -> Clock:
    from hope.pipeline import Clock

    return Clock(progress, steps_of([stage], page=True))


def _seconds(clock: Clock) -> list[dict[str, Any]]:
    return [entry.model_dump() for entry in clock.seconds]


def _options(job: Mapping[str, Any]) -> RunOptions:
    return RunOptions.stored(job.get("choice") or {})


@cache
def _services() -> Services:
    from hope.services import Services
    from hope.settings import Settings

    return Services(Settings.from_environment())


@cache
def _predictor_of(model: str | None) -> Predictor:
    return _services().predictor(model)


def _predictor(job: Mapping[str, Any]) -> Predictor:
    """The predictor of the chosen model, with whatever it has loaded already."""
    model = _options(job).model
    if not _services().runs_elsewhere(model):
        return _predictor_of(model)
    from hope.services import StagingLocation

    return _services().predictor(model, copy=StagingLocation(str(job.get("staging") or ""), Path(job["scratch"])))


@cache
def _brain() -> BrainExtractor:
    return _services().brain_extractor()


def _scale_of(scan: Path) -> tuple[float, float]:
    """Slope and intercept under which a stored scan's voxels are what is in the file."""
    from hope.formats.nifti_header import read_layout

    with scan.open("rb") as file:
        layout = read_layout(file, scan.stem)
    return layout.slope, layout.intercept


def for_the_page(error: InputError) -> InputError:
    """Advice that speaks of the command line's flags, in words that fit the web page and the REST interface."""
    named = [s for s in SEQUENCES if f"--{s}" in error.fix]
    if "--preprocessed" in error.fix:
        fix = "run it again as raw scans"
    elif named:
        fix = f"look at the scans, and assign or add {' and '.join(named)}"
    else:
        fix = ""
    return type(error)(error.what, expected=error.expected, got=error.got, fix=fix)

"""What a child process does: the four stages and the gateway's tasks, each from files to files.

A stage finds in ``in`` the scans as they were uploaded (``t1c.nii`` ...) and whatever the stages before it left; what
it leaves in ``out`` it lists. Heavy libraries are imported by the job that needs them. A model stays loaded for the
next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import InputError
from hope.domain.job import Stage
from hope.domain.progress import Progress

if TYPE_CHECKING:
    from hope.pipeline import Options
    from hope.ports import BrainExtractor, Predictor
    from hope.services import Services

Done = dict[str, Any]

_TO_FINISH = 0.75
"""Share of the last stage that goes to what the command line writes too."""


def run(job: Mapping[str, Any], told: Progress) -> Done:
    """Do one stage or task; see `hope.jobs.child` for the job and the answer.

    Raises:
        InputError: if the input is to blame.
        StageError, BundleError, OutputError: if it is not.
    """
    name = str(job["do"])
    if name not in _BODIES:
        raise InputError("there is no such stage or task", expected=", ".join(_BODIES), got=name)
    return _BODIES[name](job, told)


def _preprocess(job: Mapping[str, Any], told: Progress) -> Done:
    from hope.formats import handover
    from hope.pipeline import Clock, prepare_case
    from hope.stages.intake.intake import CaseSource

    folder, out = Path(job["in"]), Path(job["out"])
    files = {s: folder / f"{s}.nii" for s in SEQUENCES if (folder / f"{s}.nii").is_file()}
    sources = {s: dict(facts) for s, facts in dict(job.get("sources") or {}).items() if s in files}
    source = CaseSource(str(job["case"]), files, sources={MRSequence(s): facts for s, facts in sources.items()})
    clock = Clock(told, whole=0.55)
    try:
        prepared = prepare_case(source, _predictor(job), _brain(), _options(job), Path(job["scratch"]), clock)
    except InputError as error:
        raise _for_the_page(error) from error
    names = handover.save_uploaded(prepared.uploaded, out) + handover.save_aligned(prepared.aligned, out)
    facts = {"seconds": clock.seconds, "brain_mask": prepared.brain_mask}
    return _left(names + handover.save_facts(facts, out, "preprocess"))


def _harmonize(job: Mapping[str, Any], told: Progress) -> Done:
    from hope.formats import handover
    from hope.pipeline import Clock, harmonize_case

    out = Path(job["out"])
    clock = Clock(told, whole=0.05)
    harmonized = harmonize_case(handover.load_aligned(Path(job["in"])), _options(job), clock)
    told(f"harmonize: {'passed on unchanged' if harmonized.method == 'none' else 'done'}", 1.0)
    names = handover.save_harmonized(harmonized, out)
    return _left(names + handover.save_facts({"seconds": clock.seconds}, out, "harmonize"))


def _segment(job: Mapping[str, Any], told: Progress) -> Done:
    from hope.formats import handover
    from hope.pipeline import Clock, segment_case

    folder, out = Path(job["in"]), Path(job["out"])
    predictor = _predictor(job)
    told("segment: load the model", 0.0)
    predictor.prepare()
    clock = Clock(told, whole=0.2)
    harmonized = handover.load_harmonized(folder, handover.load_aligned(folder))
    prediction, model = segment_case(harmonized, predictor, clock)
    names = handover.save_prediction(prediction, out)
    return _left(names + handover.save_facts({"seconds": clock.seconds, "model": dict(model)}, out, "segment"))


def _postprocess(job: Mapping[str, Any], told: Progress) -> Done:
    from hope.formats import handover
    from hope.formats.nifti import read_scan
    from hope.pipeline import Clock, Prepared, Segmented, finish_case
    from hope.stages.report.facts import for_page
    from hope.stages.report.viewer_files import ViewerCase, write_viewer_files

    folder, out = Path(job["in"]), Path(job["out"])
    told("postprocess: read the scans", 0.0)
    scans = {s: read_scan(folder / f"{s}.nii", s)[0] for s in SEQUENCES if (folder / f"{s}.nii").is_file()}
    facts = {stage: handover.load_facts(folder, stage) for stage in ("preprocess", "harmonize", "segment")}
    aligned = handover.load_aligned(folder)
    prepared = Prepared(handover.load_uploaded(folder, scans), aligned, facts["preprocess"]["brain_mask"])
    harmonized = handover.load_harmonized(folder, aligned)
    case = Segmented(prepared, harmonized, handover.load_prediction(folder), facts["segment"]["model"])
    clock = Clock(told, whole=0.2 / _TO_FINISH)
    clock.seconds += [entry for stage in facts.values() for entry in stage["seconds"]]
    result = finish_case(out, case, _options(job), clock)
    public = {entry["name"]: entry["kind"] for entry in result.report["files"]}
    public["result.json"] = "all facts"
    scale = _scale_of(folder / f"{aligned.reference}.nii")
    shown = ViewerCase(case.prepared.uploaded, case.harmonized, case.prediction.labels)
    public |= write_viewer_files(
        out, shown, result, scale, lambda text, share: told(text, _TO_FINISH + (1 - _TO_FINISH) * share)
    )
    told("postprocess: done", 1.0)
    artifacts = [{"name": name, "kind": kind, "public": True} for name, kind in public.items()]
    return {"artifacts": artifacts, "result": for_page(result.report)}


def _left(names: list[str]) -> Done:
    return {"artifacts": [{"name": name, "kind": "", "public": False} for name in names], "result": None}


def _options(job: Mapping[str, Any]) -> Options:
    from hope.pipeline import Options

    choice = dict(job.get("choice") or {})
    return Options(
        preprocessed=choice.get("preprocessed"),
        harmonize=choice.get("harmonize"),
        postprocess=choice.get("postprocess") is not False,
        harmonizer=_services().harmonizer() if choice.get("harmonize") else None,
    )


def _task(name: str) -> Callable[[Mapping[str, Any], Progress], Done]:
    def run_task(job: Mapping[str, Any], told: Progress) -> Done:
        from hope.jobs.tasks import TASKS

        return TASKS[name](job, told)

    return run_task


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
    model = dict(job.get("choice") or {}).get("model")
    if not _services().runs_elsewhere(model):
        return _predictor_of(model)
    from hope.services import CopyPlace

    return _services().predictor(model, copy=CopyPlace(str(job.get("copies") or ""), Path(job["scratch"])))


@cache
def _brain() -> BrainExtractor:
    return _services().brain_extractor()


def _scale_of(scan: Path) -> tuple[float, float]:
    """Slope and intercept under which a stored scan's voxels are what is in the file."""
    from hope.formats.nifti_header import read_layout

    with scan.open("rb") as file:
        layout = read_layout(file, scan.stem)
    return layout.slope, layout.intercept


def _for_the_page(error: InputError) -> InputError:
    """Advice that speaks of the command line's flags, in words that fit the web page."""
    if "--" not in error.fix:
        return error
    fix = error.fix.partition(" with --")[0]
    if "--" in fix:
        fix = "run it again as raw scans" if "--preprocessed" in fix else ""
    return InputError(error.what, expected=error.expected, got=error.got, fix=fix)


_BODIES: Mapping[str, Callable[[Mapping[str, Any], Progress], Done]] = {
    Stage.PREPROCESS: _preprocess,
    Stage.HARMONIZE: _harmonize,
    Stage.SEGMENT: _segment,
    Stage.POSTPROCESS: _postprocess,
    **{name: _task(name) for name in ("dicom", "sample", "segmentation")},
}

"""What a child process of the endpoint does: a whole case, the model's part of one, or the self-test.

Models stay loaded between jobs. Temporary files go to the job's own folder (`hope.jobs.child`), which the parent
removes even if this process is killed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hope.contract.options import RunOptions
from hope.contract.outputs import OutputFile, Role, Space
from hope.domain.errors import InputError, StageError
from hope.domain.progress import Progress

if TYPE_CHECKING:
    from hope.ports import BrainExtractor, Predictor
    from hope.services import Services

Done = dict[str, Any]

MODEL_FACTS = "model.json"

_MOST_VOXELS = 2**27
"""Of one array of a harmonized case; the atlas grid has 9 million."""

_DTYPES = ("|b1", "|u1", "<i2", "<f2", "<f4", "<f8")
"""Of the arrays of a harmonized case."""

_FAR_TOO_MUCH = (RecursionError, OverflowError)

_MODELS = 2
"""How many models stay loaded: the endpoint's own, and the last other one that was asked for."""

_SEGMENTATION = (OutputFile(Role.SEGMENTATION, space=Space.NATIVE), OutputFile.of(Role.FACTS))
"""What is wanted if only the segmentation is."""


def run(job: Mapping[str, Any], progress: Progress) -> Done:
    """Do one job; see `hope.jobs.child` for the job and the answer.

    Raises:
        InputError: if the input is to blame.
        StageError, BundleError, OutputError: if it is not.
    """
    name = str(job["do"])
    if name not in _BODIES:
        raise InputError("there is no such job", expected=", ".join(_BODIES), got=name)
    return _BODIES[name](job, progress)


def _case(job: Mapping[str, Any], progress: Progress) -> Done:
    """Scans in, everything that `hope segment` writes out."""
    from hope.endpoint.inputs import for_a_payload
    from hope.pipeline import run_case
    from hope.stages.intake.intake import find_cases

    out = Path(job["out"])
    options = RunOptions.stored(job["options"])
    try:
        sources = find_cases([Path(job["in"])], {})
        if len(sources) != 1:
            raise InputError("the input holds several cases", expected="one case", got=str(len(sources)))
        result = run_case(sources[0], _predictor(str(job["model"])), _brain(), out, options, progress)
    except InputError as error:
        raise for_a_payload(error) from error
    folder = out / sources[0].case_id
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        (folder / name).rename(out / name)
    folder.rmdir()
    few = {output.name(result.case_id) for output in _SEGMENTATION}
    wanted = names if job["outputs"] == "all" else [name for name in names if name in few]
    report = result.report.to_json()
    return {"files": wanted, "facts": {"volumes_ml": report["volumes_ml"], "qc": report["qc"]}}


def _prediction(job: Mapping[str, Any], progress: Progress) -> Done:
    """A harmonized case in, what the model says out."""
    from hope.domain.case import HarmonizedCase
    from hope.formats import stage_io
    from hope.stages.segment.segment import segment

    folder, out = Path(job["in"]), Path(job["out"])
    predictor = _predictor(str(job["model"]))
    try:
        _check_stage_input(folder)
        case: HarmonizedCase = stage_io.load_harmonized(folder, stage_io.load_aligned(folder))
    except (StageError, KeyError, ValueError, TypeError, AttributeError, IndexError, *_FAR_TOO_MUCH) as error:
        words = str(error) if isinstance(error, StageError) else "its files do not fit together"
        raise InputError(f"the harmonized case cannot be read: {words}", fix="prepare it again") from error
    predictor.missing_sequences(case.images.keys())
    prediction = segment(case, predictor, progress)
    names = stage_io.save_prediction(prediction, out)
    (out / MODEL_FACTS).write_text(json.dumps(dict(predictor.describe()), allow_nan=False, indent=1))
    flags = [flag.to_json() for flag in prediction.flags]
    return {"files": [*names, MODEL_FACTS], "facts": {"qc": flags}}


def _selftest(job: Mapping[str, Any], progress: Progress) -> Done:
    from hope.endpoint.selftest import self_test

    return {"files": [], "facts": self_test(_predictor(str(job["model"])))}


def _check_stage_input(folder: Path) -> None:
    """Refuse files that would make `hope.formats.stage_io` read elsewhere, or fill the memory.

    Raises:
        StageError: saying what is wrong.
        ValueError, KeyError, TypeError: if the files are of another form.
    """
    import numpy as np

    for name in ("aligned.json", "harmonized.json"):
        for entry in _arrays(json.loads((folder / name).read_bytes())):
            file, shape = str(entry["file"]), [int(n) for n in entry["shape"]]
            if Path(file).name != file or not (folder / file).is_file():
                raise StageError("it names a file that is not part of it")
            voxels = 1
            for length in shape:
                voxels *= max(length, 0)
            if len(shape) != 3 or voxels > _MOST_VOXELS or str(entry["dtype"]) not in _DTYPES:
                raise StageError("one of its arrays has no shape or type of an image")
            # Only looked at: a file that claims to hold more than it does is refused before memory is taken for it.
            np.load(folder / file, mmap_mode="r", allow_pickle=False)


def _arrays(content: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    if depth > 6:
        raise StageError("it is nested more deeply than it should be")
    if isinstance(content, Mapping):
        if "file" in content:
            yield content
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _arrays(part, depth + 1)


@cache
def _services() -> Services:
    from hope.services import Services
    from hope.settings import Settings

    return Services(Settings.from_environment())


@lru_cache(maxsize=_MODELS)
def _predictor(model: str) -> Predictor:
    """The predictor of a model, with whatever it has loaded already."""
    return _services().predictor(model, where="local")


@cache
def _brain() -> BrainExtractor:
    return _services().brain_extractor()


_BODIES: Mapping[str, Callable[[Mapping[str, Any], Progress], Done]] = {
    "case": _case,
    "prediction": _prediction,
    "selftest": _selftest,
}

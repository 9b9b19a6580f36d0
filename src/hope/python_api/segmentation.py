"""``hope.segment``: what the command of that name does, for a Python program."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

from hope.contract.options import RunOptions
from hope.domain.case import MRSequence
from hope.domain.errors import InputError
from hope.formats.private_directory import private_directory
from hope.pipeline import run_case
from hope.ports import BrainExtractor, Predictor
from hope.python_api.cases import CaseLike, case_of
from hope.python_api.images import ImageLike
from hope.python_api.progress import ProgressLike, listener
from hope.python_api.result import Result
from hope.services import Services
from hope.settings import DEVICES, Settings
from hope.stages.report.result_folder import Destination

_ONE_AT_A_TIME = threading.Lock()
"""Calls from several threads wait for each other: one case uses all cores, and libraries below keep global state."""


@dataclass(frozen=True)
class _Loaded:
    """The model of the last call, which stays in memory for the next."""

    chosen: tuple[object, ...]
    predictor: Predictor
    brain: BrainExtractor


_last: _Loaded | None = None


def segment(
    case: CaseLike | None = None,
    *,
    t1n: ImageLike | None = None,
    t1c: ImageLike | None = None,
    t2w: ImageLike | None = None,
    t2f: ImageLike | None = None,
    out: str | os.PathLike[str] | None = None,
    replace: bool = False,
    model: str | None = None,
    device: str = "auto",
    preprocessed: bool | None = None,
    harmonize: bool | None = None,
    postprocess: bool = True,
    uncertainty_map: bool = False,
    show_head: bool = False,
    deface: bool = False,
    progress: ProgressLike = None,
) -> Result:
    """Segment one case: the same stages, and the same labels, as ``hope segment``.

    Args:
        case: a case directory (BraTS or BIDS names), a DICOM directory or zip, or a `hope.Case`. Leave it out if all
            scans are named.
        t1n: the native T1: a path (NIfTI, or one DICOM series), a nibabel or SimpleITK image, or a `hope.Volume`; any
            grid and orientation. Likewise the other three. Two sequences or more make a case.
        t1c: the T1 with contrast; its grid carries the labels.
        t2w: the T2.
        t2f: the FLAIR.
        out: results go to ``out/<case>/``; None leaves nothing on disk. A result of the same scans is replaced.
        replace: also replace a result of this name in ``out`` that was made from other scans.
        model: id of a bundle, see ``hope models list``; the model that ships, ``mixed``, if not given.
        device: auto, cpu, cuda or mps; auto is what HOPE_DEVICE says, else a CUDA GPU where there is one. mps is taken
            and runs on the CPU, with a warning.
        preprocessed: True if the scans are co-registered, at 1 mm and in atlas space already; None: they decide.
        harmonize: bring intensities to the bundled style first.
        postprocess: clean up the model's answer.
        uncertainty_map: also make the map of how unsure the model is.
        show_head: picture and report show the whole head, the face included.
        deface: remove the face from the images on the atlas grid.
        progress: True shows a bar; or a function ``progress(text, share)``.

    Returns:
        labels as nibabel images, volumes in ml, the report and all files.

    Raises:
        InputError: if the scans or an argument cannot be used; its text is the command line's sentence.
        AmbiguousInputError: if it cannot be told which scan is which.
        OutputError: if ``out`` cannot be written, or holds a result of other scans under this name.
        BundleError: if the model's files are damaged.
        StageError: if a stage fails on input that looked right.
    """
    named = {MRSequence.T1N: t1n, MRSequence.T1C: t1c, MRSequence.T2W: t2w, MRSequence.T2F: t2f}
    options = RunOptions.checked(
        {
            "model": model,
            "preprocessed": preprocessed,
            "harmonize": harmonize,
            "postprocess": postprocess,
            "uncertainty_map": uncertainty_map,
            "show_head": show_head,
            "deface": deface,
        }
    )
    if out is not None and not isinstance(out, str | os.PathLike):
        raise InputError("out is not usable", expected="a path", got=f"a {type(out).__qualname__}")
    with listener(progress) as report, _ONE_AT_A_TIME, case_of(case, named, preprocessed, report) as found:
        loaded = _loaded(model, device)
        if out is not None:
            to = Destination(Path(out), replace)
            result = run_case(found, loaded.predictor, loaded.brain, to, options, report)
            return Result(result, to.out / result.case_id)
        with private_directory() as private:
            result = run_case(found, loaded.predictor, loaded.brain, private, options, report)
            files = {path.name: path.read_bytes() for path in sorted((private / result.case_id).iterdir())}
        return Result(result, files)


def _loaded(model: str | None, device: str) -> _Loaded:
    """The model that was asked for, loaded once for several calls."""
    global _last
    if device not in DEVICES:
        raise InputError("there is no such device", expected=", ".join(DEVICES), got=str(device))
    settings = Settings.from_environment()
    chosen = (model, device, settings)
    if _last is None or _last.chosen != chosen:
        _last = None  # two models at once may not fit
        services = Services(settings)
        predictor = services.predictor(model, None if device == "auto" else device)
        predictor.prepare()
        _last = _Loaded(chosen, predictor, services.brain_extractor())
    if note := _last.predictor.device_note:
        warnings.warn(note, stacklevel=3)
    return _last

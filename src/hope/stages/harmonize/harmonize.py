"""Harmonisation: bringing scans of different sites to one intensity style, checked before it counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from hope.domain.case import SEQUENCES, AlignedCase, HarmonizedCase, MRSequence
from hope.domain.errors import InputError, StageError
from hope.domain.progress import Progress, silent
from hope.domain.qc import QCFlag, Severity
from hope.domain.style import SequenceStyle, Style
from hope.domain.volume import Volume
from hope.ports import Harmonizer
from hope.stages.harmonize.anatomy_check import AnatomyCheck, check_anatomy
from hope.stages.harmonize.histogram import HistogramHarmonizer
from hope.stages.harmonize.lesion_prior import regions_of

NONE = "none"
NOT_ASKED = "images were passed on unchanged: harmonisation was not asked for"
NO_STYLE = "the style does not know this sequence, or the image has no positive scale"
TOGETHER = "the other T1 was passed on, and the difference between the two shows what took up contrast"

_PAIR = (MRSequence.T1N, MRSequence.T1C)
_MATCHED = 0.8
"""Share of the work that is the method's; the rest is the check."""


@dataclass(frozen=True)
class _Outcome:
    """What became of one sequence: ``image`` is None if the original is passed on, for ``reason``."""

    image: Volume | None
    reason: str = ""
    check: AnatomyCheck | None = None

    def to_json(self) -> dict[str, object]:
        facts: dict[str, object] = {"changed": self.image is not None, **(self.check.to_json() if self.check else {})}
        return {**facts, "reason": self.reason} if self.reason else facts


def not_harmonized(case: AlignedCase) -> HarmonizedCase:
    """Pass the images on unchanged, as nobody asked for anything else."""
    return HarmonizedCase(case, case.images, NONE)


def harmonize(case: AlignedCase, harmonizer: Harmonizer, style: Style, progress: Progress = silent) -> HarmonizedCase:
    """Bring a case to a style, sequence by sequence, and pass on the original of each that fails the anatomy check.

    Models normalise each sequence by itself, so one that stays as it was does no harm to the others. The two T1 are
    the exception: they are changed both or not at all, because readers and rules compare them.

    Args:
        case: aligned images.
        harmonizer: the method.
        style: what to bring them to.
        progress: called for the work done.

    Raises:
        InputError: if the method cannot use the style.
        StageError: if the method answers with what is no image of the case.
    """
    images = harmonizer.apply(case, style, lambda text, share: progress(text, _MATCHED * share))
    regions = regions_of(case)
    outcomes: dict[MRSequence, _Outcome] = {}
    for step, (sequence, before) in enumerate(case.images.items()):
        progress(f"harmonize: check the anatomy of {sequence}", _MATCHED + (1 - _MATCHED) * step / len(case.images))
        after = images.get(sequence)
        if after is None or sequence not in style.sequences:
            outcomes[sequence] = _Outcome(None, NO_STYLE)
            continue
        _refuse_misfit(sequence, before, after)
        check = check_anatomy(before, after, regions, style.sequences[sequence])
        outcomes[sequence] = _Outcome(None if check.reason else after, check.reason, check)
    _keep_together(outcomes)
    kept = {s: case.images[s] if (image := outcomes[s].image) is None else image for s in case.images}
    changed = any(outcome.image for outcome in outcomes.values())
    flags = tuple(
        QCFlag("not_harmonized", Severity.WARNING, f"the original of {s} was passed on: {outcome.reason}", str(s))
        for s, outcome in outcomes.items()
        if outcome.image is None
    )
    details: dict[str, Any] = {
        "asked": harmonizer.method,
        "style": style.name,
        "harmonizer": dict(harmonizer.describe()),
        "suspected_lesion_ml": round(float(regions.lesion.sum()) * case.grid.voxel_volume_ml, 2),
        "sequences": {str(s): outcome.to_json() for s, outcome in outcomes.items()},
    }
    progress("harmonize: done", 1.0)
    return HarmonizedCase(case, kept, harmonizer.method if changed else NONE, flags, details)


def _refuse_misfit(sequence: MRSequence, before: Volume, after: Volume) -> None:
    if not after.grid.same_as(before.grid) or after.data.dtype != np.float32:
        raise StageError(f"the harmonizer gave {sequence} back on another grid or not as float32")
    if not np.isfinite(after.data).all():
        raise StageError(f"the harmonizer gave {sequence} back with voxels that are no numbers")
    if after.data[before.data == 0].any():
        raise StageError(f"the harmonizer drew something in {sequence} where nothing was")


def _keep_together(outcomes: dict[MRSequence, _Outcome]) -> None:
    """If one T1 is passed on, so is the other."""
    given = [s for s in _PAIR if s in outcomes]
    if len(given) == len(_PAIR) and any(outcomes[s].image is None for s in given):
        for s in given:
            if outcomes[s].image is not None:
                outcomes[s] = _Outcome(None, TOGETHER, outcomes[s].check)


def learn_style(cases: Iterable[AlignedCase], harmonizer: Harmonizer, name: str, note: str = "") -> Style:
    """The mean style of some cases: of each landmark and each number of a code the mean, of units the geometric mean.

    Args:
        cases: one or more, looked at one after another; a sequence is averaged over those that have it.
        harmonizer: learns from each.
        name: the style's name, which must carry no identity.
        note: what it was learnt from, in words.

    Raises:
        InputError: if there is no case, or one holds nothing to learn from.
    """
    styles = [harmonizer.learn(case) for case in cases]
    if not styles:
        raise InputError("there is no case to learn a style from", expected="one or more")
    sequences = {}
    for s in SEQUENCES:
        given = [style.sequences[s] for style in styles if s in style.sequences]
        if given:
            sequences[s] = _mean(given)
    return Style(name, sequences, styles[0].network_sha256, note)


def _mean(given: Sequence[SequenceStyle]) -> SequenceStyle:
    return SequenceStyle(
        given[0].percentiles,
        tuple(float(x) for x in np.mean([entry.values for entry in given], axis=0)),
        tuple(float(x) for x in np.mean([entry.code for entry in given], axis=0)) if given[0].code else (),
        float(np.exp(np.mean([np.log(entry.unit) for entry in given]))),
    )


def default_style(method: str = HistogramHarmonizer.method) -> Style:
    """The style that comes with the package for a method, learnt from synthetic cases by tools/make_default_style.py.

    Raises:
        InputError: if there is none.
    """
    file = files("hope.resources.styles").joinpath(f"{method}.json")
    if not file.is_file():
        raise InputError(f"no style comes with the method {method}", fix="name a case or a style file with --target")
    return Style.from_json(file.read_bytes())


def described(case: HarmonizedCase) -> Mapping[str, str]:
    """Method and one sentence on it, for result.json and the report."""
    if not case.details:
        return {"method": case.method, "note": NOT_ASKED}
    sequences: Mapping[str, Mapping[str, Any]] = case.details["sequences"]
    changed = [name for name, facts in sequences.items() if facts["changed"]]
    kept = [name for name in sequences if name not in changed]
    if not changed:
        said = "asked for, but no image passed the anatomy check: all are the originals"
    else:
        said = f"{', '.join(changed)} brought to the style {case.details['style']}, anatomy checked"
        said += f"; the originals of {', '.join(kept)} were passed on" if kept else ""
    return {"method": case.method, "note": said}

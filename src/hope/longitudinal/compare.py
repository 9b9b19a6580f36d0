"""What changed between dates: the later image on the earlier one, volumes, lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final

import numpy as np

from hope import DISCLAIMER, __version__
from hope.contract.comparison import (
    ChangeFacts,
    Comparison,
    MatchFacts,
    RegistrationFacts,
    StepFacts,
    VisitFacts,
)
from hope.contract.measurements import Measurements
from hope.contract.report import Software
from hope.domain.change import Direction, MeasuredVolume, change_between
from hope.domain.errors import InputError, StageError
from hope.domain.grid import Grid
from hope.domain.lesion_matching import LEAST_SHARE
from hope.domain.lesion_size import MeasureRule
from hope.domain.progress import Progress, silent
from hope.domain.transform import Transform
from hope.domain.volume import Volume
from hope.longitudinal.calibration import ChangeRule, calibration_facts, interval_method, rule_for
from hope.longitudinal.dates import subject_and_session
from hope.longitudinal.fates import MOSTLY, fates_of
from hope.longitudinal.targets import follow_targets, note_on, percent_of
from hope.longitudinal.visits import Visit, common_sequence, made_from
from hope.stages.masks import box_around
from hope.stages.postprocess.lesions import measure_lesions
from hope.stages.preprocess.register import RigidFit, register_rigid
from hope.stages.preprocess.starts import session_starts
from hope.stages.report.face_free import near_labels
from hope.stages.report.made_from import INPUT
from hope.stages.resample import resample, resample_labels

COMMON_SPACING_MM: Final = 1.0
FARTHEST_MM: Final = 60.0
"""Scans of two dates in one world seldom lie further apart; more is said as a caution."""

OVERLAP_RULE: Final = (
    f"lesions are 26-connected components of the measured region on each date's own grid; two of different dates are "
    f"linked if, on the earlier image's grid at about {COMMON_SPACING_MM:g} mm, they share at least {LEAST_SHARE:.0%} "
    f"of the smaller one; a lesion that is linked with nothing is new or gone, unless more than {MOSTLY:.0%} of it "
    "lies outside of the other date's scan"
)


@dataclass(frozen=True, eq=False)
class Overlay:
    """Two dates on one grid, for pictures.

    Attributes:
        earlier: the earlier image, float32; 0 far from the labels of both dates, unless it shows the brain alone.
        later: the later image, read on the same grid, likewise.
        earlier_labels: uint8 peds labels.
        later_labels: likewise of the later date.
        near_labels_only: whether an image was cut, so that it shows no whole head.
    """

    earlier: Volume
    later: Volume
    earlier_labels: Volume
    later_labels: Volume
    near_labels_only: bool = False


def compare_visits(
    visits: Sequence[Visit],
    days: Sequence[int] | None = None,
    rule: MeasureRule | None = None,
    progress: Progress = silent,
) -> tuple[Comparison, Overlay]:
    """Compare each date with the one before, and of three or more the last with the first.

    Args:
        visits: in the order of their dates.
        days: of each date since the first, rising; None where they are not known.
        rule: how lesions are found and measured.
        progress: called for each registration.

    Returns:
        what changed; and the first and the last date on one grid.

    Raises:
        InputError: if the dates do not fit together, or two images cannot be registered.
    """
    _check(visits, days)
    used = rule or MeasureRule()
    calibrated = rule_for([visit.model_sha256 for visit in visits])
    sizes = [measure_lesions(visit.labels, used) for visit in visits]
    pairs = [(n, n + 1) for n in range(len(visits) - 1)] + ([(0, len(visits) - 1)] if len(visits) > 2 else [])
    steps, overlay = [], None
    for number, (first, second) in enumerate(pairs):
        progress(f"compare: date {second + 1} with date {first + 1}", number / len(pairs))
        step, overlay = _step(first, second, visits, sizes, used)
        step = step.model_copy(update={"changes": _changes(visits[first], visits[second], calibrated)})
        steps.append(step)
    if overlay is None:
        raise ValueError("two dates give one comparison")
    progress("compare: done", 1.0)
    facts = [
        VisitFacts(
            case_id=visit.case_id,
            days=days[number] if days else None,
            volumes_ml=dict(visit.volumes_ml),
            measurements=sizes[number],
            model=visit.model,
        )
        for number, visit in enumerate(visits)
    ]
    comparison = Comparison(
        created_by=Software(version=__version__),
        disclaimer=DISCLAIMER,
        overlap_rule=OVERLAP_RULE,
        interval_method=interval_method(calibrated),
        calibration=calibration_facts(calibrated),
        cautions=_cautions(visits, steps),
        visits=facts,
        steps=steps,
        input=made_from(visits).facts()[INPUT],
    )
    return comparison, overlay


def _check(visits: Sequence[Visit], days: Sequence[int] | None) -> None:
    if len(visits) < 2:
        raise InputError("there is nothing to compare", expected="two dates or more", got=str(len(visits)))
    if days is None:
        return
    if len(days) != len(visits):
        raise InputError("days and dates differ in number", expected=f"{len(visits)} numbers", got=str(len(days)))
    if any(later <= earlier for earlier, later in pairwise(days)):
        raise InputError(
            "days do not rise", expected="days since the first date, in order", got=", ".join(map(str, days))
        )
    if days[0] != 0:
        raise InputError("days do not begin with the first date", expected="0 for the first date", got=str(days[0]))


def _step(
    first: int, second: int, visits: Sequence[Visit], sizes: Sequence[Measurements], rule: MeasureRule
) -> tuple[StepFacts, Overlay]:
    earlier, later = visits[first], visits[second]
    sequence = common_sequence(earlier, later)
    fixed, moving = earlier.image(sequence), later.image(sequence)
    fit = _registered(fixed, moving, second + 1, first + 1)
    common = fixed.grid.with_spacing([COMMON_SPACING_MM] * 3)
    to_later = fit.transform.then(later.image_to_labels)
    overlay = _overlay(
        resample(fixed, common, Transform.identity(), "linear"),
        resample(moving, common, fit.transform, "linear"),
        resample_labels(earlier.labels, common, earlier.image_to_labels),
        resample_labels(later.labels, common, to_later),
        (earlier.brain_only, later.brain_only),
    )
    found, cautions = fates_of(earlier.labels, later.labels, common, earlier.image_to_labels, to_later, rule)
    matches = [
        MatchFacts(
            fate=str(match.fate),
            earlier=list(match.earlier),
            later=list(match.later),
            earlier_ml=_ml(sizes[first], match.earlier),
            later_ml=_ml(sizes[second], match.later),
        )
        for match in found
    ]
    targets = follow_targets(sizes[first], sizes[second], matches)
    step = StepFacts(
        earlier=first,
        later=second,
        registration=_registration(str(sequence), fit, _middle(overlay.earlier_labels)),
        changes={},
        lesions=matches,
        cautions=cautions,
        targets=targets,
        sum_of_products_percent=percent_of(targets),
        targets_note=note_on(targets),
    )
    return step, overlay


def _overlay(
    earlier: Volume, later: Volume, earlier_labels: Volume, later_labels: Volume, brain_only: tuple[bool, bool]
) -> Overlay:
    """Two dates on one grid; of an image that may show a face only what lies near the labels of either date."""
    either = earlier_labels.with_data(np.maximum(earlier_labels.data, later_labels.data))
    first, second = (
        image if brain else near_labels(image, either)
        for image, brain in zip((earlier, later), brain_only, strict=True)
    )
    return Overlay(first, second, earlier_labels, later_labels, not all(brain_only))


def _registered(fixed: Volume, moving: Volume, later: int, earlier: int) -> RigidFit:
    try:
        return register_rigid(fixed, moving, session_starts(fixed, moving))
    except StageError as error:
        raise InputError(
            f"date {later} cannot be laid on date {earlier}",
            expected="scans of one patient",
            got=str(error),
            fix="look whether both dates are of one patient and show the same part of the head",
        ) from error


def _middle(labels: Volume) -> Grid:
    box = box_around(labels)
    return labels.grid.cropped([s.start for s in box], [s.stop for s in box])


def _registration(sequence: str, fit: RigidFit, around: Grid) -> RegistrationFacts:
    middle = around.centre_ras_mm()
    shift_mm = float(np.linalg.norm(fit.transform.apply(middle) - middle))
    cautions = list(fit.cautions)
    if shift_mm > FARTHEST_MM:
        cautions.append(f"the heads lie {shift_mm:.0f} mm apart")
    return RegistrationFacts(
        sequence=sequence,
        rotation_deg=round(fit.rotation_deg, 2),
        shift_mm=round(shift_mm, 2),
        mutual_information=round(fit.after.nmi, 4),
        overlap=round(fit.after.overlap, 3),
        cautions=cautions,
    )


def _changes(earlier: Visit, later: Visit, rule: ChangeRule | None) -> dict[str, ChangeFacts]:
    factors = rule.factors if rule else {}
    return {
        key: _change(_measured(earlier, key), _measured(later, key), factors.get(key, 1.0))
        for key in earlier.volumes_ml
        if key in later.volumes_ml
    }


def _measured(visit: Visit, key: str) -> MeasuredVolume:
    volume = visit.volumes_ml[key]
    return MeasuredVolume(volume.ml, volume.low_ml, volume.high_ml)


def _change(earlier: MeasuredVolume, later: MeasuredVolume, factor: float) -> ChangeFacts:
    change = change_between(earlier, later, factor)

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 3)

    return ChangeFacts(
        earlier_ml=earlier.ml,
        later_ml=later.ml,
        change_ml=round(change.ml, 3),
        percent=change.percent,
        low_ml=rounded(change.low_ml),
        high_ml=rounded(change.high_ml),
        direction=str(change.direction),
    )


def _ml(sizes: Measurements, numbers: Sequence[int]) -> float:
    by_number: Mapping[int, float] = {lesion.number: lesion.ml for lesion in sizes.lesions}
    return round(sum(by_number.get(number, 0.0) for number in numbers), 3)


def _cautions(visits: Sequence[Visit], steps: Sequence[StepFacts]) -> list[str]:
    said = [f"date {number}: {text}" for number, visit in enumerate(visits, 1) for text in visit.warnings]
    if len({visit.model for visit in visits}) > 1:
        said.append("the masks were made by different models: a change may be theirs")
    for first, second in combinations(range(len(visits)), 2):
        if visits[first].scan_sha256 and visits[first].scan_sha256 == visits[second].scan_sha256:
            said.append(f"dates {first + 1} and {second + 1} are of one and the same scan: no change can be seen in it")
    subjects = sorted({subject for visit in visits if (subject := subject_and_session(visit.case_id)[0])})
    if len(subjects) > 1:
        said.append(f"the dates are named after different subjects: {', '.join(subjects)}")
    if any(change.direction == Direction.UNKNOWN for step in steps for change in step.changes.values()):
        said.append("a mask comes without intervals, so that no change can be called larger than the uncertainty")
    for step in steps:
        said += [
            f"date {step.later + 1} on date {step.earlier + 1}: {text}"
            for text in (*step.registration.cautions, *step.cautions)
        ]
    return said

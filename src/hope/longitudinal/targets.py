"""Targets of the earlier date, followed to the later one: what their sum of products became."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hope.contract.comparison import MatchFacts, TargetFacts
from hope.contract.measurements import Measurements
from hope.domain.lesion_matching import Fate

NO_TARGET: Final = "no target at the earlier date"


def follow_targets(earlier: Measurements, later: Measurements, matches: Sequence[MatchFacts]) -> list[TargetFacts]:
    """Follow the targets of the earlier date through the matches.

    What a target became counts whether it is measurable or not: nothing is 0 where it is gone, the sum of the pieces
    where it is split. What several earlier lesions became together is counted once, for all of them.

    Args:
        earlier: of the earlier date, with its targets.
        later: of the later date, measured by the same rule.
        matches: every lesion of both dates once.

    Returns:
        a row for each match that holds a target, products in square millimetres.
    """
    targets = {lesion.number for lesion in earlier.lesions if lesion.target}
    before, after = _products(earlier), _products(later)
    return [
        TargetFacts(
            fate=match.fate,
            earlier=chosen,
            later=match.later,
            earlier_mm2=sum(before[number] for number in chosen),
            later_mm2=None if match.fate == Fate.OUTSIDE else sum(after[number] for number in match.later),
            shared=len(match.earlier) > 1 and bool(match.later),
        )
        for match in matches
        if (chosen := [number for number in match.earlier if number in targets])
    ]


def sums_of(targets: Sequence[TargetFacts]) -> tuple[float, float] | None:
    """Sums of products of the targets and of what they became, mm2; None without targets, or if one is not seen."""
    later = [target.later_mm2 for target in targets if target.later_mm2 is not None]
    if not targets or len(later) < len(targets):
        return None
    return sum(target.earlier_mm2 for target in targets), sum(later)


def percent_of(targets: Sequence[TargetFacts]) -> float | None:
    """Change of the sum of products, per cent of the earlier sum; None where there is no such sum."""
    sums = sums_of(targets)
    return 100 * (sums[1] - sums[0]) / sums[0] if sums else None


def note_on(targets: Sequence[TargetFacts]) -> str:
    """Why the sum has no percentage, or what it shares; empty where there is nothing to say."""
    if not targets:
        return NO_TARGET
    unseen = [str(number) for target in targets if target.later_mm2 is None for number in target.earlier]
    if unseen:
        return f"the later scan does not show target {', '.join(unseen)}"
    shared = [", ".join(map(str, target.earlier)) for target in targets if target.shared]
    if not shared:
        return ""
    return (
        f"of earlier lesions that merged (target {'; target '.join(shared)}) the later product is shared, counted once"
    )


def _products(sizes: Measurements) -> Mapping[int, float]:
    return {lesion.number: lesion.axial.product_mm2 if lesion.axial else 0.0 for lesion in sizes.lesions}

"""What a model says of the sequences that it had to do without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hope.domain.case import SEQUENCES, MRSequence
from hope.domain.errors import BundleError
from hope.domain.qc import QCFlag, Severity

CODE = "missing_sequence"
EXPECTED = "expected_accuracy"

_EFFECT = {
    MRSequence.T1N: "blood and calcium may be taken for enhancement",
    MRSequence.T1C: "enhancing tumour (ET) cannot be told and is counted as NET",
    MRSequence.T2W: "cysts are told less reliably",
    MRSequence.T2F: "oedema is told less reliably",
}
_REGIONS = ("WT", "TC", "ET")


@dataclass(frozen=True)
class MeasuredDice:
    """How a model scored with each set of sequences on the cases that judged it.

    Attributes:
        cases: which cases, in words.
        by_input: set of sequences -> region -> mean Dice.
    """

    cases: str
    by_input: Mapping[frozenset[MRSequence], Mapping[str, float]]

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> MeasuredDice | None:
        """Of a bundle's ``measured``: ``cases`` and ``dice``, whose keys are such as ``t1n+t1c+t2w``.

        Returns:
            None if the bundle has none.

        Raises:
            BundleError: if it is not usable.
        """
        measured = manifest.get("measured")
        if not isinstance(measured, Mapping) or "dice" not in measured:
            return None
        try:
            by_input = {
                frozenset(MRSequence(name) for name in names.split("+")): {r: float(dice[r]) for r in _REGIONS}
                for names, dice in measured["dice"].items()
            }
            return cls(str(measured["cases"]), by_input)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"the bundle's measured Dice is not usable: {type(error).__name__}: {error}") from error

    def flag(self, present: frozenset[MRSequence]) -> QCFlag | None:
        """What to expect of the sequences that are there, against all; None where it was not measured."""
        here, whole = self.by_input.get(present), self.by_input.get(frozenset(SEQUENCES))
        if here is None or whole is None:
            return None
        regions = [r for r in _REGIONS if r != "ET" or MRSequence.T1C in present]
        given = " and ".join(", ".join(str(s) for s in SEQUENCES if s in present).rsplit(", ", 1))
        figures = ", ".join(f"{r} {here[r]:.2f} instead of {whole[r]:.2f}" for r in regions)
        return QCFlag(
            EXPECTED,
            Severity.WARNING,
            f"what to expect from {given} alone: mean Dice {figures} with all four sequences ({self.cases})",
        )


def missing_flags(missing: tuple[MRSequence, ...], measured: MeasuredDice | None) -> tuple[QCFlag, ...]:
    """One warning for every sequence that is missing, and what to expect of the rest.

    Args:
        missing: of the four sequences.
        measured: how the model scored without them, if it knows.
    """
    flags = [
        QCFlag(CODE, Severity.WARNING, f"{s} was not given: {_EFFECT[s]}; the result is less reliable", s)
        for s in missing
    ]
    expected = measured.flag(frozenset(SEQUENCES) - set(missing)) if measured and missing else None
    return (*flags, *([expected] if expected else []))

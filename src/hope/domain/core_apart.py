"""NET that enhancement does not enclose: a model tells it poorly from oedema.

Experts call such tissue oedema in many adults and tumour in many children; bright signal on T2 and FLAIR looks the same
in both. How often a model's answers of this kind were right is counted once, on cases whose masks are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hope.domain.qc import QCFlag, Severity

CODE: Final = "core_apart"

ENCLOSED_WITHIN_MM: Final = 12.0
"""Gaps of twice this width between enhancing parts are closed before what lies within counts as enclosed."""

APART_FROM: Final = 0.5
"""Share of the core from which the remark is made."""
LEAST_ML: Final = 2.0


@dataclass(frozen=True)
class CoreApartRule:
    """How often the core was poorly outlined where most of it lay apart from enhancement.

    Attributes:
        patients: of the fit with such an answer.
        poor: how many of these had a core outlined poorly (``POOR_BELOW``), on average over such answers.
    """

    patients: int
    poor: int

    def flag(self, apart: float, core_ml: float, poor_below: float) -> QCFlag | None:
        """The remark, where most of the core lies apart; None else, and for a core of next to nothing.

        Args:
            apart: share of the core.
            core_ml: its volume in the model's answer, which clean-up may change.
            poor_below: Dice below which a core counts as poorly outlined.
        """
        if apart < APART_FROM or core_ml < LEAST_ML:
            return None
        return QCFlag(
            CODE,
            Severity.CAUTION,
            f"{apart * core_ml:.0f} of {core_ml:.0f} ml of the core (TC, before clean-up) are NET that enhancement "
            f"does not enclose; the model tells such tissue poorly from oedema: in {self.poor} of {self.patients} "
            f"patients with such an answer the Dice of the core was below {poor_below:g}. If it is oedema, the core "
            f"has about {(1 - apart) * core_ml:.0f} ml",
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"patients": self.patients, "poor": self.poor}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CoreApartRule:
        """Back from ``to_json``.

        Raises:
            ValueError: if the counts contradict each other.
            KeyError, TypeError: if something is missing or of another kind.
        """
        rule = cls(int(values["patients"]), int(values["poor"]))
        if not 0 < rule.poor <= rule.patients:
            raise ValueError("the counts of cores apart from enhancement do not fit together")
        return rule

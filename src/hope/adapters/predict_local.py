"""Prediction in this process. torch is imported when the model is prepared, not before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from hope.domain.case import HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.progress import Progress
from hope.models.bundle import Bundle

if TYPE_CHECKING:
    from hope.models.runtime import BundleRunner


class LocalPredictor:
    """A ``hope.ports.Predictor`` that keeps the bundle's network in memory between cases.

    Args:
        bundle: the model.
        device: auto, cpu or cuda.
    """

    def __init__(self, bundle: Bundle, device: str) -> None:
        self.bundle, self._device = bundle, device
        self._runner: BundleRunner | None = None

    @property
    def head_state(self) -> HeadState:
        """What of the head the model wants to see."""
        return self.bundle.head_state

    def missing_sequences(self, present: Collection[MRSequence]) -> tuple[MRSequence, ...]:
        """Sequences the model would have to do without; InputError if it cannot."""
        return self.bundle.missing(present)

    def describe(self) -> Mapping[str, object]:
        """Facts of the model for result.json."""
        return {
            "id": self.bundle.id,
            "version": self.bundle.version,
            "sha256": self.bundle.sha256,
            "licence": self.bundle.licence,
            "label_schema": self.bundle.label_schema,
            "head_state": str(self.bundle.head_state),
            "spacing_mm": self.bundle.spacing_mm,
            "device": self._runner.device if self._runner else self._device,
            "note": str(self.bundle.manifest.get("note", "")),
        }

    def prepare(self) -> None:
        """Load the network; see ``hope.ports.Predictor``."""
        self._loaded()

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid; see ``hope.ports.Predictor``."""
        return self._loaded().predict(case, progress)

    def _loaded(self) -> BundleRunner:
        if self._runner is None:
            from hope.models.runtime import BundleRunner

            self._runner = BundleRunner(self.bundle, self._device)
        return self._runner

"""Prediction in this process. torch is imported when the model is prepared, not before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from hope.domain.case import HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.progress import Progress
from hope.models.bundle import Bundle


class Runner(Protocol):
    """What runs a bundle: one network, or an ensemble of them."""

    @property
    def device(self) -> str:
        """Where the networks run."""
        ...

    def describe(self) -> Mapping[str, object]:
        """How they run: precision, engine, mirroring and the like, for result.json."""
        ...

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid."""
        ...


class LocalPredictor:
    """A ``hope.ports.Predictor`` that keeps the bundle's networks in memory between cases.

    Args:
        bundle: the model.
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, bf16 or fp16; only for ensembles.
        mirroring: whether an ensemble's networks also see the tiles mirrored, where their training allows it.
    """

    def __init__(self, bundle: Bundle, device: str, precision: str = "auto", mirroring: bool = True) -> None:
        self.bundle, self._device = bundle, device
        self._precision, self._mirroring = precision, mirroring
        self._runner: Runner | None = None

    @property
    def head_state(self) -> HeadState:
        """What of the head the model wants to see."""
        return self.bundle.head_state

    def missing_sequences(self, present: Collection[MRSequence]) -> tuple[MRSequence, ...]:
        """Sequences the model would have to do without; InputError if it cannot."""
        return self.bundle.missing(present)

    def describe(self) -> Mapping[str, object]:
        """Facts of the model for result.json."""
        run = dict(self._runner.describe()) if self._runner else {}
        if remarks := [text for text in (str(run.get("remark", "")), self.device_note) if text]:
            run["remark"] = "; ".join(remarks)
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
            **run,
        }

    @property
    def device_note(self) -> str:
        """Why another device is used than was asked for; empty where it is not, or before the networks are loaded."""
        if self._runner is None:
            return ""
        from hope.models.devices import device_note

        return device_note(self._device)

    def prepare(self) -> None:
        """Load the networks; see ``hope.ports.Predictor``."""
        self._loaded()

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid; see ``hope.ports.Predictor``."""
        return self._loaded().predict(case, progress)

    def _loaded(self) -> Runner:
        if self._runner is None:
            if self.bundle.groups:
                from hope.models.ensemble.engine import EnsembleRunner

                self._runner = EnsembleRunner(self.bundle, self._device, self._precision, self._mirroring)
            else:
                from hope.models.runtime import BundleRunner

                self._runner = BundleRunner(self.bundle, self._device)
        return self._runner

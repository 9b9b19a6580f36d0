"""Seams of the imaging work: brain extraction, harmonisation, prediction."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hope.domain.case import AlignedCase, HarmonizedCase, HeadState, MRSequence, Prediction
from hope.domain.progress import Progress
from hope.domain.style import Style
from hope.domain.volume import Volume


class BrainExtractor(Protocol):
    """Finds the brain in one head scan."""

    name: str
    """Method and version, for the result's provenance."""

    def extract(self, scan: Volume) -> npt.NDArray[np.bool_]:
        """Brain mask (i, j, k) of a T1-weighted scan (t1n or t1c) on the scan's own grid.

        Raises:
            StageError: if no brain is found.
        """
        ...


class Harmonizer(Protocol):
    """Brings the images of a case to a style."""

    @property
    def method(self) -> str:
        """The method's name: "hail" or "histogram"."""
        ...

    def learn(self, case: AlignedCase) -> Style:
        """The style of one case.

        Raises:
            InputError: if its brain or an image holds nothing to learn from.
        """
        ...

    def apply(self, case: AlignedCase, style: Style, progress: Progress) -> Mapping[MRSequence, Volume]:
        """The images that could be brought to the style, float32 on the same grid; what is missing is passed on.

        They are on the style's own scale: a relative intensity of 1 becomes `SequenceStyle.unit`. What is 0 stays 0.
        The same case and style give the same images, bit for bit.

        Raises:
            InputError: if the style is not one that this method can use.
        """
        ...

    def describe(self) -> Mapping[str, object]:
        """Method, version and the like, for result.json."""
        ...


class Predictor(Protocol):
    """Runs one model bundle."""

    @property
    def head_state(self) -> HeadState:
        """What of the head the model wants to see."""
        ...

    @property
    def device_note(self) -> str:
        """Why another device is used than was asked for; empty where it is not, or before `prepare`."""
        ...

    def prepare(self) -> None:
        """Do now what may fail whatever the case: load weights, find the device.

        Raises:
            BundleError: if the model is damaged or not made for this version.
            InputError: if the device that was asked for is not there.
        """
        ...

    def missing_sequences(self, present: Collection[MRSequence]) -> tuple[MRSequence, ...]:
        """The sequences that the model would have to do without.

        Raises:
            InputError: if it cannot do without them.
        """
        ...

    def describe(self) -> Mapping[str, object]:
        """Id, version, sha256, licence, device and the like, for result.json."""
        ...

    def predict(self, case: HarmonizedCase, progress: Progress) -> Prediction:
        """Label the case on its atlas grid.

        Raises:
            InputError: if a sequence is missing that the model cannot do without.
        """
        ...

"""What a person says about weights whose files do not say it. Plain facts, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hope.domain.case import HeadState


@dataclass(frozen=True)
class ImportChoices:
    """What the user says about weights that their files do not say.

    Attributes:
        sequences: order of the input channels; None to go by the files, or by the published order.
        head_state: what the images showed that the networks were trained on.
        licence: of the weights.
        weights: of the architectures by name; None for the published ones, or equal ones.
        title: what a person calls the model.
    """

    sequences: tuple[str, ...] | None = None
    head_state: HeadState | None = None
    licence: str | None = None
    weights: Mapping[str, float] | None = None
    title: str | None = None

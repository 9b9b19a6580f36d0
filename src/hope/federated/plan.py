"""How a federated training goes: fixed in the job, checked at the server and at every site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hope.domain.errors import InputError

RATE: Final = 5e-4
"""Peak learning rate unless the job states another: that of a run of `hope train --from`."""


class TrainingPlan(BaseModel):
    """Settings of a federated training.

    Attributes:
        id: of the bundle that comes out.
        rounds: how often the differences are averaged.
        steps: that a site takes in a round.
        rate: peak of the learning rate, which falls to zero at the last step of the last round.
        seed: of patches and augmentation.
        least_sites: with fewer usable answers a round is not averaged, and the training ends without a model.
        alone: each site also trains a model alone, with as many steps, to compare with.
        percentile: of the values of a difference the site keeps back those below this percentile; None sends all.
        gamma: largest change of a weight per step that leaves the site; stated where ``percentile`` is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    id: str = Field(max_length=64)
    rounds: int = Field(ge=1, le=1000)
    steps: int = Field(ge=1, le=10_000)
    rate: float = Field(default=RATE, gt=0, le=0.1)
    seed: int = Field(default=1, ge=0, lt=2**31)
    least_sites: int = Field(default=2, ge=1)
    alone: bool = True
    percentile: float | None = Field(default=None, ge=0, lt=100)
    gamma: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.percentile is None) != (self.gamma is None):
            raise ValueError("percentile and gamma belong together")
        return self

    @property
    def all_steps(self) -> int:
        """Steps of one site in the whole training."""
        return self.rounds * self.steps


def read_plan(values: Mapping[str, Any]) -> TrainingPlan:
    """Read the plan of a job.

    Raises:
        InputError: if it is none of this version.
    """
    try:
        return TrainingPlan.model_validate(dict(values))
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        raise InputError(f"the plan of the training is not usable: {where} {found['msg']}") from None

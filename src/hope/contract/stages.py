"""The stages of a run in order. A new stage is one entry of `Stage` here, and its body.

Queue, worker, progress, page and the checks of the deployment files follow this table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from hope.contract.outputs import Role

SCANS = "scans"
"""What a stage reads if it needs the scans as they were uploaded."""


@dataclass(frozen=True)
class Step:
    """A part of a stage, as the command line times it.

    Attributes:
        name: as `stages` of result.json lists it.
        raw: seconds that it took of a raw case when the shares were measured (docs/benchmarks.md).
        preprocessed: the same for a preprocessed case.
        page_only: the command line has no such step.
    """

    name: str
    raw: float
    preprocessed: float
    page_only: bool = False

    def seconds(self, preprocessed: bool) -> float:
        """The measured seconds of one kind of case; only their ratios matter."""
        return self.preprocessed if preprocessed else self.raw


@dataclass(frozen=True)
class StageSpec:
    """What is known of one stage.

    Attributes:
        name: of its queue, its worker and its rows in the database.
        title: what a person reads.
        weight: its steps, whose measured seconds give its share of a run.
        reads: roles of files that earlier stages left, and `SCANS`; a worker fetches nothing else.
        writes: roles of the files that it leaves.
        run: the function that does it in a child process, as ``module:function``.
        elsewhere: whether a part of it may run at a model elsewhere, so that copies of a case have to be deleted there.
    """

    name: str
    title: str
    weight: tuple[Step, ...]
    reads: tuple[str, ...]
    writes: tuple[Role, ...]
    run: str
    elsewhere: bool = False

    def seconds(self, preprocessed: bool) -> float:
        """Measured seconds of all its steps; only their ratios to other stages' matter."""
        return sum(step.seconds(preprocessed) for step in self.weight)


class Stage(StrEnum):
    """The services' stages, in the order in which a case passes them."""

    spec: StageSpec

    def __new__(cls, spec: StageSpec | str) -> Self:
        """A member whose value is the stage's name. A call with a name finds a member and does not come here."""
        if isinstance(spec, str):
            raise TypeError("a stage is made from its spec")
        member = str.__new__(cls, spec.name)
        member._value_ = spec.name
        member.spec = spec
        return member

    PREPROCESS = StageSpec(
        name="preprocess",
        title="Preparing the scans",
        weight=(Step("intake", raw=0.5, preprocessed=1.2), Step("preprocess", raw=41.4, preprocessed=0.7)),
        reads=(SCANS,),
        writes=(Role.UPLOADED, Role.ALIGNED, Role.NOTES),
        run="hope.jobs.bodies:preprocess",
    )
    HARMONIZE = StageSpec(
        name="harmonize",
        title="Matching brightness",
        weight=(Step("harmonize", raw=0.3, preprocessed=0.3),),
        reads=(Role.ALIGNED,),
        writes=(Role.HARMONIZED, Role.NOTES),
        run="hope.jobs.bodies:harmonize",
    )
    SEGMENT = StageSpec(
        name="segment",
        title="Finding tumour parts",
        weight=(Step("segment", raw=5.7, preprocessed=5.9),),
        reads=(Role.ALIGNED, Role.HARMONIZED),
        writes=(Role.PREDICTION, Role.NOTES),
        run="hope.jobs.bodies:segment",
        elsewhere=True,
    )
    POSTPROCESS = StageSpec(
        name="postprocess",
        title="Cleaning and measuring",
        weight=(
            Step("postprocess", raw=0.4, preprocessed=0.8),
            Step("measure", raw=0.3, preprocessed=0.4),
            Step("report", raw=3.4, preprocessed=2.8),
            Step("view", raw=4.2, preprocessed=2.2, page_only=True),
        ),
        reads=(SCANS, Role.UPLOADED, Role.ALIGNED, Role.HARMONIZED, Role.PREDICTION, Role.NOTES),
        writes=tuple(role for role in Role if role.spec.made_by_pipeline),
        run="hope.jobs.bodies:postprocess",
    )


STAGES: tuple[Stage, ...] = tuple(Stage)


def shares(preprocessed: bool) -> dict[Stage, float]:
    """Each stage's share of a whole run of the platform; they add up to 1."""
    whole = sum(stage.spec.seconds(preprocessed) for stage in STAGES)
    return {stage: stage.spec.seconds(preprocessed) / whole for stage in STAGES}


def steps_of(stages: Iterable[Stage], *, page: bool) -> tuple[Step, ...]:
    """The steps of some stages in order; those of the page alone only if ``page`` is true."""
    return tuple(step for stage in stages for step in stage.spec.weight if page or not step.page_only)

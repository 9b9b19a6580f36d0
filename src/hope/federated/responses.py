"""What a site responds, and nothing else can leave it: numbers under names that are fixed here, and fixed sentences."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from hope.domain.errors import InputError
from hope.domain.sequence import SEQUENCES
from hope.evaluation.evaluate import COMPARED
from hope.evaluation.lesionwise import HEADLINE_RULES, RULES

T = TypeVar("T")

QUANTILES: Final = (25, 50, 75)
QUANTILES_FROM: Final = 10
"""Quantiles leave a site from so many cases on."""

MOST_CASES: Final = 1_000_000
LARGEST: Final = 1e6
"""No site has more cases, and no figure of one has a greater magnitude: sums weighted by cases stay finite."""

Cases = Annotated[int, Field(ge=1, le=MOST_CASES)]
Figure = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]

REGIONS: Final = tuple(dict.fromkeys(region for regions in COMPARED.values() for region in regions))
METRICS: Final = (
    *("dice", "hd95_mm", "lw_dice", "lw_hd95_mm"),
    *(f"{rules}.{score}" for rules in RULES if rules != HEADLINE_RULES for score in ("dice", "hd95_mm")),
)

BINS: Final = 1000
HIGHEST: Final = 5.0
"""Histograms have bins of one width from 0 to this many medians of the brain; the last takes what is brighter."""

FAILURES: Final[Mapping[str, str]] = {
    "scans": "scans or mask that cannot be used",
    "stage": "a stage that failed",
    "files": "files that cannot be read or written",
    "fault": "a fault of the program",
}
"""Kind of failure -> what of a case failed."""

REASONS: Final[Mapping[str, str]] = {
    "too_few": "the site has fewer cases than it answers for",
    "not_allowed": "the site does not answer this kind of job",
    "no_model": "the site has no usable model of this id",
    "other_model": "the site's model of this id has another hash",
    "no_data": "the site's directory of cases is not set, or cannot be read",
    "settings": "the site's settings are not usable",
    "no_audit": "the site could not write its audit line",
    "withheld": "the answer held more than aggregates, and the site kept it",
    "stopped": "the site stopped the work",
    "failed": "the work at the site failed",
    "cannot_train": "the site's model of this id is none that training can start from",
    "diverged": "the training at the site gave weights that are no finite numbers",
    "bad_weights": "the weights do not fit the model: other names or shapes, or values that are no finite numbers",
    "silent": "no answer came: the site was down, or its work ended",
    "unreadable": "the site's answer is none of this version",
}
"""Code -> the whole sentence that the server learns when a site gives no figures."""


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Measured(_Exact):
    """One metric of one region at one site.

    Attributes:
        n: cases that have it.
        mean: over them.
        quantiles: 25th, 50th and 75th percentile; None below ten cases.
    """

    n: Cases
    mean: Figure
    quantiles: tuple[Figure, Figure, Figure] | None = None

    @field_validator("quantiles", mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class Scores(_Exact):
    """Of an evaluation: per region and metric what was measured, None where too few cases of the site have it."""

    kind: Literal["scores"] = "scores"
    n: Cases
    failed: dict[str, int]
    unlabelled: int = Field(ge=0)
    regions: dict[str, dict[str, Measured | None]]

    @field_validator("failed")
    @classmethod
    def _known_failures(cls, value: dict[str, int]) -> dict[str, int]:
        return _known(value, FAILURES)

    @field_validator("regions")
    @classmethod
    def _known_names(cls, value: dict[str, dict[str, Measured | None]]) -> dict[str, dict[str, Measured | None]]:
        for metrics in value.values():
            _known(metrics, METRICS)
        return _known(value, REGIONS)


class Histogram(_Exact):
    """Of one sequence: the sum over ``n`` cases of the share of the healthy brain's voxels in each bin."""

    n: Cases
    shares: list[Annotated[float, Field(ge=0, le=MOST_CASES)]] = Field(min_length=BINS, max_length=BINS)


class Histograms(_Exact):
    """For a style: one histogram per sequence that enough cases of the site have."""

    kind: Literal["histograms"] = "histograms"
    n: Cases
    failed: dict[str, int]
    sequences: dict[str, Histogram]

    @field_validator("failed")
    @classmethod
    def _known_failures(cls, value: dict[str, int]) -> dict[str, int]:
        return _known(value, FAILURES)

    @field_validator("sequences")
    @classmethod
    def _known_names(cls, value: dict[str, Histogram]) -> dict[str, Histogram]:
        return _known(value, tuple(str(s) for s in SEQUENCES))


class Difference(_Exact):
    """Of a round of training: on how many cases, and the mean loss; the arrays travel beside it.

    Attributes:
        n: cases that the site trained on.
        failed: cases that failed, by kind.
        unlabelled: cases without a mask.
        loss: mean over the steps of the round.
    """

    kind: Literal["difference"] = "difference"
    n: Cases
    failed: dict[str, int]
    unlabelled: int = Field(ge=0)
    loss: Figure

    @field_validator("failed")
    @classmethod
    def _known_failures(cls, value: dict[str, int]) -> dict[str, int]:
        return _known(value, FAILURES)


class Refusal(_Exact):
    """No figures, and why: a code of ``REASONS``."""

    kind: Literal["refusal"] = "refusal"
    code: str

    @field_validator("code")
    @classmethod
    def _known_code(cls, value: str) -> str:
        if value not in REASONS:
            raise ValueError("not a code")
        return value

    @property
    def message(self) -> str:
        """What the code stands for."""
        return REASONS[self.code]


Response = Scores | Histograms | Difference | Refusal
_RESPONSE: TypeAdapter[Response] = TypeAdapter(Annotated[Response, Field(discriminator="kind")])


def read_response(text: str | bytes) -> Response:
    """Read what ``model_dump_json`` of an answer wrote, and nothing more than that.

    Raises:
        InputError: if the text holds anything else, such as a name or a key that is not fixed here. What it holds is
            not repeated.
    """
    try:
        return _RESPONSE.validate_json(text)
    except ValidationError:
        # Not chained: the cause would repeat what was found.
        raise InputError("the site's answer holds more or less than aggregates") from None


def _known(value: dict[str, T], names: Container[str]) -> dict[str, T]:
    if any(name not in names for name in value):
        raise ValueError("a name that is not fixed")
    return value

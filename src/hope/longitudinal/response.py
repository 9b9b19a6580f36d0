"""Categories of response from a site's own table. None is built in: no published one was read at its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hope.contract.comparison import Comparison, ResponseFacts, StepFacts
from hope.domain.errors import InputError
from hope.domain.json_text import RepeatedKeyError, refuse_repeated_keys
from hope.domain.lesion_matching import Fate
from hope.domain.lesion_size import CystRule, MeasureRule
from hope.formats.reading import reading
from hope.longitudinal.targets import NO_TARGET

FORMAT: Final = "hope-response-rules/1"
LARGEST_BYTES: Final = 100_000

_ARITHMETIC_ERROR: Final = 1e-9
"""Per cent: 4.0 to 4.8 ml comes out as 19.999999999999996 %, which reaches a limit of 20 %."""


class Category(BaseModel):
    """One category: what has to hold for it. Categories are tried in order; the first that holds is said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    least_percent: float | None = Field(default=None, description="the change, unrounded, is at least this, per cent")
    most_percent: float | None = Field(default=None, description="the change, unrounded, is at most this, per cent")
    new_lesions: bool | None = Field(default=None, description="true: at least one lesion is new; false: none is")
    all_gone: bool | None = Field(default=None, description="true: nothing of the measured region is left")


class ResponseRules(BaseModel):
    """The table of a site."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["hope-response-rules/1"]
    name: str = Field(min_length=1, max_length=80, description="what the report calls the table")
    source: str = Field(min_length=1, description="where the site took it from, and who read it there")
    example: bool = Field(default=False, description="true: made up to show the form; never used for a patient")
    quantity: Literal["sum_of_products", "volume"] = Field(description="what the percentages are of")
    region: Literal["TC", "ET", "WT"]
    sequence: Literal["t1c", "t1n", "t2w", "t2f"] = Field(description="the sequence that the table wants measured")
    cysts: Literal["outer", "solid"] = "outer"
    three_planes: bool = False
    least_mm: float = Field(default=10.0, gt=0)
    targets: int = Field(ge=1)
    reference: Literal["first", "previous"] = Field(description="the date that the last one is compared with")
    categories: list[Category] = Field(min_length=1)
    otherwise: str = Field(min_length=1, description="said where no category holds")

    @model_validator(mode="after")
    def _categories_decide(self) -> Self:
        for category in self.categories:
            if not category.model_dump(exclude_none=True, exclude={"name"}):
                raise ValueError(f"the category {category.name} has no condition; say it under `otherwise`")
        return self

    def measure_rule(self) -> MeasureRule:
        """How the table wants lesions measured."""
        return MeasureRule(self.region, CystRule(self.cysts), self.three_planes, self.least_mm, targets=self.targets)


def read_rules(path: Path) -> ResponseRules:
    """Read a site's table.

    Raises:
        InputError: if it cannot be read, names a key twice, or breaks its schema,
            docs/reference/response-rules.schema.json.
    """
    with reading("the table of response categories"):
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError("the table of response categories is too large", expected=f"at most {LARGEST_BYTES} bytes")
        text = path.read_bytes()
    try:
        refuse_repeated_keys(text)
        return ResponseRules.model_validate_json(text)
    except RepeatedKeyError as error:
        raise error.input_error("the table of response categories is not usable") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError(
            "the table of response categories is not usable",
            expected="the form of response-rules.schema.json",
            got=f"{where}: {first['msg']}",
        ) from error


def with_response(comparison: Comparison, rules: ResponseRules) -> Comparison:
    """The comparison with the category that the table gives its last date. Imaging part only.

    Without a change in per cent there is no category, and ``otherwise`` does not stand in: the reason says what lacks.
    Nor is there one where it depends on a lesion outside of what the other date scanned.

    Raises:
        InputError: if the table cannot be applied: made up as an example, another sequence, nothing to measure.
    """
    if rules.example:
        raise InputError(
            "the table of response categories is marked as an example", fix="supply your site's own, with its source"
        )
    last = len(comparison.visits) - 1
    first = 0 if rules.reference == "first" else last - 1
    step = next(step for step in comparison.steps if (step.earlier, step.later) == (first, last))
    if step.registration.sequence != rules.sequence:
        raise InputError(
            "the table wants another sequence",
            expected=rules.sequence,
            got=step.registration.sequence,
            fix="compare dates that both have it",
        )
    percent, reason = _change(step, rules)
    category = None
    if percent is not None:
        category = _category(
            rules, percent, _new(step), _gone(step, comparison.visits[last].volumes_ml[rules.region].ml)
        )
        if category is None:
            reason += (
                "; it depends on whether the lesions outside of the other scan are new or gone, which is not known"
            )
    said = ResponseFacts(category=category, table=rules.name, reason=f"{reason}; source: {rules.source}")
    return comparison.model_copy(update={"response": said})


def _change(step: StepFacts, rules: ResponseRules) -> tuple[float | None, str]:
    """The change in per cent that the table judges, None where there is none; and what there is to say of it."""
    fates = [match.fate for match in step.lesions]
    unseen = fates.count(Fate.OUTSIDE)
    if rules.quantity == "sum_of_products":
        percent, word, note = step.sum_of_products_percent, "sum of products", step.targets_note
        lacks = note or NO_TARGET
    else:
        percent, word, note = step.changes[rules.region].percent, f"volume of {rules.region}", ""
        lacks = f"nothing of {rules.region} at the earlier date"
        if unseen:
            percent, lacks = None, "a lesion lies outside of the other scan: the volumes are not of the same place"
    if percent is None:
        return None, lacks
    said = f"{word} {_shown(percent)} %, {fates.count(Fate.NEW)} new lesions"
    more = (f"{unseen} outside of the other scan" if unseen else "", note)
    return percent, "; ".join([said, *(text for text in more if text)])


def _shown(percent: float) -> str:
    """The change to 0.01, without zeros at its end: whole numbers would hide on which side of a limit it lies."""
    return f"{percent:+.2f}".rstrip("0").rstrip(".")


def _new(step: StepFacts) -> bool | None:
    """Whether a lesion is new; None where only an unknown one may be: it lies outside of what was scanned before."""
    if any(match.fate == Fate.NEW for match in step.lesions):
        return True
    return None if any(match.fate == Fate.OUTSIDE and match.later for match in step.lesions) else False


def _gone(step: StepFacts, later_ml: float) -> bool | None:
    """Whether nothing is left; None where an earlier lesion lies outside of the later scan."""
    if later_ml > 0:
        return False
    return None if any(match.fate == Fate.OUTSIDE and match.earlier for match in step.lesions) else True


def _category(rules: ResponseRules, percent: float, new: bool | None, gone: bool | None) -> str | None:
    """The first category that holds; None where what is not known decides between two."""
    possible = []
    for category in rules.categories:
        held = _holds(category, percent, new, gone)
        if held is not False:
            possible.append(category.name)
        if held:
            break
    else:
        possible.append(rules.otherwise)
    return possible[0] if len(set(possible)) == 1 else None


def _holds(category: Category, percent: float, new: bool | None, gone: bool | None) -> bool | None:
    """Whether all conditions hold; None where it depends on what is not known."""
    low, high = category.least_percent, category.most_percent
    if low is not None and percent < low - _ARITHMETIC_ERROR:
        return False
    if high is not None and percent > high + _ARITHMETIC_ERROR:
        return False
    asked = [(category.new_lesions, new), (category.all_gone, gone)]
    held = [None if found is None else found is wanted for wanted, found in asked if wanted is not None]
    return False if False in held else None if None in held else True


def json_schema() -> dict[str, Any]:
    """The published JSON Schema of a table of response categories."""
    schema = ResponseRules.model_json_schema(mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}

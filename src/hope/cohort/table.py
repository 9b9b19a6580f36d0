"""A cohort's table: one row a case, a column for each covariate, checked against a data dictionary.

The table lies where the user keeps it. It is read, never copied; no value of it enters a picture, a mask or a store.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hope.cohort.cox import FloatArray, Outcomes
from hope.domain.errors import InputError
from hope.domain.json_text import RepeatedKeyError, refuse_repeated_keys
from hope.formats.reading import reading

LARGEST_BYTES: Final = 50_000_000
ID, DAYS, EVENT = "case_id", "days", "event"
MEASURED: Final = ("WT", "TC")
"""The regions whose volumes `read_cohort` takes from results."""

Measured = Callable[[str], Mapping[str, float]]
"""Case id -> volume of each region of `MEASURED` in ml."""

_SESSION: Final = re.compile(r"(sub-[a-z0-9]+)_ses-")


class Column(BaseModel):
    """What one column of the table may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    unit: str = ""
    kind: Literal["number", "category"]
    least: float | None = None
    most: float | None = None
    values: list[str] | None = Field(default=None, description="of a category; the first is the one compared with")


Dictionary = Annotated[dict[str, Column], Field(min_length=1)]

BUILT_IN: Final[dict[str, Column]] = {
    "age_years": Column(description="age at diagnosis", unit="years", kind="number", least=0, most=30),
    "sex": Column(description="sex", kind="category", values=["female", "male"]),
    "site": Column(
        description="site of the tumour", kind="category", values=["supratentorial", "infratentorial", "midline"]
    ),
    "h3_k27m": Column(description="H3 K27M alteration", kind="category", values=["wildtype", "altered"]),
    "therapy_days": Column(
        description="days from diagnosis to the start of therapy", unit="days", kind="number", least=0, most=3650
    ),
}
"""What columns may hold that the user's own dictionary does not describe; volumes (``ml_WT``) are numbers."""


@dataclass(frozen=True, eq=False)
class Cohort:
    """Covariates and outcomes of some cases, ready for a fit.

    Attributes:
        names: of the p columns; a category gives one column a value but the first, ``column=value``.
        covariates: (n, p).
        outcomes: of the n cases.
    """

    names: tuple[str, ...]
    covariates: FloatArray
    outcomes: Outcomes


def is_level(name: str) -> bool:
    """Whether a covariate is one level of a category, ``column=value``; no column's own name holds an equals sign."""
    return "=" in name


def category_of(name: str) -> str:
    """The column of a level."""
    return name.partition("=")[0]


def read_dictionary(path: Path) -> dict[str, Column]:
    """A user's data dictionary: column -> what it may hold.

    Raises:
        InputError: if it cannot be read, breaks its form or describes a column twice.
    """
    with reading("the data dictionary"):
        text = path.read_bytes()
    try:
        refuse_repeated_keys(text)
        return TypeAdapter(Dictionary).validate_json(text)
    except RepeatedKeyError as error:
        raise error.input_error("the data dictionary is not usable") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise InputError("the data dictionary is not usable", got=f"{where}: {first['msg']}") from error


@dataclass(frozen=True)
class Joined:
    """Columns of another table that are joined by ``case_id``.

    Attributes:
        path: of the table, such as one of `hope cohort table`.
        columns: that are taken from it.
    """

    path: Path
    columns: Sequence[str]


def read_cohort(
    path: Path,
    dictionary: dict[str, Column] | None = None,
    measured: Measured | None = None,
    joined: Joined | None = None,
) -> Cohort:
    """Read a table, check each value, and join volumes of results and columns of another table by ``case_id``.

    Args:
        path: CSV with ``case_id``, ``days`` (to the event or the end of follow-up), ``event`` (0 or 1), and covariates.
        dictionary: what the covariates may hold; the built-in one describes the rest.
        measured: what results say of a case; WT and TC of each become columns ``ml_WT`` and ``ml_TC``.
        joined: a table whose columns are numbers, for instance radiomics.

    Raises:
        InputError: if a column is not described or there twice, a value breaks its description, or a case is there
            twice: ids that differ only in case are one, and so are the sessions of a BIDS subject. A message names rows
            by number and never shows a value of a row.
    """
    rows = _rows(path)
    _refuse_sessions(rows)
    described = {**BUILT_IN, **(dictionary or {})}
    if measured is not None:
        if twice := [name for key in MEASURED if (name := f"ml_{key}") in rows[0]]:
            raise InputError(
                f"{twice[0]} would stand in the cohort table twice", fix="leave out the column or --results"
            )
        rows = [{**row, **_volumes(measured, row[ID], number)} for number, row in enumerate(rows, 2)]
    if joined is not None:
        rows = _join(rows, joined)
        number = {name: Column(description=f"of {joined.path.name}", kind="number") for name in joined.columns}
        described = {**number, **described}
    names = [name for name in rows[0] if name not in (ID, DAYS, EVENT)]
    unknown = [name for name in names if name not in described and not name.startswith("ml_")]
    if unknown:
        raise InputError(
            "the table has columns that no data dictionary describes",
            got=", ".join(unknown),
            fix="describe them in a file and give it with --dictionary",
        )
    if any(is_level(name) for name in names):
        raise InputError("the name of a column holds an equals sign", fix="rename it")
    columns: dict[str, list[float]] = {}
    for name in names:
        column = described.get(name) or Column(description="volume", unit="ml", kind="number", least=0)
        columns |= _coded(name, column, [row[name] for row in rows])
    days = [_number(row[DAYS], DAYS, number, 0.0, None) for number, row in enumerate(rows, 2)]
    if min(days) <= 0:
        raise InputError("a time is not above 0", expected="days to the event or to the end of follow-up")
    events = [_number(row[EVENT], EVENT, number, 0, 1) for number, row in enumerate(rows, 2)]
    if set(events) - {0.0, 1.0}:
        raise InputError("the column event holds other values", expected="0 or 1")
    outcomes = Outcomes(np.array(days), np.array(events) == 1)
    return Cohort(tuple(columns), np.array(list(columns.values()), dtype=np.float64).T, outcomes)


def _join(rows: list[dict[str, str]], joined: Joined) -> list[dict[str, str]]:
    """The rows with the columns of the other table."""
    what = "the table to join"
    if twice := [name for name in joined.columns if name in rows[0] or joined.columns.count(name) > 1]:
        raise InputError(f"{twice[0]} would stand in the cohort table twice", fix="take it from one table, once")
    others = {row[ID]: row for row in _rows(joined.path, what, (ID, *joined.columns))}
    found = []
    for number, row in enumerate(rows, 2):
        if row[ID] not in others:
            raise InputError(f"row {number} of the cohort table has no row in {what}", expected="every case in both")
        found.append({**row, **{name: others[row[ID]][name] for name in joined.columns}})
    return found


def _rows(
    path: Path, what: str = "the cohort table", needed: Sequence[str] = (ID, DAYS, EVENT)
) -> list[dict[str, str]]:
    with reading(what):
        if path.stat().st_size > LARGEST_BYTES:
            raise InputError(f"{what} is too large", expected=f"at most {LARGEST_BYTES // 1_000_000} MB")
        content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is no text in UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise InputError(f"{what} is no CSV that can be read", got=f"{error}", fix="save it as CSV in UTF-8") from error
    head = list(reader.fieldnames or [])
    missing = [name for name in needed if name not in head]
    if missing or not rows:
        raise InputError(f"{what} is not whole", expected=f"columns {', '.join(needed)} and a row a case")
    if twice := [name for name in head if head.count(name) > 1]:
        raise InputError(f"{what} has two columns of one name", got=twice[0] or "no name", fix="rename or drop one")
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise InputError(f"{what} is not rectangular", got=f"row {number}")
    # Spaces around a value are the table program's: they must not make another case or another level of it.
    rows = [{name: value.strip() for name, value in row.items()} for row in rows]
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        if not row[ID]:
            raise InputError(f"row {number} of {what} names no case")
        if (first := seen.setdefault(row[ID].casefold(), number)) != number:
            raise InputError(
                f"a case stands in {what} twice", expected="one row a case", got=f"rows {first} and {number}"
            )
    return rows


def _refuse_sessions(rows: Sequence[dict[str, str]]) -> None:
    """Refuse two sessions of one BIDS subject: a fit takes rows for different patients."""
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        subject = _SESSION.match(row[ID].casefold())
        if subject and (first := seen.setdefault(subject[1], number)) != number:
            raise InputError(
                "a patient stands in the cohort table twice",
                expected="one row a patient",
                got=f"two sessions of one subject in rows {first} and {number}",
                fix="keep one session of each subject",
            )


def _coded(name: str, column: Column, values: list[str]) -> dict[str, list[float]]:
    if column.kind == "number":
        return {name: [_number(v, name, n, column.least, column.most) for n, v in enumerate(values, 2)]}
    known = column.values or sorted(set(values))
    for number, value in enumerate(values, 2):
        if not value and column.values is None:
            fix = "leave the row out, or list the empty value in the dictionary"
            raise InputError(f"row {number} of {name} is empty", expected="a value", fix=fix)
        if value not in known:
            raise InputError(f"row {number} of {name} holds no known value", expected=", ".join(known))
    return {f"{name}={level}": [float(value == level) for value in values] for level in known[1:]}


def _number(text: str, name: str, row: int, least: float | None, most: float | None) -> float:
    try:
        value = float("nan" if "_" in text else text)  # Python reads 1_5 as 15
    except ValueError:
        value = float("nan")
    low, high = -np.inf if least is None else least, np.inf if most is None else most
    if not (np.isfinite(value) and low <= value <= high):
        ends = f"a number from {low:g} to {high:g}"
        raise InputError(
            f"row {row} of {name} holds no such number", expected=ends, fix="rows without it are left out by you"
        )
    return value


def _volumes(measured: Measured, case: str, row: int) -> dict[str, str]:
    """WT and TC of the case of a row, as columns."""
    try:
        volumes = measured(case)
    except InputError as error:
        raise error.about(f"row {row} of the cohort table") from error
    return {f"ml_{key}": str(volumes[key]) for key in MEASURED}

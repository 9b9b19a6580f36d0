"""A published survival model on one case, inside the range of its cohort."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hope.cohort.survival import FORMAT
from hope.cohort.table import category_of, is_level
from hope.cohort.uncertainty import curve_interval
from hope.domain import json_text
from hope.domain.errors import InputError
from hope.formats.reading import reading

_SHOWN = 6
"""Points of the curve that are said."""


@dataclass(frozen=True)
class Applied:
    """What a model says of a case.

    Attributes:
        third: low, middle or high risk among the cases of the fit.
        curve: days, the share that lives past them, and the ends of its 95 % interval.
    """

    third: str
    curve: tuple[tuple[float, float, float, float], ...]


def read_model(path: Path) -> dict[str, Any]:
    """A report of `hope survival fit` that holds a published model.

    Raises:
        InputError: if it is none, or a figure of it is missing or impossible.
    """
    with reading("the survival model"):
        text = path.read_bytes()
    try:
        found = json_text.loads(text)
    except json_text.RepeatedKeyError as error:
        raise error.input_error("the survival model is damaged") from error
    except ValueError as error:
        raise InputError("the survival model is no JSON") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise InputError("the file is no survival model", expected=FORMAT)
    if found.get("published") is not True or not isinstance(found.get("model"), dict):
        raise InputError(
            "this fit was not published, so it cannot be applied", expected=str(found.get("rule", "a published model"))
        )
    if not _is_whole(found):
        raise InputError("the survival model is damaged", expected="a file of hope survival fit", fix="fit it again")
    return found


def _is_whole(found: Mapping[str, Any]) -> bool:
    """Whether a published report holds every figure that is needed to apply it, and none is impossible."""
    try:
        model, count = found["model"], len(found["covariates"])
        baseline, spread_of_fits = model["baseline"], model.get("uncertainty")
        points = len(baseline["days"])
        shapes: list[tuple[Any, tuple[int, ...]]] = [
            (found["c_index"], (3,)),
            *((model[name], (count,)) for name in ("coefficients", "mean", "spread")),
            *((model[name], shape) for name, shape in (("range", (count, 2)), ("thirds", (2,)))),
            *((baseline[name], (points,)) for name in ("days", "cumulative_hazard")),
        ]
        # Without it the model is of an earlier version, which is said where it is used.
        if spread_of_fits is not None:
            wanted = {"coefficients": (count, count), "log_hazard": (points,), "both": (points, count)}
            shapes += [(spread_of_fits[name], shape) for name, shape in wanted.items()]
        arrays = [(np.array(values, dtype=np.float64), shape) for values, shape in shapes]
        hazard = np.array(baseline["cumulative_hazard"], dtype=np.float64)
        return bool(
            all(values.shape == shape and np.isfinite(values).all() for values, shape in arrays)
            and all(isinstance(name, str) for name in found["covariates"])
            and isinstance(found["cases"], int)
            and isinstance(found["disclaimer"], str)
            and points
            and min(model["spread"]) > 0
            and hazard[0] >= 0
            and (np.diff(hazard) >= 0).all()
            and (np.diff(np.array([model["thirds"], *model["range"]])) >= 0).all()
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False


def read_values(texts: Sequence[str]) -> dict[str, str]:
    """Covariate -> number as text, from ``COLUMN=NUMBER`` each.

    Raises:
        InputError: if one has another form, or a covariate is given twice.
    """
    given: dict[str, str] = {}
    for text in texts:
        name, sign, number = text.rpartition("=")
        if not (sign and name):
            raise InputError("a covariate is not given as COLUMN=NUMBER", got=text)
        if name in given:
            raise InputError(f"{name} is given twice", fix="give each covariate once")
        given[name] = number
    return given


def apply_model(found: Mapping[str, Any], given: Mapping[str, str]) -> Applied:
    """Apply a published model.

    Args:
        found: what `read_model` gave.
        given: covariate -> number as text.

    Raises:
        InputError: if a covariate is missing, unknown, no number, or outside the range of the fit; a level of a
            category neither 0 nor 1, or two levels of one category 1.
    """
    names, model = list(found["covariates"]), found["model"]
    if set(given) != set(names):
        raise InputError(
            "the covariates are not the model's", expected=", ".join(names), got=", ".join(given) or "none"
        )
    values = [_value(name, given[name], ends) for name, ends in zip(names, model["range"], strict=True)]
    chosen = [category_of(name) for name, value in zip(names, values, strict=True) if is_level(name) and value]
    for category in chosen:
        if chosen.count(category) > 1:
            raise InputError(f"a case has one {category}", expected="at most one of its levels at 1", got="several")
    scaled = (np.array(values) - model["mean"]) / model["spread"]
    risk = float(scaled @ np.array(model["coefficients"]))
    third = ("low", "middle", "high")[int(np.searchsorted(model["thirds"], risk, side="right"))]
    columns = (np.array(model["baseline"]["days"], dtype=np.float64), *curve_interval(model, scaled))
    picked = np.unique(np.linspace(0, len(columns[0]) - 1, _SHOWN).astype(int))
    points = [tuple(float(column[n]) for column in columns) for n in picked]
    return Applied(third, tuple((day, alive, low, high) for day, alive, low, high in points))


def _value(name: str, text: str, ends: Sequence[float]) -> float:
    """One covariate as a number inside the range of the fit."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if is_level(name):
        if value not in (0.0, 1.0):
            raise InputError(f"{name} is a level of a category", expected="0 or 1", got=text)
        return value
    low, high = ends
    if not low <= value <= high:
        raise InputError(
            f"{name} lies outside the cases of the fit",
            expected=f"a number from {low:g} to {high:g}",
            fix="the model says nothing there",
        )
    return value

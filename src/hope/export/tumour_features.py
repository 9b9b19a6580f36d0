"""Radiomics of stored results, for a cohort's table: shape and texture of the whole tumour on the atlas grid."""

from __future__ import annotations

from collections.abc import Sequence

from hope.contract.outputs import Role, Space
from hope.domain.case import SEQUENCES
from hope.domain.errors import InputError, StageError
from hope.export.stored_result import StoredResult
from hope.formats.nifti import read_scan


def features_of(result: StoredResult) -> dict[str, float]:
    """The 386 features of `hope.domain.feature_names`, from the atlas mask and the four atlas images of a result.

    Raises:
        InputError: if a file is missing or was changed, or the tumour has no such features.
    """
    from hope.stages.postprocess.radiomics import tumour_features

    if missing := [str(s) for s in SEQUENCES if s in result.report.input.missing]:
        raise InputError("radiomics needs all four sequences", got=f"a result without {', '.join(missing)}")
    labels = result.labels(Space.ATLAS)
    images = {
        s: read_scan(result.path_of(Role.IMAGE, Space.ATLAS, str(s)), f"{s} of {result.case_id}")[0] for s in SEQUENCES
    }
    try:
        return tumour_features(images, labels)
    except StageError as error:
        raise InputError(str(error)) from error


def features_of_all(results: Sequence[StoredResult]) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Features by case id, and why the other cases have none.

    Raises:
        InputError: if no case has any.
    """
    found: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    for result in results:
        try:
            found[result.case_id] = features_of(result)
        except InputError as error:
            reasons[result.case_id] = str(error)
    if not found:
        raise InputError("no result has radiomics", got=next(iter(reasons.values()), "no result"))
    return found, reasons


def describe(name: str) -> str:
    """What a feature is, in one sentence for a data dictionary."""
    _, part, *rest = name.split("_")
    where = "shape" if part == "shape" else f"texture in {part}"
    return f"whole tumour, {where}: {' '.join(rest)} as pyradiomics 3.0.1 defines it, on the atlas grid"

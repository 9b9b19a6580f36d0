"""A table of many results, one row a case, and the dictionary that says what its columns mean."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hope.contract.report import CaseReport, ExpectedQualityFacts
from hope.domain.errors import InputError, OutputError
from hope.domain.feature_names import FEATURE_NAMES
from hope.domain.labels import PEDS, REGION_NAMES, REGIONS
from hope.export.stored_result import StoredResult
from hope.export.tumour_features import describe
from hope.formats.atomic import holds_something, output_error
from hope.stages.report.made_from import foreign

Cell = str | float | int | bool | None


@dataclass(frozen=True)
class Column:
    """One column: a number where it has a unit (1 for those without dimension), else words.

    Attributes:
        name: in the table's head.
        unit: of its values, empty for words.
        meaning: one sentence.
        value: what a report has there; None is written as an empty cell.
    """

    name: str
    unit: str
    meaning: str
    value: Callable[[CaseReport], Cell]


def _volume_columns() -> list[Column]:
    names = {**{label.key: label.name for label in PEDS.labels}, **REGION_NAMES}
    columns = []
    for key in dict.fromkeys((*(label.key for label in PEDS.labels), *REGIONS)):
        for field, said in (("ml", "volume"), ("low_ml", "low end of its interval"), ("high_ml", "high end of it")):
            value = partial(_of_volume, key=key, field=field)
            columns.append(Column(f"{key}_{field}", "ml", f"{names[key]}: {said}", value))
    return columns


def _of_volume(report: CaseReport, key: str, field: str) -> float | None:
    volume = report.volumes_ml.get(key)
    value = getattr(volume, field) if volume else None
    return None if value is None else float(value)


def _expected(report: CaseReport) -> ExpectedQualityFacts | None:
    # How good the model's mask is expected to be says nothing of one that a person corrected.
    return None if report.corrected else report.expected_quality


def _expected_dice(report: CaseReport, region: str) -> float | None:
    expected = _expected(report)
    return expected.regions[region].dice if expected and region in expected.regions else None


def _measured(report: CaseReport, field: str) -> float | None:
    measured = report.measurements
    return None if measured is None else float(getattr(measured, field))


def _lesion_count(report: CaseReport) -> int | None:
    measured = report.measurements
    return None if measured is None else len(measured.lesions)


def _codes(report: CaseReport, severity: str) -> str:
    return " ".join(sorted({flag.code for flag in report.qc if flag.severity == severity}))


def _expected_columns() -> list[Column]:
    dice = [
        Column(
            f"expected_dice_{region}",
            "1",
            f"expected Dice of the {REGION_NAMES[region].lower()} against an expert's mask; empty where not marked",
            partial(_expected_dice, region=region),
        )
        for region in ("WT", "TC", "ET")
    ]
    verdict = Column(
        "expected_quality",
        "",
        "likely good, check or likely poor; empty where the model cannot tell, or the mask was corrected",
        lambda r: expected.verdict if (expected := _expected(r)) else None,
    )
    return [verdict, *dice]


COLUMNS: Sequence[Column] = (
    Column("case_id", "", "name of the case, without identity", lambda r: r.case_id),
    Column("tumour_found", "", "true or false; false is a result", lambda r: r.tumour_found),
    *_volume_columns(),
    *_expected_columns(),
    Column("lesions", "1", "measured lesions; empty where the version did not measure them", _lesion_count),
    Column(
        "sum_of_products_mm2", "mm2", "axial products of the targets", partial(_measured, field="sum_of_products_mm2")
    ),
    Column(
        "sum_of_longest_mm",
        "mm",
        "longest axial diameters of the targets",
        partial(_measured, field="sum_of_longest_mm"),
    ),
    Column("warnings", "", "codes of its warnings, which the documentation explains", lambda r: _codes(r, "warning")),
    Column("cautions", "", "codes of its cautions", lambda r: _codes(r, "caution")),
    Column("missing", "", "sequences that were not given", lambda r: " ".join(r.input.missing)),
    Column("reference", "", "the sequence on whose grid volumes were counted", lambda r: r.input.reference),
    Column("treated_as", "", "raw or preprocessed", lambda r: r.input.treated_as),
    Column("harmonizer", "", "method of harmonisation, none where none was asked for", lambda r: r.harmonizer.method),
    Column("rules", "", "rules of adaptive post-processing", lambda r: r.postprocess.rules),
    Column("model", "", "id of the model", lambda r: r.model.id),
    Column("model_version", "", "its version", lambda r: r.model.version),
    Column("model_sha256", "", "hash of its bundle", lambda r: r.model.sha256),
    Column("software_version", "", "version of this software", lambda r: r.created_by.version),
    Column("interval_method", "", "what the intervals mean", lambda r: r.interval_method),
)


def cohort_table(results: Sequence[StoredResult], features: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """The table as CSV (RFC 4180), one row a case in the order of their names.

    Args:
        results: one a case.
        features: radiomics by case id, as further columns; a case without them has empty cells there.

    Raises:
        InputError: if there is no result.
    """
    if not results:
        raise InputError("there is no result to list")
    names = FEATURE_NAMES if features else ()
    rows = []
    for result in results:
        mine = (features or {}).get(result.case_id, {})
        rows.append([_text(column.value(result.report)) for column in COLUMNS] + [_text(mine.get(n)) for n in names])
    return _csv([[*(column.name for column in COLUMNS), *names], *sorted(rows, key=lambda row: row[0])])


def data_dictionary(features: bool = False) -> str:
    """What each column of the table means, as JSON: name -> description, unit and kind (number or category).

    Args:
        features: whether the table has radiomics.
    """
    entries = {
        column.name: {
            "description": column.meaning,
            "unit": column.unit,
            "kind": "number" if column.unit else "category",
        }
        for column in COLUMNS
        if column.name != "case_id"
    }
    if features:
        entries |= {name: {"description": describe(name), "unit": "", "kind": "number"} for name in FEATURE_NAMES}
    return json.dumps(entries, indent=2) + "\n"


def refuse_other_table(table: Path, dictionary: Path, results: Sequence[StoredResult]) -> None:
    """Refuse, before any work, to replace a table that has rows of other results, or is not as it was written.

    A table cannot hold hashes, but its rows say which results they are of. Radiomics of an earlier table are not
    compared.

    Raises:
        OutputError: if so, or a file cannot be read.
    """
    if holds_something(dictionary) and _read(dictionary) not in (data_dictionary(), data_dictionary(features=True)):
        raise OutputError(foreign(dictionary.name, "another file, or one that was changed since"))
    if not holds_something(table):
        return
    try:
        head, *rows = list(csv.reader(io.StringIO(_read(table), newline=""))) or [[]]
    except csv.Error:  # such as a field longer than any of ours
        head, rows = [], []
    names, *ours = map(tuple, csv.reader(io.StringIO(cohort_table(results), newline="")))
    if tuple(head) not in (names, (*names, *FEATURE_NAMES)):
        raise OutputError(foreign(table.name, "another file, or one that was changed since"))
    if {tuple(row[: len(names)]) for row in rows} - set(ours):
        raise OutputError(
            f"{table.name} was made from other results (expected rows of these results, got others); choose another "
            "name or directory, or say --replace"
        )


def _read(path: Path) -> str:
    """A file's text; what is no text of ours is empty."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return ""
    except OSError as error:
        raise output_error(path.name, error) from error


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # A spreadsheet would run a text that begins like a formula.
    return f"'{text}" if isinstance(value, str) and text.startswith(("=", "+", "-", "@")) else text


def _csv(rows: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\r\n").writerows(rows)
    return stream.getvalue()

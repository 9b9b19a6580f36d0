"""The files of a comparison: JSON, table, picture, and a report that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

from hope.contract.comparison import Comparison, StepFacts
from hope.contract.measurements import describe_lesion
from hope.domain.labels import PEDS, REGION_NAMES
from hope.domain.wording import millilitres
from hope.formats.atomic import atomic_output
from hope.longitudinal.compare import Overlay
from hope.longitudinal.pictures import draw_overlay, growth_curve
from hope.longitudinal.targets import sums_of
from hope.longitudinal.visits import Visit, made_from
from hope.stages.report.face_free import SHOWN_NEAR_LABELS
from hope.stages.report.report_sections import NOTHING, Column, html_table, signed
from hope.stages.report.result_folder import Destination, refuse_to_replace, result_folder

FACTS: Final = "comparison.json"
NO_CATEGORY: Final = "no category"
NAMES: Final = {**REGION_NAMES, **{label.key: label.name for label in PEDS.labels}}


def refuse_other_comparison(visits: Sequence[Visit], out: Path, *, replace: bool = False) -> None:
    """Refuse, before any work, if ``out`` holds a comparison of other dates, or something else.

    Raises:
        OutputError: if so, and it must not be replaced.
    """
    target = out.absolute()
    refuse_to_replace(Destination(target.parent, replace), target.name, made_from(visits), FACTS)


def write_comparison(comparison: Comparison, overlay: Overlay, out: Path, *, replace: bool = False) -> None:
    """Write comparison.json, changes.csv, comparison.png and report.html into ``out``, all of them or none.

    Raises:
        OutputError: if they cannot be written, or something else lies there, such as a comparison of other dates that
            must not be replaced.
    """
    picture = draw_overlay(overlay)
    contents = {
        "changes.csv": comparison.csv().encode(),
        "comparison.png": picture,
        "report.html": render_comparison(comparison, picture, overlay.near_labels_only).encode(),
        FACTS: comparison.text().encode(),
    }
    target = out.absolute()
    with result_folder(target.parent, target.name, FACTS, replace=replace) as folder:
        for name, content in contents.items():
            with atomic_output(folder / name) as stream:
                stream.write(content)


def headline(comparison: Comparison) -> str:
    """The change of the whole tumour from the first to the last date, in one line."""
    step = comparison.steps[-1]
    change = step.changes["WT"]
    between = comparison.days_between(step)
    when = f" in {between} days" if between is not None else ""
    percent = "" if change.percent is None else f" ({signed_percent(change.percent)})"
    return (
        f"Whole tumour {millilitres(change.earlier_ml)} ml, then {millilitres(change.later_ml)} ml{when}: "
        f"{signed(change.change_ml)} ml{percent}, {change.direction}"
    )


def signed_percent(percent: float) -> str:
    """A percentage with its sign and no digits that mean nothing."""
    return f"{percent:+.0f} %".replace("-", "\u2212")


def render_comparison(comparison: Comparison, picture_png: bytes, near_labels_only: bool) -> str:
    """The report's HTML text; no script, nothing fetched from elsewhere.

    Args:
        comparison: what it says.
        picture_png: the picture of `draw_overlay`.
        near_labels_only: whether the picture shows scans near the labels only, which its caption then says.
    """
    shown = f" Scans are shown {SHOWN_NEAR_LABELS}." if near_labels_only else ""
    resources = files("hope.resources.report")
    data = base64.b64encode(picture_png).decode("ascii")
    alt = "The slices with most tumour at the earlier and at the later date, and what lies in only one of them."
    response = comparison.response
    said = (
        ""
        if response is None
        else f"<p><strong>{escape(response.category or NO_CATEGORY)}</strong> (imaging part only), by the table "
        f"{escape(response.table)}: "
        f"{escape(response.reason)}.</p>"
    )
    cautions = "".join(
        f'<li class="caution"><strong>Caution.</strong> {escape(text)}</li>' for text in comparison.cautions
    )
    sections = [
        f"<h1>Change over {len(comparison.visits)} dates</h1>",
        f'<p class="lead">{escape(headline(comparison))}.</p>{said}',
        f"<p>{escape(comparison.limits)}</p>",
        f'<ul class="flags">{cautions}</ul>' if cautions else "",
        f'<figure><img alt="{alt}" src="data:image/png;base64,{data}"><figcaption>'
        "First and last date. Radiological view: "
        f"the patient's left is on the right.{shown}</figcaption></figure>",
        f"<h2>Volumes over the dates</h2><figure>{growth_curve(comparison)}</figure>{_visits(comparison)}",
        *(_step(comparison, step) for step in comparison.steps),
        f'<p class="soft">Intervals of differences: {escape(comparison.interval_method)}.</p>',
        f'<p class="soft">Lesions: {escape(comparison.overlap_rule)}.</p>',
    ]
    software = f"{comparison.created_by.software} {comparison.created_by.version}"
    return Template(resources.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title="Tumour volumes over time",
        style=resources.joinpath("style.css").read_text(encoding="utf-8"),
        disclaimer=escape(comparison.disclaimer),
        body="\n".join(section for section in sections if section),
        footer=f"Made by {escape(software)}. {escape(comparison.disclaimer)}",
    )


def _visits(comparison: Comparison) -> str:
    columns = (
        *(Column("Date"), Column("Case"), Column("Days", number=True)),
        *(Column(name, number=True) for name in ("Whole tumour", "Tumour core", "Sum of its own targets")),
        Column("Largest lesion"),
    )
    rows = []
    for number, visit in enumerate(comparison.visits, 1):
        ml = [f"{millilitres(volume.ml)} ml" if (volume := visit.volumes_ml.get(key)) else "" for key in ("WT", "TC")]
        lesions = visit.measurements.lesions
        rows.append(
            f'<tr><th scope="row">{number}</th><td>{escape(visit.case_id)}</td>'
            f'<td class="number">{NOTHING if visit.days is None else visit.days}</td>'
            + "".join(f'<td class="number">{text}</td>' for text in ml)
            + f'<td class="number">{visit.measurements.sum_of_products_mm2:.0f} mm\u00b2</td>'
            f"<td>{escape(describe_lesion(lesions[0])) if lesions else NOTHING}</td></tr>"
        )
    return html_table("Each date", columns, rows)


def _step(comparison: Comparison, step: StepFacts) -> str:
    between = comparison.days_between(step)
    when = f", {between} days" if between is not None else ""
    columns = (
        Column("Region"),
        *(Column(name, number=True) for name in ("Earlier", "Later", "Change", "Percent", "Interval of the change")),
        Column("What may be said"),
    )
    rows = []
    for key, change in step.changes.items():
        interval = (
            NOTHING
            if change.low_ml is None or change.high_ml is None
            else f"{signed(change.low_ml)} to {signed(change.high_ml)} ml"
        )
        percent = NOTHING if change.percent is None else signed_percent(change.percent)
        cells = (
            f"{millilitres(change.earlier_ml)} ml",
            f"{millilitres(change.later_ml)} ml",
            f"{signed(change.change_ml)} ml",
            percent,
            interval,
        )
        numbers = "".join(f'<td class="number">{cell}</td>' for cell in cells)
        name = escape(f"{key} {NAMES.get(key, '')}")
        rows.append(f'<tr><th scope="row">{name}</th>{numbers}<td>{escape(change.direction)}</td></tr>')
    lesions = [
        f'<tr><th scope="row">{escape(match.fate)}</th><td>{_numbers(match.earlier)}</td>'
        f"<td>{_numbers(match.later)}</td>"
        f'<td class="number">{millilitres(match.earlier_ml)} ml</td>'
        f'<td class="number">{millilitres(match.later_ml)} ml</td></tr>'
        for match in step.lesions
    ]
    heads = (*map(Column, ("Fate", "Earlier lesions", "Later lesions")), Column("Earlier", True), Column("Later", True))
    matched = html_table("Lesions", heads, lesions) if lesions else "<p>No lesion at either date.</p>"
    fit = step.registration
    laid = (
        f'<p class="soft">Laid on each other by {escape(fit.sequence)}: turned by {fit.rotation_deg:.1f} degrees, '
        f"{fit.shift_mm:.1f} mm in the tumour; mutual information {fit.mutual_information:.2f}.</p>"
    )
    title = f"From date {step.earlier + 1} to date {step.later + 1}{when}"
    return (
        f"<h2>{title}</h2>{html_table('Volumes', columns, rows)}{matched}<p>{escape(describe_targets(step))}.</p>{laid}"
    )


def describe_targets(step: StepFacts) -> str:
    """What the sum of products over the earlier date's targets became, in one line."""
    sums = sums_of(step.targets)
    if sums is None or step.sum_of_products_percent is None:
        return f"Sum of products: no change in per cent, {step.targets_note}"
    numbers = ", ".join(str(number) for target in step.targets for number in target.earlier)
    note = f"; {step.targets_note}" if step.targets_note else ""
    percent = signed_percent(step.sum_of_products_percent)
    return f"Sum of products of the earlier targets ({numbers}): {sums[0]:.0f}, then {sums[1]:.0f} mm2: {percent}{note}"


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers)) or NOTHING

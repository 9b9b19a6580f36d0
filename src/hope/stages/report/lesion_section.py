"""The report's section on lesions: their diameters as a table and, where they were drawn, as a picture."""

from __future__ import annotations

import base64
from html import escape
from typing import Final

from hope.contract.measurements import LesionFacts, Measurements, describe_rule
from hope.domain.wording import millilitres
from hope.stages.report.report_sections import NOTHING, Column, html_table

MOST_ROWS: Final = 20


def lesion_section(found: Measurements | None, picture_png: bytes) -> str:
    """The section's HTML; empty where nothing was measured.

    Args:
        found: the lesions, the largest first.
        picture_png: slices with the diameters; empty where there is none.
    """
    if found is None or not (found.lesions or found.smaller):
        return ""
    columns = (
        Column("Lesion"),
        Column("Volume", number=True),
        Column("Diameters", number=True),
        Column("Range", number=True),
        Column("Product", number=True),
        Column("Measurable"),
    )
    table = html_table(
        "Perpendicular diameters on the scan's own axial slices", columns, map(_row, found.lesions[:MOST_ROWS])
    )
    targets = sum(lesion.target for lesion in found.lesions)
    sums = (
        f"Sum over {targets} {'target' if targets == 1 else 'targets'}: products {found.sum_of_products_mm2:.0f} "
        f"mm\u00b2, longest diameters {found.sum_of_longest_mm:.1f} mm."
        if targets
        else "No lesion is measurable, so there is no sum."
    )
    left_out = len(found.lesions) - MOST_ROWS
    more = f" {left_out} smaller lesions are in lesions.csv." if left_out > 0 else ""
    small = (
        f" Components below {found.rule.least_ml:g} ml that were not measured: {found.smaller}."
        if found.smaller
        else ""
    )
    rule = describe_rule(found.rule)
    note = f'<p>{sums}{more}{small}</p><p class="soft">Rule: {escape(rule)}. Touching lesions are one lesion.</p>'
    return f"<h2>Lesions</h2>\n{_picture(picture_png)}{table}{note}"


def _row(lesion: LesionFacts) -> str:
    """One lesion."""
    head = f'<th scope="row">{lesion.number}{" (target)" if lesion.target else ""}</th>'
    axial = lesion.axial
    if axial is None:
        return f'<tr>{head}<td class="number">{millilitres(lesion.ml)} ml</td><td colspan="4">{NOTHING} solid</td></tr>'
    long, short = axial.long, axial.short
    word = "yes" if lesion.measurable else "no"
    near = " <strong>near the limit</strong>" if lesion.near_limit else ""
    return (
        f'<tr>{head}<td class="number">{millilitres(lesion.ml)} ml</td>'
        f'<td class="number">{long.mm:.1f} \u00d7 {short.mm:.1f} mm</td>'
        f'<td class="number">{long.low_mm:.1f} to {long.high_mm:.1f} \u00d7 {short.low_mm:.1f} to '
        f"{short.high_mm:.1f} mm</td>"
        f'<td class="number">{axial.product_mm2:.0f} mm\u00b2</td><td>{word}{near}</td></tr>'
    )


def _picture(picture_png: bytes) -> str:
    if not picture_png:
        return ""
    data = base64.b64encode(picture_png).decode("ascii")
    alt = "Axial slices of the largest lesions, each with its outline and its two perpendicular diameters."
    caption = (
        "Each lesion on the slice with the largest product of both diameters. Radiological view: the patient's left is "
        "on the right."
    )
    image = f'<img alt="{alt}" src="data:image/png;base64,{data}">'
    return f'<figure class="lesions">{image}\n<figcaption>{caption}</figcaption></figure>\n'

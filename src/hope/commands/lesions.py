"""What commands print of lesions and their diameters."""

from __future__ import annotations

import click

from hope.contract.measurements import Measurements, describe_lesion
from hope.domain.wording import millilitres

MOST_PRINTED = 8
"""Lesions that are printed one by one; all of them are in the files."""


def print_lesions(found: Measurements) -> None:
    """One line for each lesion, then the sums over the targets."""
    for lesion in found.lesions[:MOST_PRINTED]:
        click.echo(f"  lesion {lesion.number}  {millilitres(lesion.ml):>9} ml   {describe_lesion(lesion)}")
    if (more := len(found.lesions) - MOST_PRINTED) > 0:
        click.echo(f"  and {more} smaller {'lesion' if more == 1 else 'lesions'}")
    if found.smaller:
        click.echo(f"  components below {found.rule.least_ml:g} ml that were not measured: {found.smaller}")
    if targets := sum(lesion.target for lesion in found.lesions):
        click.echo(
            f"  targets   {targets}: sum of products {found.sum_of_products_mm2:.0f} mm2, "
            f"sum of longest diameters {found.sum_of_longest_mm:.1f} mm"
        )

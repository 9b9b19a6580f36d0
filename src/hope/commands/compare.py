"""``hope compare``: what changed between dates of one patient."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import HELP, PATH, REPLACE_RESULT

if TYPE_CHECKING:
    from hope.contract.comparison import Comparison


@click.command(short_help="What changed between dates of one patient.", context_settings=HELP)
@click.argument("visits", nargs=-1, required=True, type=PATH, metavar="EARLIER LATER...")
@click.option("-o", "--output", type=PATH, metavar="OUT", help="Write JSON, table, picture and report into OUT.")
@click.option(
    "--days",
    metavar="N,...",
    help="Days since the first date: of LATER, or of each later date, with commas. No date is asked for.",
)
@click.option("--dicom", "dicom", type=PATH, multiple=True, metavar="DIR", help="Instead: each date's DICOM directory.")
@click.option("--sessions", type=PATH, metavar="FILE", help="Instead: the subject's BIDS sessions.tsv.")
@click.option("--rules", type=PATH, metavar="FILE", help="Your site's table of response categories.")
@REPLACE_RESULT
def compare(
    visits: tuple[Path, ...],
    output: Path | None,
    days: str | None,
    dicom: tuple[Path, ...],
    sessions: Path | None,
    rules: Path | None,
    replace: bool,
) -> None:
    """Compare two or more dates of one patient: volumes with the interval of their change, and lesions.

    Each date is a result of hope segment, or a directory with a mask (<case>-seg.nii.gz) and its t1c. Later images
    are laid on earlier ones rigidly. A change is called larger or smaller only where the interval of the difference
    does not hold 0. Lesions are matched: same, new, gone, split, merged.

    Days come from --days, from the dates in DICOM headers (--dicom, once a date), or from acq_time in sessions.tsv
    for results named sub-<label>_ses-<label>; the last two put the dates in order. Only days since the first are kept.
    Each --dicom has to hold the scan that its result was made on; a caution says where that cannot be checked.

    A comparison of the same dates in OUT is replaced, also by one with further dates; one of other dates stays, unless
    you say --replace.

    \b
    hope compare results/first results/second -o change --days 92
    hope compare results/first results/second -o change --dicom scans/first --dicom scans/second

    Change after surgery lies outside what was validated. Research use only.
    """  # noqa: D301 - click reads the backspace
    from hope.commands.console import ConsoleProgress
    from hope.longitudinal.compare import compare_visits
    from hope.longitudinal.report import refuse_other_comparison, write_comparison
    from hope.longitudinal.visits import read_visit

    order, given = _in_time(visits, days, dicom, sessions)
    found = [read_visit(visits[number], _role(place, len(visits))) for place, number in enumerate(order)]
    if output is not None:
        refuse_other_comparison(found, output, replace=replace)
    unchecked: list[str] = []
    if dicom:
        from hope.longitudinal.dicom_check import check_directories

        unchecked = check_directories(found, dicom, order)
    if order != sorted(order):
        click.echo("hope: the dates were given in another order than that of time; they are compared in time", err=True)
    table = None
    if rules is not None:
        from hope.longitudinal.response import read_rules

        table = read_rules(rules)
    with ConsoleProgress() as progress:
        comparison, overlay = compare_visits(found, given, table.measure_rule() if table else None, progress)
    comparison = comparison.model_copy(update={"cautions": [*unchecked, *comparison.cautions]})
    if table is not None:
        from hope.longitudinal.response import with_response

        comparison = with_response(comparison, table)
    if output is not None:
        write_comparison(comparison, overlay, output, replace=replace)
    _print(comparison)
    if output is not None:
        click.echo(f"  report   {output / 'report.html'}")
    click.echo(f"  {comparison.disclaimer}")


def _print(comparison: Comparison) -> None:
    """Cautions, the change of each part, and what became of each lesion."""
    from hope.domain.wording import millilitres
    from hope.longitudinal.report import NO_CATEGORY, describe_targets, headline

    for caution in comparison.cautions:
        click.echo(f"  ? {caution}")
    click.echo(headline(comparison))
    step = comparison.steps[-1]
    for key, change in step.changes.items():
        earlier, later = millilitres(change.earlier_ml), millilitres(change.later_ml)
        interval = "" if change.low_ml is None else f"   ({change.low_ml:+.1f} to {change.high_ml:+.1f})"
        click.echo(f"  {key:<4}{earlier:>9} -> {later:>7} ml  {change.change_ml:+8.1f}{interval}")
    for match in step.lesions:
        earlier, later = (",".join(map(str, numbers)) or "-" for numbers in (match.earlier, match.later))
        sizes = f"{millilitres(match.earlier_ml)} -> {millilitres(match.later_ml)} ml"
        click.echo(f"  lesion {earlier} -> {later}  {match.fate}  {sizes}")
    click.echo(f"  {describe_targets(step)}")
    if comparison.response:
        click.echo(f"  {comparison.response.category or NO_CATEGORY} (imaging part only): {comparison.response.reason}")
    click.echo(f"  {comparison.limits}")


def _role(number: int, count: int) -> str:
    if count == 2:
        return ("EARLIER", "LATER")[number]
    return f"date {number + 1}"


def _in_time(
    visits: tuple[Path, ...], days: str | None, dicom: tuple[Path, ...], sessions: Path | None
) -> tuple[list[int], list[int] | None]:
    """The numbers of the dates in order, and days since the first where they are known."""
    from hope.domain.errors import InputError
    from hope.longitudinal.dates import put_in_order

    if sum(map(bool, (days, dicom, sessions))) > 1:
        raise InputError("days come from one place", fix="give --days, --dicom or --sessions")
    ordered = put_in_order([str(folder.absolute()) for folder in visits], dicom, sessions)
    return (list(range(len(visits))), _days(days, len(visits))) if ordered is None else ordered


def _days(text: str | None, count: int) -> list[int] | None:
    """Days of each date since the first, which is day 0."""
    from hope.domain.errors import InputError

    if text is None:
        return None
    try:
        days = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError("--days is not usable", expected="whole numbers with commas", got=text) from error
    # A number for every date has to begin with 0, which `compare_visits` checks.
    return [0, *days] if len(days) == count - 1 else days

"""``hope survival``: a survival model from a cohort table, and its use on a case."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES
from hope.domain.wording import counted

if TYPE_CHECKING:
    from hope.cohort.survival import Validation


@click.group(short_help="Fit a survival model on a cohort table; apply a published one.", context_settings=HELP)
def survival() -> None:
    """Fit a ridge Cox model on a cohort table, cross-validated; apply one that was published.

    Research use only. A model says what was seen in its cohort, and nothing of one patient's fate.
    """


@survival.command(context_settings=HELP)
@click.argument("cohort", type=PATH, metavar="COHORT.csv")
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE.json", help="Where the report goes.")
@click.option(
    "--dictionary", type=PATH, metavar="FILE", help="Data dictionary (JSON) of columns that are not built in."
)
@click.option("--results", type=PATH, metavar="DIR", help="Results of hope segment: adds ml_WT and ml_TC of each case.")
@click.option("--join", type=PATH, metavar="FILE.csv", help="A table of hope cohort table, joined by case_id.")
@click.option("--use", multiple=True, metavar="COLUMN", help="A column of numbers to take from it; may be repeated.")
@click.option(
    "--penalty",
    type=click.FloatRange(min=0),
    default=0.02,
    show_default=True,
    help="Of the squared coefficients, per case.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of folds and resampling.")
@REPLACE_FILES
def fit(
    cohort: Path,
    output: Path,
    dictionary: Path | None,
    results: Path | None,
    join: Path | None,
    use: tuple[str, ...],
    penalty: float,
    seed: int,
    replace: bool,
) -> None:
    """Fit and cross-validate. The table has case_id, days, event (0 or 1) and covariates; it is read, never copied.

    The report holds the C-index with its interval, the calibration slope and curve and the Kaplan-Meier curves of risk
    thirds, all on cases that the fit had not seen, and whether each covariate's effect changes over time (scaled
    Schoenfeld residuals). A model is in it only if the lower bound of C is above 0.5 and the slope
    lies in 0.7 to 1.3. Below 100 events, or 10 a covariate, nothing is fitted.

    The same fit once more gives the same report, so a FILE.json that holds anything else stays, unless you say
    --replace: a report that goes from hand to hand cannot hold a hash of its patients.

    \b
    hope survival fit cohort.csv -o survival.json
    hope survival fit cohort.csv --join features.csv --use wt_shape_Sphericity -o survival.json
    """  # noqa: D301 - click reads the backspace
    import json

    from hope.cohort.survival import check_cohort, fit_report, refuse_other_report, validate
    from hope.cohort.table import MEASURED, Joined, read_cohort, read_dictionary
    from hope.commands.batch import say_skipped
    from hope.domain.errors import InputError
    from hope.export.stored_result import left_out, volumes_of_case
    from hope.formats.atomic import write_together
    from hope.stages.report.made_from import refuse_other_bytes

    if bool(join) != bool(use):
        raise InputError("--join and --use belong together", expected="a table, and the columns that it gives")
    joined = Joined(join, use) if join else None
    measured = (lambda case: volumes_of_case(results, case, MEASURED)) if results is not None else None
    table = read_cohort(cohort, read_dictionary(dictionary) if dictionary else None, measured, joined)
    if results is not None:
        say_skipped(left_out(results), "results")
    check_cohort(table)
    if not replace:
        refuse_other_report(output, table, penalty, seed)
    validation = validate(table, penalty, seed)
    report = fit_report(table, penalty, validation)
    # Said first: a report of other cases that lies in the way is seen only now, after the work.
    _say(report, validation, len(table.names))
    files = {output: (json.dumps(report, indent=1) + "\n").encode()}
    refuse_other_bytes(files, replace=replace)
    write_together(files)


def _say(report: dict[str, Any], validation: Validation, covariates: int) -> None:
    click.echo(
        f"{counted(report['cases'], 'cases')}, {counted(report['events'], 'events')}, "
        f"{counted(covariates, 'covariates')}"
    )
    click.echo(
        f"  C-index {validation.c_index:.3f} ({validation.c_low:.3f} to {validation.c_high:.3f}), cross-validated"
    )
    click.echo(f"  calibration slope {validation.slope:.2f}")
    for entry in report["calibration_curve"]:
        groups = ", ".join(f"{one['foretold']:.0%} {one['observed']:.0%}" for one in entry["groups"])
        click.echo(f"  alive at day {entry['day']:.0f}, foretold and observed in fifths: {groups}")
    for name, one in report["proportional_hazards"].items():
        if one["changes"]:
            said = ", ".join(f"{value:+.2f}" for value in one["effects_early_to_late"])
            click.echo(f"  the effect of {name} changes over time (p {one['p']:.2g}): {said} early to late")
    word = "published: the model is in the report" if validation.publishable else "not published: a report only"
    click.echo(f"  {word} ({report['rule']})")
    click.echo(f"  {report['disclaimer']}")


@survival.command(context_settings=HELP)
@click.argument("model", type=PATH, metavar="MODEL.json")
@click.argument("values", nargs=-1, required=True, metavar="COLUMN=NUMBER...")
def apply(model: Path, values: tuple[str, ...]) -> None:
    """Say the risk third and the expected curve of one case, from a published model, inside its training range.

    A level of a category (sex=male) is 0 or 1, and at most one level of each category is 1.

    \b
    hope survival apply survival.json age_years=6 sex=male=1 ml_WT=42
    """  # noqa: D301 - click reads the backspace
    from hope.cohort.apply import apply_model, read_model, read_values

    found = read_model(model)
    said = apply_model(found, read_values(values))
    click.echo(f"risk third: {said.third} (of the {found['cases']} cases of the fit)")
    for days, alive, low, high in said.curve:
        click.echo(f"  day {days:6.0f}   {alive:6.1%} alive in the model ({low:.1%} to {high:.1%})")
    click.echo("  In brackets: where the curve would lie in 95 % if other cases of the same kind had been fitted.")
    low, high = found["c_index"][1:]
    click.echo(f"  The model orders pairs rightly in {low:.0%} to {high:.0%}: it tells little of one patient.")
    click.echo(f"  {found['disclaimer']}")

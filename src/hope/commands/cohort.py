"""``hope cohort``: many results as one table."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES


@click.group(short_help="Many results as one table.", context_settings=HELP)
def cohort() -> None:
    """Put many results together."""


@cohort.command("table", short_help="Write one row a case, and what the columns mean.", context_settings=HELP)
@click.argument("results", metavar="RESULTS", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, metavar="FILE.csv", help="Where the table goes.")
@click.option("--radiomics", is_flag=True, help="Add 386 columns: shape and texture of the whole tumour.")
@REPLACE_FILES
def table(results: Path, out: Path, radiomics: bool, replace: bool) -> None:
    """Write a table of results: volumes, intervals, expected quality, warnings, model and versions.

    RESULTS is what hope segment wrote: a directory of case directories. Beside FILE.csv lies FILE-dictionary.json: what
    each column means, and its unit. Nothing of identity is in a result, so none is in the table. A table of the same
    results is replaced, also by one of more results; one of others, and one that was edited, stays, unless you say
    --replace.

    \b
    hope cohort table results -o cohort.csv
    """  # noqa: D301 - click reads the backspace
    from hope.commands.batch import say_skipped
    from hope.domain.errors import InputError
    from hope.export.cohort_table import cohort_table, data_dictionary, refuse_other_table
    from hope.export.stored_result import left_out, read_results
    from hope.export.tumour_features import features_of_all
    from hope.export.writing import write_files

    if out.suffix.lower() != ".csv":
        raise InputError("-o names no table", expected="a file that ends in .csv", got=out.suffix or "no ending")
    every = read_results(results)
    say_skipped(left_out(results), "results")
    for result in every:
        try:
            result.check_mask()
        except InputError as error:
            raise error.about(result.case_id) from error
    explained = out.with_name(f"{out.stem}-dictionary.json")
    if not replace:
        refuse_other_table(out, explained, every)
    features, reasons = features_of_all(every) if radiomics else (None, {})
    for case, reason in reasons.items():
        click.echo(f"{case} has no radiomics: {reason}", err=True)
    contents = {
        out.name: cohort_table(every, features).encode(),
        explained.name: data_dictionary(radiomics).encode(),
    }
    if not replace:  # once more: radiomics take minutes
        refuse_other_table(out, explained, every)
    for path in write_files(out.parent, contents, replace=True):
        click.echo(str(path))

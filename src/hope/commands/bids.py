"""``hope bids``: results as a data set of BIDS derivatives."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH


@click.group(short_help="Results as BIDS derivatives.", context_settings=HELP)
def bids() -> None:
    """Hand results on as a BIDS data set. A BIDS data set as input needs no command: give its root to hope segment."""


@bids.command("export", short_help="Write results as BIDS derivatives.", context_settings=HELP)
@click.argument("results", metavar="RESULTS", type=PATH)
@click.option("-o", "--out", type=PATH, required=True, metavar="DERIVATIVES", help="The data set's new directory.")
def export(results: Path, out: Path) -> None:
    """Write masks and aligned images under BIDS names, with sidecars and a table of labels.

    RESULTS is what hope segment wrote: a directory of case directories, or one case. BIDS labels hold no hyphens, so
    case-f73e becomes sub-casef73e. Figures, report and picture lie in hope/, which .bidsignore names.

    \b
    hope bids export results -o derivatives/hope
    """  # noqa: D301 - click reads the backspace
    from hope.commands.batch import say_skipped
    from hope.export.bids import export_derivatives
    from hope.export.stored_result import left_out, read_results

    every = read_results(results)
    say_skipped(left_out(results), "results")
    click.echo(str(export_derivatives(every, out)))

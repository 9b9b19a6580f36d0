"""hope train progress: how far a run is, as a table and a picture."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH


@click.command(short_help="Say how far a training run is, and draw its curves.", context_settings=HELP)
@click.argument("run", type=PATH, metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def progress(run: Path, as_json: bool) -> None:
    """Print the last figures of RUN, or of every phase of a schedule in RUN, and write RUN/curves.png.

    It reads the run's log and may be used at any time, also while the run goes on. Dice is the mean over cases that the
    run does not train on: synthetic ones, and the real cases of the fold that a phase leaves out.
    """
    import json

    from hope.training.run_log import draw_curves, table_of

    rows = table_of(run)
    draw_curves(run, run / "curves.png")
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    columns = list(rows[0])
    cells = [[str(row[column]) if row[column] is not None else "-" for column in columns] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]
    for line in (columns, *cells):
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    click.echo(f"curves in {run / 'curves.png'}")

"""``hope deidentify-report``: what of a result is free of identity."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES


@click.command("deidentify-report", short_help="What of a result is free of identity, and why.", context_settings=HELP)
@click.argument("result", metavar="RESULT", type=PATH)
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the findings as JSON.")
@REPLACE_FILES
def deidentify_report(result: Path, json_file: Path | None, replace: bool) -> None:
    """List each de-identification code of DICOM PS3.15 (CID 7050) as done, not done or not applicable.

    RESULT is the directory of one case. The files are looked at: text in headers, pictures that may show a face, files
    that were added since. Each line says what shows it. Findings on the same scans in FILE are replaced, those on
    others stay, unless you say --replace.

    \b
    hope deidentify-report results/case
    """  # noqa: D301 - click reads the backspace
    from hope.export.deidentification import findings_of, table_of
    from hope.export.stored_result import read_result
    from hope.stages.report.made_from import refuse_other_file, write_json

    one = read_result(result)
    if json_file is not None:
        refuse_other_file(json_file, one.made_from, replace=replace)
    findings = findings_of(one)
    if json_file is not None:
        record = {"scheme": "DCM", "context_group": "7050", "codes": [finding.to_json() for finding in findings]}
        write_json(json_file, record, one.made_from, replace=replace)
    click.echo(table_of(findings))

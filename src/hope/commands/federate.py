"""``hope federate``: jobs of several hospitals, on NVIDIA FLARE."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH
from hope.domain.extras import require_extras


@click.group(short_help="Jobs of several hospitals on NVIDIA FLARE: cases stay.", context_settings=HELP)
def federate() -> None:
    """Evaluate and harmonize across hospitals: figures travel, cases stay.

    A job is a directory that a deployment of NVIDIA FLARE runs. It names classes of HOPE, which is installed at the
    sites, and holds no code. Which cases a site gives, and how few are too few, is its own setting (HOPE_FEDERATED_*).
    """


@federate.group(short_help="Write a job for a FLARE deployment.", context_settings=HELP)
def export() -> None:
    """Write a job that a FLARE deployment runs."""


_HOURS = click.option(
    "--hours",
    type=click.FloatRange(min=0.01, max=1000),
    default=24.0,
    show_default=True,
    help="How long the server waits for the sites.",
)


@export.command("evaluate", short_help="How well a model does at each site.", context_settings=HELP)
@click.option("-o", "--output", type=PATH, required=True, metavar="JOB", help="Directory of the job; a new one.")
@click.option("--model", required=True, metavar="ID", help="Bundle that every site has; see `hope models list`.")
@_HOURS
def evaluate(output: Path, model: str, hours: float) -> None:
    """Write a job that runs a model on each site's labelled cases and collects n and means of the scores.

    A site answers Dice, HD95 and lesion-wise scores per region, with quantiles from 10 cases on, and how many cases
    failed. It refuses if its bundle of that id has another hash than ours, or if it has too few cases.

    \b
    hope federate export evaluate -o job --model starter
    """  # noqa: D301 - click reads the backspace
    from hope.federated.jobs import write_job
    from hope.models.bundle import SEGMENTER
    from hope.services import Services
    from hope.settings import Settings

    bundle = Services(Settings.from_environment()).models.get(model, SEGMENTER)
    write_job(output, "evaluate", bundle.id, bundle.sha256, hours)
    click.echo(f"job: {output}, model {bundle.id}, sha256 {bundle.sha256}")


@export.command("style", short_help="A common intensity style of all sites.", context_settings=HELP)
@click.option("-o", "--output", type=PATH, required=True, metavar="JOB", help="Directory of the job; a new one.")
@_HOURS
def style(output: Path, hours: float) -> None:
    """Write a job that sums histograms of the sites' healthy brains into one style file.

    A site gives one histogram for each sequence, in units of each brain's median, summed over its cases. The result's
    style.json is taken by `hope harmonize INPUT --target style.json -o OUT`.

    \b
    hope federate export style -o job
    """  # noqa: D301 - click reads the backspace
    from hope.federated.jobs import write_job

    write_job(output, "style", hours=hours)
    click.echo(f"job: {output}")


@federate.command("try", short_help="Run a job here, with FLARE's simulator.", context_settings=HELP)
@click.argument("job", type=PATH, metavar="JOB")
@click.option(
    "--sites",
    "sites",
    type=PATH,
    multiple=True,
    required=True,
    metavar="DIR",
    help="A site's cases; once for each site.",
)
@click.option("-o", "--output", type=PATH, required=True, metavar="OUT", help="Results go to OUT.")
@click.option(
    "--at-once", type=click.IntRange(min=1), default=2, show_default=True, help="Sites that work at the same time."
)
@click.option("--keep", type=PATH, metavar="DIR", help="Keep FLARE's workspace with its logs in DIR.")
def try_(job: Path, sites: tuple[Path, ...], output: Path, at_once: int, keep: Path | None) -> None:
    """Run JOB on this machine as if each DIR were a site, and write what the server would have.

    The sites get the site policy of `hope federate policy`. Nothing stays behind but OUT, and DIR of --keep.

    \b
    hope federate try job --sites hospital-a --sites hospital-b -o result
    """  # noqa: D301 - click reads the backspace
    require_extras("hope federate try", "federated")
    from hope.federated.trying import try_job

    for name in try_job(job, sites, output, at_once, keep):
        click.echo(str(output / name))


@federate.command("policy", short_help="Write the files that protect a site.", context_settings=HELP)
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="Where the files go.")
def policy(output: Path) -> None:
    """Write resources.json, privacy.json and authorization.json for a site's local/ directory.

    With them only the jobs of HOPE run at the site, no job brings code, and only aggregates leave. They are read by
    FLARE; resources.json is to be merged into the one that is there.
    """
    from hope.federated.policy import write_policy

    for path in write_policy(output):
        click.echo(str(path))

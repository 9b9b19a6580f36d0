"""``hope federate``: jobs of several hospitals, on NVIDIA FLARE."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, PATH, REPLACE_FILES, REPLACE_RESULT
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
    from hope.federated.jobs import job_files, write_job
    from hope.models.bundle import SEGMENTER
    from hope.services import Services
    from hope.settings import Settings

    bundle = Services(Settings.from_environment()).models.get(model, SEGMENTER)
    write_job(output, job_files("evaluate", bundle.id, bundle.sha256, hours))
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
    from hope.federated.jobs import job_files, write_job

    write_job(output, job_files("style", "", "", hours))
    click.echo(f"job: {output}")


@export.command("train", short_help="Train one model over all sites.", context_settings=HELP)
@click.option("-o", "--output", type=PATH, required=True, metavar="JOB", help="Directory of the job; a new one.")
@click.option("--model", required=True, metavar="ID", help="Bundle to start from, one that `hope train` made.")
@click.option("--id", "model_id", default="federated", show_default=True, metavar="ID", help="Id of the new bundle.")
@click.option("--rounds", type=click.IntRange(1, 1000), default=10, show_default=True, help="Rounds of averaging.")
@click.option("--steps", type=click.IntRange(1, 10_000), default=40, show_default=True, help="Steps of a site a round.")
@click.option("--rate", type=float, default=5e-4, show_default=True, help="Peak of the learning rate.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of everything random.")
@click.option(
    "--least-sites",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="A round needs so many usable answers.",
)
@click.option(
    "--alone/--not-alone",
    default=True,
    show_default=True,
    help="Have each site train a model alone too, to compare with; takes as long again.",
)
@click.option(
    "--privacy",
    type=(click.FloatRange(0, 100, max_open=True), click.FloatRange(min=0, min_open=True)),
    metavar="PERCENTILE GAMMA",
    help="Sites keep back the changes below PERCENTILE and cut off those above GAMMA a step.",
)
@_HOURS
def train(
    output: Path,
    model: str,
    model_id: str,
    rounds: int,
    steps: int,
    rate: float,
    seed: int,
    least_sites: int,
    alone: bool,
    privacy: tuple[float, float] | None,
    hours: float,
) -> None:
    """Write a job that trains a model over the sites: federated averaging of differences of weights.

    In each round a site trains some steps on its own labelled cases and gives the difference of the weights with its
    number of cases; the server averages. A site keeps a quarter of its cases aside. On these every model is measured at
    the end: the result's table.csv. The result's bundle.zip is added by `hope models add`. A site has to allow the job:
    its HOPE_FEDERATED_JOBS must hold train.

    \b
    hope federate export train -o job --model starter --id ours
    """  # noqa: D301 - click reads the backspace
    from hope.federated.jobs import training_files, write_job
    from hope.federated.plan import read_plan
    from hope.federated.training_outcome import base_of
    from hope.models.bundle import SEGMENTER
    from hope.models.registry import check_id
    from hope.services import Services
    from hope.settings import Settings

    check_id(model_id)
    percentile, gamma = privacy or (None, None)
    plan = read_plan(
        {"id": model_id, "rounds": rounds, "steps": steps, "rate": rate, "seed": seed, "least_sites": least_sites}
        | {"alone": alone, "percentile": percentile, "gamma": gamma}
    )
    bundle = Services(Settings.from_environment()).models.get(model, SEGMENTER)
    base_of(bundle.id, bundle.sha256, plan)
    write_job(output, training_files(bundle.id, bundle.sha256, plan, hours))
    click.echo(f"job: {output}, model {bundle.id}, sha256 {bundle.sha256}")


@federate.command("try", short_help="Run a job here, with a directory for each site.", context_settings=HELP)
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
@click.option("--poc", is_flag=True, help="Real server and client processes with certificates and TLS; slower.")
@REPLACE_RESULT
def try_(
    job: Path, sites: tuple[Path, ...], output: Path, at_once: int, keep: Path | None, poc: bool, replace: bool
) -> None:
    """Run JOB on this machine as if each DIR were a site, and write what the server would have.

    FLARE's simulator runs it; with --poc a real server and a client for each site, with certificates of their own. The
    sites get the site policy of `hope federate policy`. Nothing stays behind but OUT, and DIR of --keep.
    What lies there is replaced if it is of the same job and cases, else it stays, unless you say --replace. The fields
    `input` and `files` of OUT/result.json tell which it is; no site sends them.

    \b
    hope federate try job --sites hospital-a --sites hospital-b -o result
    """  # noqa: D301 - click reads the backspace
    require_extras("hope federate try", "federated")
    from hope.federated.trying import try_job
    from hope.stages.report.result_folder import Destination

    for name in try_job(job, sites, Destination(output, replace), at_once, keep, poc):
        click.echo(str(output / name))


@federate.command("policy", short_help="Write the files that protect a site.", context_settings=HELP)
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="Where the files go.")
@REPLACE_FILES
def policy(output: Path, replace: bool) -> None:
    """Write resources.json, privacy.json and authorization.json for a site's local/ directory.

    With them only the jobs of HOPE run at the site, no job brings code, and only aggregates leave. They are read by
    FLARE; resources.json is to be merged into the one that is there, so a file that holds something else stays, unless
    you say --replace.
    """
    from hope.federated.policy import write_policy

    for path in write_policy(output, replace=replace):
        click.echo(str(path))

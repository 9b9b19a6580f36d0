"""hope aws: what goes through AWS, tried without AWS."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import HELP, REPLACE_FILES
from hope.domain.extras import require_extras

DEFAULT_PORT = 9200


@click.group(context_settings=HELP, short_help="The AWS route on this machine: S3 and an endpoint, served locally.")
def aws() -> None:
    """Try the route over an S3 bucket and an asynchronous SageMaker endpoint without AWS."""


@aws.command(short_help="Serve S3, SNS, SQS and an asynchronous endpoint until Ctrl+C.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="TCP port on the loopback address that stands for all of AWS.",
)
@click.option(
    "--s3-port",
    type=click.IntRange(1, 65535),
    help="TCP port on the loopback address where S3, SNS and SQS listen; without it any that is free.",
)
@click.option(
    "--container",
    metavar="URL",
    default="",
    help="An endpoint that runs already, such as http://127.0.0.1:8080; else `hope endpoint` is started. "
    "It needs --s3-port: start it with HOPE_S3_ENDPOINT_URL=http://127.0.0.1:S3-PORT, then this.",
)
@click.option("--bucket", default="hope-proxy", show_default=True, help="Name of the bucket that is made.")
@click.option(
    "--env-file", type=click.Path(path_type=Path, dir_okay=False), help="Write the variables there too, to be sourced."
)
@REPLACE_FILES
def local(port: int, s3_port: int | None, container: str, bucket: str, env_file: Path | None, replace: bool) -> None:
    """Serve the AWS route on this machine: a bucket, notifications, and `hope endpoint` behind an emulated SageMaker.

    Nothing leaves this machine, no account is used, and everything is in memory: it is gone when this ends. Printed are
    the variables under which `hope up` and `hope segment` use it; with a real endpoint only their values differ.

    \b
    Example:
      hope aws local --env-file aws.env
      (in another terminal)  . ./aws.env && hope segment CASE -o results

    \b
    With an endpoint of your own (a container, say), in this order:
      HOPE_S3_ENDPOINT_URL=http://127.0.0.1:9300 AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local hope endpoint
      hope aws local --s3-port 9300 --container http://127.0.0.1:8080 --env-file aws.env

    Needs the extras: pip install 'hope-platform[aws-local,server]'.

    Research use only. Not a medical device.
    """  # noqa: D301 - click reads the backspace
    require_extras("hope aws local", *(["aws-local"] if container else ["aws-local", "server"]))
    import threading

    from hope.formats.private_directory import private_directory
    from hope.localaws.aws_local import LocalAws, LocalOptions

    if env_file and not replace:
        _refuse_other(env_file)
    # The log of the endpoint may be needed after an error, and holds nothing of a case.
    with private_directory() as folder:
        options = LocalOptions(bucket=bucket, port=port, container=container.rstrip("/"), s3_port=s3_port or 0)
        with LocalAws(folder, options) as local_aws:
            lines = _exports(local_aws.environment())
            if env_file:
                _write(env_file, lines)
            click.echo(lines)
            click.echo(f"the endpoint loads its model; its log: {folder}/endpoint.log", err=True)
            try:
                local_aws.wait_ready()
                click.echo("ready; research use only, not a medical device (Ctrl+C stops it)", err=True)
                threading.Event().wait()
            except KeyboardInterrupt:
                click.echo("stopping", err=True)


_FIRST = "unset AWS_PROFILE AWS_SESSION_TOKEN"


def _exports(environment: dict[str, str]) -> str:
    import shlex

    given = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join([_FIRST, *given])


def _refuse_other(path: Path) -> None:
    """Refuse to replace what does not look as an earlier call left it: other variables are the user's own."""
    from hope.domain.errors import OutputError
    from hope.formats.atomic import output_error
    from hope.stages.report.made_from import foreign

    try:
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    except OSError as error:
        raise output_error(path.name, error) from error
    first, *lines = text.splitlines() or [_FIRST]
    if first != _FIRST or not all(line.startswith("export ") for line in lines):
        raise OutputError(foreign(path.name, "one that holds something else"))


def _write(path: Path, lines: str) -> None:
    from hope.formats.atomic import write_together

    write_together({path: f"{lines}\n".encode()})

"""hope up: the whole platform in one process."""

from __future__ import annotations

import click

from hope.commands.serve import options


@click.command(short_help="The whole platform on this machine: web page, REST, pipeline.")
@options
def up(host: str | None, port: int | None) -> None:
    """Serve the web page and the REST interface, and do all the work, on this machine.

    No server, account or network is needed. Everything is kept in the data directory (HOPE_DATA_DIR) until its session
    is deleted: by its user, or after a day without use (HOPE_SESSION_HOURS).

    \b
    Examples:
      hope up
      hope up --port 9000

    Research use only. Not a medical device.
    """  # noqa: D301 - click reads the backspace
    from hope.commands.serve import serve
    from hope.contract.stages import STAGES

    serve(host, port, STAGES)

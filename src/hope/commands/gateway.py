"""hope gateway: HTTP for many users, work for workers elsewhere."""

from __future__ import annotations

import click

from hope.commands.serve import options


@click.command(short_help="Web page and REST only; `hope worker` does the work.")
@options
def gateway(host: str | None, port: int | None) -> None:
    """Serve the web page and the REST interface; workers on this or other machines do the stages.

    Gateway and workers share HOPE_DATABASE_URL (Postgres) and HOPE_BLOBS_URL (S3). Any address but loopback needs
    authentication: HOPE_API_TOKENS_FILE or HOPE_OIDC_ISSUER.

    \b
    Example:
      hope gateway --host 0.0.0.0

    Research use only. Not a medical device.
    """  # noqa: D301 - click reads the backspace
    from hope.commands.serve import serve

    serve(host, port, ())

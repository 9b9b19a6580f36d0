"""hope token: make an API token."""

from __future__ import annotations

from pathlib import Path

import click

from hope.commands.inputs import PATH


@click.command(short_help="Make an API token for a program that uses the gateway.")
@click.argument("name", metavar="NAME")
@click.option("--file", "file", type=PATH, metavar="FILE", help="Append the line to this tokens file (mode 0600).")
def token(name: str, file: Path | None) -> None:
    """Make an API token; NAME is what the audit log will say, so name the program, not a person.

    The token is printed once, on stdout, and kept nowhere. The line for the tokens file, with its hash, goes to FILE or
    else to stderr. The gateway reads the file that HOPE_API_TOKENS_FILE names, and sees changes at once; to revoke a
    token, delete its line. Send a token with POST /api/session in the header X-Hope-Token.
    """
    from hope.web.auth.api_tokens import append_line, new_api_token

    secret, line = new_api_token(name)
    if file is None:
        click.echo(f"add this line to the file that HOPE_API_TOKENS_FILE names:\n{line}", err=True)
    else:
        append_line(file, line)
    click.echo(secret)

"""hope audit: read the audit log, and check that nobody changed it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hope.commands.status import OUR_FAULT
from hope.domain.errors import InputError
from hope.domain.extras import require_extras

if TYPE_CHECKING:
    from hope.domain.audit import Head, Verification
    from hope.jobs.audit_log import AuditLog

_HEAD = re.compile(r"([0-9a-f]{64}):([1-9][0-9]{0,17})")


class _HeadType(click.ParamType[Any]):
    """``HASH:NUMBER`` as ``hope audit verify`` printed it."""

    name = "hash:number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Head:
        """Parse it, or say what is expected."""
        from hope.domain.audit import Head

        found = _HEAD.fullmatch(str(value).strip().lower())
        if found is None:
            self.fail(
                f"{str(value)!r} is not 64 hex digits, a colon and a number, as `hope audit verify` prints", param
            )
        return Head(int(found.group(2)), found.group(1))


def _log() -> AuditLog:
    require_extras("hope audit", "server")
    from hope.jobs.audit_log import AuditLog
    from hope.services import Services
    from hope.settings import Settings

    settings = Settings.from_environment()
    _check_database(settings.platform.database_url)
    return AuditLog(Services(settings).store)


def _check_database(url: str) -> None:
    """An empty database that was made just now would verify as whole; that must not be mistaken for the log."""
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.is_file():
        raise InputError(
            "there is no database to read the audit log from",
            expected="the one that the gateway uses",
            got=str(file),
            fix="set HOPE_DATABASE_URL or HOPE_DATA_DIR as the gateway has them",
        )


@click.group(short_help="Read the audit log and check its hash chain.")
def audit() -> None:
    """Who did what, when, with what outcome: without patient data, in a hash chain.

    Reads the database that HOPE_DATABASE_URL names (default: the one in the data folder).
    """


@audit.command("verify")
@click.option("--head", type=_HeadType(), metavar="HASH:NUMBER", help="A head that you noted: the log must contain it.")
def verify(head: Head | None) -> None:
    """Check the chain from the first entry to the last. Exit status 1 if it does not hold.

    \b
    The chain shows entries that were changed, reordered or taken out of the middle. Entries cut off its end, or a log
    written anew as a whole, show only against a head noted elsewhere: keep the printed HASH:NUMBER on another machine
    and give it with --head.
    """  # noqa: D301 - click reads the backspace
    result = _log().verify(head)
    click.echo(describe(result, head), err=not result.whole)
    if not result.whole:
        raise SystemExit(OUR_FAULT)


@audit.command("show")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only entries later than number N.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, with the hashes.")
def show(after: int, as_json: bool) -> None:
    """One line per entry: number, time (UTC), actor, action, target, outcome.

    The target is a hash of the session's or case's id; a deletion receipt carries the same hash as its reference.
    """
    for entry in _log().entries(after):
        if as_json:
            click.echo(json.dumps(asdict(entry)))
            continue
        at = datetime.fromtimestamp(entry.at, UTC).isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
        click.echo(f"{entry.number:>6}  {at}  {entry.actor:<24} {entry.action:<18} {entry.target:<32}  {entry.outcome}")


def describe(result: Verification, head: Head | None) -> str:
    """What a verification found, for people."""
    if not result.whole:
        return (
            f"BROKEN at entry {result.bad}: {result.reason}.\n"
            f"{result.entries} entries before it hold; the last of them is {result.head}:{result.entries}"
        )
    if not result.entries:
        return "ok: the log is empty"
    text = f"ok: {result.entries} entries\nhead {result.head}:{result.entries}"
    if head is None:
        return f"{text}\nNote the head on another machine; with --head it shows a log that was cut off or written anew."
    return f"{text}\nThe noted entry {head.number} is in it."

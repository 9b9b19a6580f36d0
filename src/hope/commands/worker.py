"""hope worker: does stages that gateways ask for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from hope.contract.stages import STAGES, Stage
from hope.domain.extras import require_extras

if TYPE_CHECKING:
    from hope.jobs.node import Node

_HELP = """\
Take work from the queue until told to stop.

STAGE is one of {stages}; without one, all of them. Run one segment worker for each
GPU, with --slots 1. A worker may be killed at any time: another one takes up its work within seconds.

\b
Examples:
  hope worker
  hope worker segment --slots 1

Research use only. Not a medical device.
"""


@click.command(help=_HELP.format(stages=", ".join(STAGES)), short_help="Do stages for gateways elsewhere.")
@click.argument("stages", nargs=-1, metavar="[STAGE]...")
@click.option("--slots", type=click.IntRange(1, 64), help="Stages at once.  [default: HOPE_WORKERS, 2]")
@click.option("--check", is_flag=True, help="Exit 0 if a worker on this machine is alive, 1 if not; do nothing else.")
def worker(stages: tuple[str, ...], slots: int | None, check: bool) -> None:
    """Work until told to stop."""
    from hope.domain.errors import InputError
    from hope.settings import Settings

    unknown = [name for name in stages if name not in list(STAGES)]
    if unknown:
        raise InputError("there is no such stage", expected=", ".join(STAGES), got=", ".join(unknown))
    settings = Settings.from_environment()
    if check:
        from hope.jobs.node import is_alive

        if not is_alive(settings.data_dir, settings.platform.lease_seconds):
            raise click.exceptions.Exit(1)
        return
    _work([Stage(name) for name in stages] or list(STAGES), slots or settings.platform.workers)


def _work(stages: Sequence[Stage], slots: int) -> None:
    require_extras("hope worker", "server")
    import signal
    import threading

    from hope.commands.loading import loading

    ended = threading.Event()
    with loading():
        node = _node(stages, slots)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        node.start()
    click.echo(f"worker ready: {', '.join(node.stages)}", err=True)
    ended.wait()
    node.leave()


def _node(stages: Sequence[Stage], slots: int) -> Node:
    """A node for these stages that has not begun to work."""
    import os

    from hope.jobs.node import Node
    from hope.services import Services
    from hope.settings import Settings
    from hope.web.middleware.logs import configure_logging

    configure_logging()
    os.umask(0o077)  # what this process and its children write is its user's alone
    node = Node(Services(Settings.from_environment()), stages, pipelines=False, slots=slots)
    node.keep_to_itself()
    return node

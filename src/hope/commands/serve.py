"""What `hope up` and `hope gateway` share: a node that also answers HTTP."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from hope.contract.stages import Stage
from hope.domain.extras import require_extras

if TYPE_CHECKING:
    from socket import socket as Socket

    from hope.jobs.node import Node
    from hope.web.connections import GatewayServer

READER_KEEP_SECONDS = 120.0
"""How long an idle child stays that reads uploads."""


def options(command: Any) -> Any:
    """Add --host and --port."""
    command = click.option("--port", type=click.IntRange(1, 65535), help="TCP port.  [default: HOPE_PORT or 8080]")(
        command
    )
    return click.option("--host", help="Address to listen on; any but loopback needs authentication configured.")(
        command
    )


def serve(host: str | None, port: int | None, stages: Collection[Stage]) -> None:
    """Serve HTTP and drive runs; do ``stages`` in this process too.

    Raises:
        InputError: if the address is public and no authentication is configured, or is in use, if the limit of open
            files is too low, or the extra [server] is missing.
    """
    require_extras("hope up" if stages else "hope gateway", "server")
    import contextlib

    from hope.commands.loading import loading

    with loading():
        server, node, socket = _started(host, port, stages)
    settings = node.services.settings
    click.echo(f"HOPE platform: http://{_shown(settings.platform.host)}:{settings.platform.port}   (Ctrl+C stops it)")
    click.echo(f"data: {settings.data_dir}; research use only, not a medical device")
    # When the server has closed it repeats the signal that ended it; there is still something to put away.
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run(sockets=[socket])
    node.leave()


def _started(host: str | None, port: int | None, stages: Collection[Stage]) -> tuple[GatewayServer, Node, Socket]:
    """A node that has begun to work, and a server that has not begun to answer on its socket."""
    import os

    from hope.jobs.audit_log import AuditLog
    from hope.jobs.listening import listen
    from hope.jobs.node import Node
    from hope.jobs.processes import StageProcesses
    from hope.services import Services
    from hope.settings import PlatformSettings, Settings
    from hope.web.app import create_app
    from hope.web.auth.auth import check_may_serve
    from hope.web.connections import WAITING_IN_KERNEL, GatewayServer, connection_limit
    from hope.web.context import WebContext
    from hope.web.middleware.logs import configure_logging

    settings = Settings.from_environment()
    platform = replace(settings.platform, host=host or settings.platform.host, port=port or settings.platform.port)
    settings = replace(settings, platform=platform)
    check_may_serve(settings)
    connection_limit(platform)
    os.umask(0o077)  # what this process and its children write is its user's alone
    # In a terminal on one's own machine only what needs attention; for many users a line for each request.
    configure_logging("warning" if stages else "info")
    services = Services(settings)
    socket = listen(platform.host, platform.port, WAITING_IN_KERNEL)
    node = Node(services, stages, pipelines=True, slots=platform.workers)
    node.keep_to_itself()
    audit = AuditLog(node.store)
    # A spare child has imported what reading an upload takes before somebody waits for it.
    bodies, kept = platform.stage_bodies, settings.reading.children
    ahead = ("hope.jobs.tasks",) if bodies == PlatformSettings.stage_bodies else ()
    readers = StageProcesses(bodies, keep=kept, keep_seconds=READER_KEEP_SECONDS, spare=True, ahead=ahead)
    context = WebContext(
        settings=settings,
        store=node.store,
        blobs=node.blobs,
        queue=node.queue,
        lifecycle=node.lifecycle,
        tasks=readers,
        models=services.model_list,
        scratch=node.scratch.directory,
        executor=node.executor,
    )
    server = GatewayServer(create_app(context), platform)
    node.start()
    node.start_maintenance(lambda session_id, reason: _note_end(audit, session_id, reason))
    return server, node, socket


def _note_end(audit: Any, session_id: str, reason: str) -> None:
    audit.record("system", "session.kill", session_id, reason)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host

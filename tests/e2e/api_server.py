"""A gateway of the web tests behind a real uvicorn: ``python -m tests.e2e.api_server FOLDER`` prints its port."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from tests.unit.web.fakes import make_gateway

from hope.web.connections import GatewayServer
from hope.web.middleware.logs import configure_logging


def main() -> None:
    """Serve until killed."""
    gateway = make_gateway(Path(sys.argv[1]), max_upload_mb=64)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    configure_logging()
    GatewayServer(gateway.app, gateway.context.settings.platform).run(sockets=[listener])


if __name__ == "__main__":
    main()

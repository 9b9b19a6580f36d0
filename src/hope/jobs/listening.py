"""A socket to listen on, bound before anything else starts."""

from __future__ import annotations

import socket

from hope.domain.errors import InputError


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """Bind before anything starts, so that a second start fails with one sentence and changes nothing.

    Raises:
        InputError: if the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError as error:
        raise InputError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            fix="stop the program that uses it, or choose another with --port",
        ) from error
    return listener

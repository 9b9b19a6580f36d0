"""Other machines that speak DICOM: how they are named, and objects sent to them by C-STORE."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hope.domain.errors import InputError, PeerError
from hope.formats.dicom_source import quiet_libraries

_AET: Final = r"[\x21-\x5b\x5d-\x7e](?:[\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?"
_PEER: Final = re.compile(rf"(?P<aet>{_AET})@(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):(?P<port>\d{{1,5}})")
_HANDSHAKE_SECONDS: Final = 10.0
_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Peer:
    """An application entity of another machine.

    Attributes:
        aet: its title.
        host: name or address.
        port: TCP port.
    """

    aet: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str, what: str) -> Peer:
        """Read ``AET@HOST:PORT``.

        Raises:
            InputError: if it is not of this form.
        """
        found = _PEER.fullmatch(text)
        if not found or not 0 < int(found["port"]) < 65536:
            raise InputError(f"{what} is not usable", expected="AET@HOST:PORT, such as PACS@10.0.0.7:104", got=text)
        return cls(found["aet"], found["host"].strip("[]"), int(found["port"]))


@dataclass(frozen=True)
class Tls:
    """Files in PEM of a connection by TLS.

    Attributes:
        certificate: our own, with the chain up to its authority.
        key: of the certificate.
        authority: certificates of those who vouch for the peers; a peer must show a certificate of theirs.
    """

    certificate: Path
    key: Path
    authority: Path

    def server(self) -> ssl.SSLContext:
        """For the listener: clients must show a certificate, too.

        Raises:
            InputError: if a file cannot be used.
        """
        context = self._filled(_ImpatientContext(ssl.PROTOCOL_TLS_SERVER))
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self) -> ssl.SSLContext:
        """For sending.

        Raises:
            InputError: if a file cannot be used.
        """
        return self._filled(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def _filled(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                "the files for TLS cannot be used",
                expected="--tls-cert, --tls-key and --tls-ca in PEM, the key without a password",
                got=error.strerror or "a file of another kind",
            ) from error
        return context


class _ImpatientContext(ssl.SSLContext):
    """Ends a handshake that takes too long: the server accepts nobody else meanwhile."""

    def wrap_socket(self, sock: Any, *args: Any, **values: Any) -> ssl.SSLSocket:
        """Wrap an accepted socket; the handshake has a time limit."""
        sock.settimeout(_HANDSHAKE_SECONDS)
        wrapped = super().wrap_socket(sock, *args, **values)
        wrapped.settimeout(None)
        return wrapped


def check_title(aet: str, what: str) -> str:
    """Give an application entity's title back if it is one.

    Raises:
        InputError: if it is not: 1 to 16 printable ASCII characters without a backslash.
    """
    if not re.fullmatch(_AET, aet):
        raise InputError(f"{what} is not usable", expected="1 to 16 letters, digits or signs", got=aet)
    return aet


def send_objects(files: Sequence[Path], peer: Peer, aet: str, tls: Tls | None = None) -> None:
    """Send DICOM files to a peer by C-STORE, in one association.

    Args:
        files: DICOM files with meta information.
        peer: who gets them.
        aet: our own title.
        tls: encrypt the connection.

    Raises:
        PeerError: if it does not answer, refuses us, or does not store one of them.
        InputError: if the files of ``tls`` cannot be used.
    """
    from pydicom import dcmread
    from pynetdicom import AE

    arguments = (tls.client(), peer.host) if tls else None
    with quiet_libraries():
        entity = AE(ae_title=aet)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = _SECONDS
        entity.connection_timeout = _HANDSHAKE_SECONDS
        for kind, syntax in dict.fromkeys(_context(dcmread(path, specific_tags=["SOPClassUID"])) for path in files):
            entity.add_requested_context(kind, syntax)
        association = entity.associate(peer.host, peer.port, ae_title=peer.aet, tls_args=arguments)
        if not association.is_established:
            refused = "refuses the association" if association.is_rejected else "does not answer"
            raise PeerError(f"{peer.aet} {refused}; check its address, and that it knows {aet}")
        try:
            for path in files:
                _store(association, path, peer)
        finally:
            association.release()


def _context(header: Any) -> tuple[str, str]:
    return str(header.SOPClassUID), str(header.file_meta.TransferSyntaxUID)


def _store(association: Any, path: Path, peer: Peer) -> None:
    """Send one file; the statuses that are a warning say that it was stored."""
    try:
        status = association.send_c_store(path)
    except (ValueError, RuntimeError) as error:
        raise PeerError(f"{peer.aet} does not take this kind of object") from error
    code = status.get("Status") if status else None
    if code is None:
        raise PeerError(f"{peer.aet} ended the association before it stored an object")
    if code != 0x0000 and code >> 12 != 0xB:
        raise PeerError(f"{peer.aet} does not store an object (status 0x{code:04X})")

"""The listener: takes MR images by C-STORE and writes them into the spool. Nothing that it gets is shown or logged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from hope.dicomnet.instance import instance_of
from hope.dicomnet.peers import Tls
from hope.dicomnet.spool import Spool
from hope.domain.errors import InputError, OutputError
from hope.formats.budget import Budget, reading_within
from hope.formats.dicom_source import quiet_libraries

MR_STORAGE: Final = (
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4",
)
"""MR, Enhanced MR and Legacy Converted Enhanced MR Image Storage: no other class is accepted."""

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
_VERIFICATION: Final = "1.2.840.10008.1.1"
_SILENT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class ListenerSettings:
    """Where the listener listens, and whom it hears.

    Attributes:
        aet: its title; associations for another one are refused.
        allowed: titles of those who may send.
        host: address; loopback is reached by this machine alone.
        port: TCP port, 0 for a free one.
        tls: accept encrypted connections only, from peers with a certificate.
        associations: how many may be open at once.
    """

    aet: str
    allowed: Sequence[str]
    host: str = "127.0.0.1"
    port: int = 11112
    tls: Tls | None = None
    associations: int = 16


class Listener:
    """A C-STORE SCP that runs in threads of its own between ``__enter__`` and ``__exit__``.

    Args:
        settings: where it listens, and whom it hears.
        spool: where images go.
        say: is told in one sentence, without a name, what went wrong; called by any thread.

    Attributes:
        port: TCP port, once it listens.
    """

    def __init__(self, settings: ListenerSettings, spool: Spool, say: Callable[[str], None]) -> None:
        self._settings, self._spool, self._say = settings, spool, say
        self._stack = ExitStack()
        self._associations: dict[int, Any] = {}
        self.port = settings.port

    def __enter__(self) -> Self:
        """Begin to listen.

        Raises:
            InputError: if the address or the files for TLS cannot be used.
        """
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt

        chosen = self._settings
        context = chosen.tls.server() if chosen.tls else None
        self._stack.enter_context(quiet_libraries())
        entity = AE(ae_title=chosen.aet)
        entity.require_called_aet = True
        entity.require_calling_aet = list(chosen.allowed)
        entity.maximum_associations = chosen.associations
        entity.network_timeout = entity.dimse_timeout = entity.acse_timeout = _SILENT_SECONDS
        for kind in MR_STORAGE:
            entity.add_supported_context(kind, list(ALL_TRANSFER_SYNTAXES))
        entity.add_supported_context(_VERIFICATION)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._received)]
        try:
            server = entity.start_server(
                (chosen.host, chosen.port), block=False, evt_handlers=handlers, ssl_context=context
            )
        except OSError as error:
            self._stack.close()
            raise InputError(
                "the listener cannot use this address",
                got=f"{chosen.host} port {chosen.port}: {error.strerror}",
                fix="choose another --port or --host",
            ) from error
        self._stack.callback(entity.shutdown)
        self.port = int(server.server_address[1]) if server else self.port
        return self

    def __exit__(self, *_: object) -> None:
        """End every association and stop to listen."""
        self._stack.close()

    def _received(self, event: Any) -> int:
        """Store one image; the status that the peer gets. What goes wrong holds the study, which would look whole."""
        association = id(event.assoc)
        self._associations[association] = event.assoc
        try:
            return self._store(association, event.encoded_dataset())
        except Exception as error:
            self._spool.refuse(association)
            self._say(f"an image could not be taken: {type(error).__name__}, our own fault")
            return CANNOT_UNDERSTAND

    def _store(self, association: int, content: bytes) -> int:
        try:
            with reading_within(Budget()):
                instance = instance_of(content)
        except InputError as error:
            self._spool.refuse(association)
            self._say(str(error))
            return CANNOT_UNDERSTAND
        try:
            self._spool.store(association, instance, content)
        except OutputError as error:
            self._say(f"{instance.study_key}: {error}")
            return OUT_OF_RESOURCES
        return SUCCESS

    def end_associations(self) -> None:
        """Tell the spool of the associations that ended; to be called often.

        The library tells of a release and of a closed connection in two threads, in any order, and an image may still
        be stored after either. Once the association's thread has ended, nothing more comes.
        """
        for number, association in list(self._associations.items()):
            if association.is_alive():
                continue
            del self._associations[number]
            self._spool.ended(number, released=bool(association.is_released))

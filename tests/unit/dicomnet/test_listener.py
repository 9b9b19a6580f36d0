"""The listener over real associations: who is heard, what is stored, and what an abort does."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pynetdicom import AE
from tests.dicom_network import MR, send

from hope.dicomnet.arrivals import ABORTED, REFUSED
from hope.dicomnet.listener import CANNOT_UNDERSTAND, MR_STORAGE, OUT_OF_RESOURCES, Listener, ListenerSettings
from hope.dicomnet.peers import Peer, Tls, send_objects
from hope.dicomnet.spool import Spool
from hope.domain.errors import InputError, PeerError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.testing.dicom_series import IDENTITY, SeriesRecipe, write_series


@dataclass
class Heard:
    """A listener with its spool, and what it said."""

    listener: Listener
    spool: Spool
    said: list[str] = field(default_factory=list)

    def closed(self) -> list[str]:
        """Studies that are whole once every association has ended."""
        for association in list(self.listener._associations.values()):
            association.join(10)
        self.listener.end_associations()
        return self.spool.close_quiet()


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    said: list[str] = []
    spool = Spool(tmp_path / "spool", 0.0, 24.0, keep_free_mb=0)
    with Listener(ListenerSettings("HOPE", ["PACS"], port=0), spool, said.append) as listener:
        yield Heard(listener, spool, said)
    spool.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("images")
    scan = Volume(np.random.default_rng(0).integers(0, 900, (8, 8, 5)).astype(np.float32), Grid((8, 8, 5), np.eye(4)))
    return [f for number in (1, 2) for f in write_series(scan, root, SeriesRecipe(number, "t1"))]


def test_images_come_as_they_were_sent(heard: Heard, images: list[Path]) -> None:
    assert send(images[:5], heard.listener.port) == [0] * 5
    assert send(images[5:], heard.listener.port) == [0] * 5
    (key,) = heard.closed()
    got = {pydicom.dcmread(path).SOPInstanceUID: path for path in heard.spool.take(key).iterdir()}
    assert len(got) == 10, "two associations, one study"
    for path in images:
        sent = pydicom.dcmread(path)
        received = pydicom.dcmread(got[sent.SOPInstanceUID])
        assert received == sent and received.PixelData == sent.PixelData


def test_an_abort_in_mid_series_holds_the_study(heard: Heard, images: list[Path]) -> None:
    assert send(images[:3], heard.listener.port, abort=True) == [0] * 3
    assert send(images[5:], heard.listener.port) == [0] * 5
    assert heard.closed() == [] and list(heard.spool.held().values()) == [ABORTED]
    assert send(images[:5], heard.listener.port) == [0] * 5
    assert len(heard.closed()) == 1


def test_a_connection_that_is_lost_holds_the_study(heard: Heard, images: list[Path]) -> None:
    entity = AE(ae_title="PACS")
    entity.add_requested_context(MR, pydicom.uid.ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", heard.listener.port, ae_title="HOPE")
    association.send_c_store(images[0])
    association.dul.socket.socket.shutdown(socket.SHUT_RDWR)
    association.join(10)
    assert heard.closed() == [] and list(heard.spool.held().values()) == [ABORTED]


def test_who_is_not_known_is_refused(heard: Heard, images: list[Path]) -> None:
    assert send(images[:1], heard.listener.port, calling="OTHER") == []
    assert send(images[:1], heard.listener.port, called="OTHER") == []
    with socket.create_connection(("127.0.0.1", heard.listener.port)) as raw:
        raw.sendall(b"\0garbage" * 100)
    assert heard.closed() == [] and not list(heard.spool.root.glob("*/*"))
    assert send(images[:1], heard.listener.port) == [0], "it goes on after bytes of no protocol"


def test_only_mr_is_taken(heard: Heard) -> None:
    entity = AE(ae_title="PACS")
    ct, seg = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
    for kind in (*MR_STORAGE, ct, seg):
        entity.add_requested_context(kind)
    association = entity.associate("127.0.0.1", heard.listener.port, ae_title="HOPE")
    assert {str(context.abstract_syntax) for context in association.accepted_contexts} == set(MR_STORAGE)
    association.release()


def test_a_full_disk_is_answered_with_a700(heard: Heard, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hope.dicomnet.spool._KEPT_SHARE", 2.0)
        patch.setattr(heard.spool, "_keep", 2**62)
        assert send(images[:2], heard.listener.port) == [OUT_OF_RESOURCES] * 2 == [0xA700] * 2
    assert not list(heard.spool.root.glob("*/*")) and "disk of the spool is full" in heard.said[0]
    assert heard.closed() == []
    send(images, heard.listener.port)
    assert len(heard.closed()) == 1, "it was sent again"


def test_an_object_without_uids_is_refused_and_holds_what_came_with_it(
    heard: Heard, images: list[Path], tmp_path: Path
) -> None:
    nameless = pydicom.dcmread(images[1])
    del nameless.StudyInstanceUID
    nameless.save_as(tmp_path / "nameless")
    assert send([images[0], tmp_path / "nameless"], heard.listener.port) == [0, CANNOT_UNDERSTAND]
    assert heard.closed() == [] and heard.spool.held()
    assert IDENTITY.partition("^")[0] not in " ".join(heard.said)


def test_an_error_of_our_own_holds_the_study(heard: Heard, images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(IDENTITY)

    with monkeypatch.context() as patch:
        patch.setattr("hope.dicomnet.spool.os.fsync", fail)
        assert send(images[:2], heard.listener.port) == [CANNOT_UNDERSTAND] * 2
    assert heard.said == ["an image could not be taken: RuntimeError, our own fault"] * 2
    assert send(images[5:], heard.listener.port) == [0] * 5
    assert heard.closed() == [] and list(heard.spool.held().values()) == [REFUSED]
    assert not list(heard.spool.root.rglob("*.part"))
    assert send(images[:5], heard.listener.port) == [0] * 5
    assert len(heard.closed()) == 1


def test_tls_asks_both_for_a_certificate(tmp_path: Path, images: list[Path]) -> None:
    ours = certificate(tmp_path, "ours")
    stranger = certificate(tmp_path, "stranger")
    spool = Spool(tmp_path / "spool", 0.0, 24.0, keep_free_mb=0)
    with Listener(ListenerSettings("HOPE", ["PACS"], port=0, tls=ours), spool, lambda _: None) as listener:
        peer = Peer("HOPE", "localhost", listener.port)
        send_objects(images, peer, "PACS", ours)
        for tls in (None, Tls(stranger.certificate, stranger.key, ours.authority)):
            with pytest.raises(PeerError):
                send_objects(images, peer, "PACS", tls)
    assert len(list(spool.root.glob("arriving/*/*"))) == 10
    spool.close()


@pytest.mark.parametrize(
    "text", ["PACS", "PACS@host", "@host:104", "PACS@host:0", "PACS@host:99999", "A" * 17 + "@h:1"]
)
def test_a_peer_is_named_by_title_host_and_port(text: str) -> None:
    with pytest.raises(InputError, match="AET@HOST:PORT"):
        Peer.parse(text, "--send-to")
    assert Peer.parse("MY PACS@[::1]:104", "--send-to") == Peer("MY PACS", "::1", 104)


def certificate(folder: Path, name: str) -> Tls:
    """A certificate for localhost that vouches for itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Tls(folder / f"{name}.pem", folder / f"{name}.key", folder / f"{name}.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    return files

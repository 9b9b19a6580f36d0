"""``hope dicom receive``: a listener for an archive, and the loop back to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hope.commands.inputs import HELP, PATH
from hope.commands.run_options import run_options
from hope.contract.options import RunOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from hope.dicomnet.hospital_loop import Worker
    from hope.dicomnet.peers import Tls
    from hope.dicomnet.spool import Spool
    from hope.settings import Settings
    from hope.stages.intake.intake import CaseSource

DEFAULT_PORT = 11112


def _say(text: str) -> None:
    click.echo(f"hope: {text}", err=True)


@click.command("receive", short_help="Listen for studies of an archive; segment and send back.", context_settings=HELP)
@click.option(
    "-o", "--output", type=PATH, required=True, metavar="DIR", help="Where studies, or with --run results, go."
)
@click.option("--allow", "allowed", multiple=True, required=True, metavar="AET", help="Who may send; may be repeated.")
@click.option("--aet", default="HOPE", show_default=True, help="Our own application entity title.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), default=DEFAULT_PORT, show_default=True, help="TCP port.")
@click.option("--run", "segments", is_flag=True, help="Segment each study as it comes.")
@click.option("--send-to", metavar="AET@HOST:PORT", help="With --run: send SEG and SR to this archive.")
@click.option(
    "--quiet-seconds",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="A study is whole when nothing of it came for so long.",
)
@click.option("--tls-cert", type=PATH, metavar="FILE", help="Our certificate (PEM): accept encrypted connections only.")
@click.option("--tls-key", type=PATH, metavar="FILE", help="Its key.")
@click.option("--tls-ca", type=PATH, metavar="FILE", help="Who vouches for the peers' certificates.")
@click.option("--send-tls", is_flag=True, help="Encrypt the connection of --send-to, too.")
@click.option("--studies", type=click.IntRange(min=0), default=0, metavar="N", help="End after N studies.")
@run_options
def receive(
    output: Path,
    allowed: tuple[str, ...],
    aet: str,
    host: str,
    port: int,
    segments: bool,
    send_to: str | None,
    quiet_seconds: float,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_ca: Path | None,
    send_tls: bool,
    studies: int,
    options: RunOptions,
) -> None:
    """Take MR images that an archive (PACS) sends by C-STORE, until the command is ended.

    A study is whole when nothing of it came for a while and no association that sent it is open. One whose association
    was aborted is held until the study is sent again. Whole studies lie in DIR/study-...; they hold names, and only
    this account can read them. With --run they are segmented instead, results without identity go to DIR, and --send-to
    sends segmentation and report to the archive; studies wait in HOPE_SPOOL_DIR and are deleted once that is done.

    \b
    hope dicom receive --allow PACS -o studies
    hope dicom receive --host 0.0.0.0 --allow PACS --run --send-to PACS@10.0.0.7:104 -o results

    An application entity title is no password: let a firewall or TLS say who may connect. Research use only.
    """  # noqa: D301 - click reads the backspace
    from hope.domain.extras import require_extras

    require_extras("hope dicom receive", "dicom")
    from hope.dicomnet.hospital_loop import serve
    from hope.dicomnet.listener import Listener, ListenerSettings
    from hope.dicomnet.peers import check_title
    from hope.dicomnet.spool import Spool
    from hope.domain.errors import InputError
    from hope.settings import Settings

    if send_to and not segments:
        raise InputError("--send-to sends results, and there are none without --run", fix="add --run")
    settings = Settings.from_environment()
    tls = _tls(tls_cert, tls_key, tls_ca)
    if send_tls and not (tls and send_to):
        raise InputError(
            "--send-tls needs --send-to and the files for TLS", fix="add --tls-cert, --tls-key and --tls-ca"
        )
    peers = [check_title(peer, "--allow") for peer in allowed]
    listening = ListenerSettings(check_title(aet, "--aet"), peers, host, port, tls)
    root = Path(settings.dicom.spool_dir) if segments else output / ".spool"
    send = _sender(send_to, aet, tls if send_tls else None) if send_to else None
    work = _segmenter(settings, output, options) if segments else None
    spool = Spool(root, quiet_seconds, settings.dicom.spool_hours, settings.platform.keep_free_mb)
    try:
        worker = _worker(spool, output, work, send, settings.site_secret)
        with Listener(listening, spool, _say) as listener:
            _say(f"{aet} listens on {host} port {listener.port}, for {', '.join(peers)}; end it with Ctrl-C")
            serve(listener, spool, worker, _say, studies)
    except KeyboardInterrupt:
        _say("ended; what was coming in or waiting is still in the spool")
    finally:
        spool.close()


def _tls(certificate: Path | None, key: Path | None, authority: Path | None) -> Tls | None:
    from hope.dicomnet.peers import Tls
    from hope.domain.errors import InputError

    if certificate and key and authority:
        return Tls(certificate, key, authority)
    if certificate or key or authority:
        raise InputError("TLS needs three files", expected="--tls-cert, --tls-key and --tls-ca")
    return None


def _worker(
    spool: Spool,
    output: Path,
    segment: Callable[[CaseSource], Path] | None,
    send: Callable[..., None] | None,
    secret: str,
) -> Worker:
    from hope.dicomnet.hospital_loop import Delivery, HospitalLoop

    return Delivery(spool, output, _say) if segment is None else HospitalLoop(spool, segment, send, _say, secret)


def _sender(send_to: str, aet: str, tls: Tls | None) -> Callable[..., None]:
    from functools import partial

    from hope.dicomnet.peers import Peer, send_objects

    return partial(send_objects, peer=Peer.parse(send_to, "--send-to"), aet=aet, tls=tls)


def _segmenter(settings: Settings, output: Path, options: RunOptions) -> Callable[[CaseSource], Path]:
    """Segment one case with the chosen model, which is made ready now."""
    from hope.pipeline import run_case
    from hope.services import Services

    services = Services(settings)
    predictor = services.predictor(options.model)
    brain = services.brain_extractor()
    predictor.prepare()

    def segment(source: CaseSource) -> Path:
        run_case(source, predictor, brain, output, options)
        return output / source.case_id

    return segment

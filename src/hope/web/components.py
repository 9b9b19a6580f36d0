"""What a running gateway is made of, typed: `create_app` makes it once, routes reach it through a dependency."""

from __future__ import annotations

from dataclasses import dataclass

from anyio import CapacityLimiter

from hope.jobs.audit_log import AuditLog
from hope.jobs.disk_space import DiskSpace
from hope.web.archive_access import ArchiveAccess
from hope.web.auth.auth import Authenticator
from hope.web.comparisons import Comparisons
from hope.web.context import WebContext
from hope.web.dicom_objects import DicomObjects
from hope.web.events import EventHub
from hope.web.reading import UploadReader
from hope.web.series_intake import SeriesIntake
from hope.web.storing import ScanStorage
from hope.web.uploads import Uploads


@dataclass(frozen=True)
class GatewayComponents:
    """The parts of one application; they live as long as it does.

    Attributes:
        context: what `create_app` was given.
        disk: whether the disks have room.
        authenticator: who may open a session.
        audit: the audit log.
        uploads: scans from the wire to clean files.
        storage: clean files to the stores.
        intake: what takes a child process, such as archives.
        objects: results as DICOM objects.
        comparisons: a case beside an earlier one.
        archive: studies of an archive that the operator has named.
        events: the events of cases, for whoever listens.
        check_limiter: threads of readiness checks that may hang at once.
    """

    context: WebContext
    disk: DiskSpace
    authenticator: Authenticator
    audit: AuditLog
    uploads: Uploads
    storage: ScanStorage
    intake: SeriesIntake
    objects: DicomObjects
    comparisons: Comparisons
    archive: ArchiveAccess
    events: EventHub
    check_limiter: CapacityLimiter


def components_for(context: WebContext, checks: int) -> GatewayComponents:
    """Make the parts; nothing connects.

    Args:
        context: stores, engine, settings.
        checks: threads of readiness checks that may hang at once.
    """
    disk = DiskSpace(context.scratch, context.blobs, context.settings.platform.keep_free_mb)
    reader = UploadReader(context)
    uploads = Uploads(context, disk, reader)
    storage = ScanStorage(context)
    intake = SeriesIntake(context, uploads, storage, reader)
    return GatewayComponents(
        context=context,
        disk=disk,
        authenticator=Authenticator(context.settings),
        audit=AuditLog(context.store),
        uploads=uploads,
        storage=storage,
        intake=intake,
        objects=DicomObjects(context, intake, reader),
        comparisons=Comparisons(context, uploads, intake, reader),
        archive=ArchiveAccess(context, uploads, intake, reader),
        events=EventHub(context.store),
        check_limiter=CapacityLimiter(checks),
    )

"""Settings from the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from platformdirs import user_data_path

from hope.domain.errors import InputError
from hope.domain.limits import ReadingLimits

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SWITCH = ("on", "off")
PREDICTORS = ("local", "sagemaker")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MOST = {
    **{"port": 65535, "poll_seconds": 10, "lease_seconds": 600, "stage_timeout_seconds": 604800, "workers": 64},
    **{"voxels": 1e11, "elements": 1e10, "parsed_elements": 1e9, "files": 1e7, "children": 64, "written_mb": 1e7},
}
"""Largest sensible values; a million for the others."""

_SAGEMAKER, _ENDPOINT, _READING = "HOPE_SAGEMAKER_", "HOPE_ENDPOINT_", "HOPE_READING_"
_FEDERATED = "HOPE_FEDERATED_"
_SECRET = ("SECRET", "PASSWORD", "TOKEN_KEY")


@dataclass(frozen=True)
class PlatformSettings:
    """What only the running platform needs; each field is the variable ``HOPE_`` + its name in capitals.

    Attributes:
        database_url: SQLAlchemy URL of the metadata, ``sqlite:///...`` or ``postgresql+psycopg://...``.
        blobs_url: ``file:///...`` or ``s3://bucket/prefix``.
        s3_endpoint_url: an S3-compatible server other than AWS.
        host: address to listen on; any but loopback needs authentication.
        port: TCP port.
        public_url: how users reach the gateway from outside, such as ``https://hope.example.org``.
        docs_url: where the documentation of this version lies, such as ``https://docs.example.org/hope``; the page
            links it and the model's card.
        session_hours: an idle session is deleted after this long.
        max_upload_mb: largest upload (MiB), of one scan or one zip.
        max_unpacked_mb: most that an upload may decompress to (MiB).
        keep_free_mb: MiB of the disks that stay free (2 % of a smaller disk): uploads are refused before, so that
            reading, deleting and the database go on.
        max_session_mb: most that a session may hold (MiB): scans and corrections as they are stored, and uploads under
            way, unpacked.
        max_session_files: most uploads stored in a session.
        max_session_uploads: uploads of one session that may be under way at once.
        max_cases_in_work: cases of one session that may be queued or running.
        requests_per_minute: of one client; uploads' chunks do not count.
        requests_at_once: calls of one client that may be in work at once, event streams and uploads included.
        max_connections: open connections of one gateway; never more than a quarter of the files that it may open.
        header_timeout_seconds: a call's header must be complete after this long.
        body_timeout_seconds: what the server waits for a body, or for a client to take an answer, before it compares
            the rate with the next setting.
        min_bytes_per_second: of a body, and of an answer that a client is slow to take; below it the call is ended.
        workers: stages that a process runs at once, of any kind.
        lease_seconds: a worker that is silent this long is taken for dead.
        stage_timeout_seconds: longest time a stage may take.
        stage_tries: how often a stage that died is tried.
        deletion_wait_seconds: how long a deletion waits until what dead processes left in scratch directories is
            deleted; after that the receipt names it.
        poll_seconds: how often queues are looked at while there is work, or while a process cannot be told of it.
        stage_bodies: Python module whose ``run`` does the stages; another one only in tests.
        oidc_issuer, oidc_client_id, oidc_client_secret: sign-in by OpenID Connect.
        api_tokens_file: lines ``NAME SHA256-OF-TOKEN``; sign-in for programs.
        smtp_url: ``smtp://user:password@host:port`` for e-mail at key steps; none are sent without it.
        mail_from: sender of those.
    """

    database_url: str
    blobs_url: str
    s3_endpoint_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    docs_url: str = ""
    session_hours: float = 24.0
    max_upload_mb: int = 2048
    max_unpacked_mb: int = 8192
    keep_free_mb: int = 512
    max_session_mb: int = 4096
    max_session_files: int = 400
    max_session_uploads: int = 16
    max_cases_in_work: int = 10
    requests_per_minute: int = 1200
    requests_at_once: int = 64
    max_connections: int = 1000
    header_timeout_seconds: float = 15.0
    body_timeout_seconds: float = 60.0
    min_bytes_per_second: int = 1024
    workers: int = 2
    lease_seconds: float = 5.0
    stage_timeout_seconds: float = 3600.0
    stage_tries: int = 3
    deletion_wait_seconds: float = 5.0
    poll_seconds: float = 0.1
    stage_bodies: str = "hope.jobs.bodies"
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    api_tokens_file: str = ""
    smtp_url: str = ""
    mail_from: str = "hope@localhost"

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return self.host in LOOPBACK

    @property
    def authentication(self) -> bool:
        """Whether a way to sign in is configured."""
        return bool(self.api_tokens_file or self.oidc_issuer)


@dataclass(frozen=True)
class SageMakerSettings:
    """Where models run if not here; each field is the variable ``HOPE_SAGEMAKER_`` + its name in capitals.

    Attributes:
        endpoint: name of the asynchronous endpoint.
        bucket: ``s3://bucket/prefix`` through which cases go to it and results come back; for this platform
            alone, since it deletes what it does not know.
        models: ids of the bundles that it runs, with commas between; the others run here. Empty means all.
        kms_key: id, alias or ARN of the KMS key that encrypts what is put into the bucket; else the bucket decides.
        timeout_seconds: longest wait for one answer, the start of an instance included.
        sns_queue_url: an SQS queue that hears of ended invocations, so that one is noticed sooner.
        endpoint_url: a server other than AWS that answers in place of SageMaker and SQS.
    """

    endpoint: str = ""
    bucket: str = ""
    models: str = ""
    kms_key: str = ""
    timeout_seconds: float = 3600.0
    sns_queue_url: str = ""
    endpoint_url: str = ""

    @property
    def model_ids(self) -> frozenset[str]:
        """The ids in ``models``."""
        return frozenset(word.strip() for word in self.models.split(",") if word.strip())


@dataclass(frozen=True)
class EndpointSettings:
    """What only `hope endpoint` needs; each field is the variable ``HOPE_ENDPOINT_`` + its name in capitals.

    Attributes:
        model: id of the bundle that is loaded at the start, and used where a payload names none; else the one in
            /opt/ml/model, or the model that ships, mixed.
        cases_at_once: cases in work at once, each in a process of its own; 1 for each GPU.
        cases_waiting: more of them that may wait; the rest is told to call again.
        max_input_mb: most that is downloaded for one case (MiB).
        timeout_seconds: longest time that one case may take, waiting included.
        grace_seconds: after SIGTERM what runs may finish for this long; SageMaker kills after 30.
        scratch: folder for the files of the cases in work; a private one among the system's temporary files if empty.
        bodies: Python module whose ``run`` does the work; another one only in tests.
    """

    model: str = ""
    cases_at_once: int = 1
    cases_waiting: int = 4
    max_input_mb: int = 4096
    timeout_seconds: float = 3500.0
    grace_seconds: float = 25.0
    scratch: str = ""
    bodies: str = "hope.endpoint.bodies"


@dataclass(frozen=True)
class DicomSettings:
    """DICOM over a network; each field is the variable ``HOPE_`` + its name in capitals.

    Attributes:
        spool_dir: where the hospital loop keeps studies and objects on their way: the one place with names.
        spool_hours: what lies in the spool is deleted after this long, sent or not.
        dicomweb_url: of an archive (PACS), such as ``https://user:password@pacs.example.org/dicom-web``; everybody who
            may open a session of a gateway that has it may search the archive.
    """

    spool_dir: str
    spool_hours: float = 24.0
    dicomweb_url: str = ""


@dataclass(frozen=True)
class FederatedSettings:
    """What a hospital lets jobs of several hospitals do; each field is the variable ``HOPE_FEDERATED_`` + its name.

    Attributes:
        data: directory of the site's cases; ``{site}`` in it stands for the site's name. No job can name another one.
        scheme: label scheme of the site's masks: peds, brats2023 or brats2021.
        min_cases: with fewer cases than this the site answers nothing but that.
        jobs: kinds of job that the site answers, with commas between: evaluate, style, train.
        bodies: Python module whose ``evaluate_site`` runs a model; another one only in tests.
    """

    data: str = ""
    scheme: str = "peds"
    min_cases: int = 5
    jobs: str = "evaluate,style"
    bodies: str = "hope.federated.evaluation"

    @property
    def allowed(self) -> frozenset[str]:
        """The kinds in ``jobs``."""
        return frozenset(word.strip() for word in self.jobs.split(",") if word.strip())


@dataclass(frozen=True)
class Settings:
    """What the environment chose.

    Attributes:
        data_dir: the platform's own data.
        models_dir: bundles that the user added.
        device: auto, cpu, cuda or mps.
        precision: arithmetic of the networks of an ensemble: auto, fp32, bf16 or fp16.
        mirroring: on or off: test-time mirroring of an ensemble's networks, where their training allows it.
        predictor: local or sagemaker: where models run.
        sagemaker: the endpoint, for those that run there.
        endpoint: what only `hope endpoint` needs.
        platform: what only the running platform needs.
        reading: what reading one upload may cost.
        federated: what this site lets jobs of several hospitals do.
        site_secret: with it the tracking UIDs in DICOM objects are equal on every date of a patient, and tell nobody
            else whose they are; any long random text, the same for the whole hospital.
        dicom: what only DICOM over a network needs.
    """

    data_dir: Path
    models_dir: Path
    device: str
    precision: str = "auto"
    mirroring: str = "on"
    predictor: str = "local"
    sagemaker: SageMakerSettings = field(default_factory=SageMakerSettings)
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    platform: PlatformSettings = field(default_factory=lambda: PlatformSettings("sqlite://", "file:///dev/null"))
    reading: ReadingLimits = field(default_factory=ReadingLimits)
    site_secret: str = ""
    dicom: DicomSettings = field(default_factory=lambda: DicomSettings(""))
    federated: FederatedSettings = field(default_factory=FederatedSettings)

    @property
    def reading_limits(self) -> ReadingLimits:
        """The policy for uploads; ``max_unpacked_mb`` bounds it too."""
        return replace(self.reading, expanded_mb=min(self.reading.expanded_mb, self.platform.max_unpacked_mb))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read HOPE_DATA_DIR, HOPE_MODELS_DIR and the other fields, `SageMakerSettings` and `PlatformSettings`.

        Raises:
            InputError: for a word that is none of the choices, or a value that is no number where one is needed.
        """
        given = os.environ if environment is None else environment
        data_dir = Path(given.get("HOPE_DATA_DIR") or user_data_path("hope", appauthor=False))
        models_dir = Path(given.get("HOPE_MODELS_DIR") or data_dir / "models")
        return cls(
            data_dir,
            models_dir,
            _one_of(given, "HOPE_DEVICE", DEVICES, "auto"),
            _one_of(given, "HOPE_PRECISION", PRECISIONS, "auto"),
            _one_of(given, "HOPE_MIRRORING", SWITCH, "on"),
            _one_of(given, "HOPE_PREDICTOR", PREDICTORS, "local"),
            SageMakerSettings(**_given(SageMakerSettings, given, _SAGEMAKER)),
            EndpointSettings(**_given(EndpointSettings, given, _ENDPOINT)),
            _platform(given, data_dir.absolute()),
            ReadingLimits(**_given(ReadingLimits, given, _READING)),
            given.get("HOPE_SITE_SECRET", ""),
            DicomSettings(**({"spool_dir": str(data_dir / "spool")} | _given(DicomSettings, given, "HOPE_"))),
            FederatedSettings(**_given(FederatedSettings, given, _FEDERATED)),
        )

    def to_json(self) -> dict[str, str]:
        """Names as in the environment, for `hope doctor`; secrets are masked."""
        shown = {
            "HOPE_DATA_DIR": str(self.data_dir),
            "HOPE_MODELS_DIR": str(self.models_dir),
            "HOPE_DEVICE": self.device,
            "HOPE_PRECISION": self.precision,
            "HOPE_MIRRORING": self.mirroring,
            "HOPE_PREDICTOR": self.predictor,
            "HOPE_SITE_SECRET": _masked("HOPE_SITE_SECRET", self.site_secret),
        }
        parts = (
            *((self.sagemaker, _SAGEMAKER), (self.endpoint, _ENDPOINT), (self.platform, "HOPE_")),
            *((self.reading, _READING), (self.federated, _FEDERATED), (self.dicom, "HOPE_")),
        )
        for part, prefix in parts:
            for entry in fields(part):
                name = f"{prefix}{entry.name.upper()}"
                shown[name] = _masked(name, str(getattr(part, entry.name)))
        return shown


def _one_of(given: Mapping[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    word = given.get(name) or default
    if word not in words:
        raise InputError(f"{name} is not usable", expected=f"one of {', '.join(words)}", got=word)
    return word


def _platform(given: Mapping[str, str], data_dir: Path) -> PlatformSettings:
    values: dict[str, Any] = {
        "database_url": f"sqlite:///{data_dir / 'hope.sqlite'}",
        "blobs_url": (data_dir / "blobs").as_uri(),
    }
    return PlatformSettings(**(values | _given(PlatformSettings, given, "HOPE_")))


def _given(kind: type, given: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The fields of a dataclass of settings that the environment sets."""
    values: dict[str, Any] = {}
    for entry in fields(kind):
        name = f"{prefix}{entry.name.upper()}"
        text = given.get(name)
        if not text:
            continue
        kind_of_value = {"int": int, "float": float}.get(str(entry.type), str)
        try:
            values[entry.name] = kind_of_value(text)
        except ValueError:
            raise InputError(f"{name} is not usable", expected="a number", got=text) from None
        most = _MOST.get(entry.name, 1e6)
        if kind_of_value is not str and not 0 < float(text) <= most:
            raise InputError(f"{name} is not usable", expected=f"a number above 0, at most {most:g}", got=text)
    return values


def _masked(name: str, value: str) -> str:
    """Hide a secret, and the password in a URL."""
    if value and any(part in name for part in _SECRET):
        return "(set)"
    parts = urlsplit(value) if "://" in value else None
    if parts and parts.password:
        return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))
    return value

"""Settings from the environment, read once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from platformdirs import user_data_path

from hope.domain.errors import InputError

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
SWITCH = ("on", "off")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
_MOST = {"port": 65535, "poll_seconds": 10, "lease_seconds": 600, "stage_timeout_seconds": 604800, "workers": 64}
"""Largest sensible values; a million for the others."""

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
        session_hours: an idle session is deleted after this long.
        max_upload_mb: largest upload (MiB), of one scan or one zip.
        max_unpacked_mb: most that an upload may decompress to (MiB).
        max_session_files: most uploads stored in a session.
        max_cases_in_work: cases of one session that may be queued or running.
        requests_per_minute: of one client; uploads' chunks do not count.
        workers: stages that a process runs at once, of any kind.
        lease_seconds: a worker that is silent this long is taken for dead.
        stage_timeout_seconds: longest time a stage may take.
        stage_tries: how often a stage that died is tried.
        poll_seconds: how often queues are looked at.
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
    session_hours: float = 24.0
    max_upload_mb: int = 2048
    max_unpacked_mb: int = 8192
    max_session_files: int = 400
    max_cases_in_work: int = 10
    requests_per_minute: int = 1200
    workers: int = 2
    lease_seconds: float = 5.0
    stage_timeout_seconds: float = 3600.0
    stage_tries: int = 3
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
class Settings:
    """What the environment chose.

    Attributes:
        data_dir: the platform's own data.
        models_dir: bundles that the user added.
        device: auto, cpu or cuda.
        precision: arithmetic of the networks of an ensemble: auto, fp32, bf16 or fp16.
        mirroring: on or off: test-time mirroring of an ensemble's networks, where their training allows it.
        platform: what only the running platform needs.
    """

    data_dir: Path
    models_dir: Path
    device: str
    precision: str = "auto"
    mirroring: str = "on"
    platform: PlatformSettings = field(default_factory=lambda: PlatformSettings("sqlite://", "file:///dev/null"))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read HOPE_DATA_DIR, HOPE_MODELS_DIR, HOPE_DEVICE, HOPE_PRECISION, HOPE_MIRRORING and `PlatformSettings`.

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
            _platform(given, data_dir.absolute()),
        )

    def to_json(self) -> dict[str, str]:
        """Names as in the environment, for `hope doctor`; secrets are masked."""
        shown = {
            "HOPE_DATA_DIR": str(self.data_dir),
            "HOPE_MODELS_DIR": str(self.models_dir),
            "HOPE_DEVICE": self.device,
            "HOPE_PRECISION": self.precision,
            "HOPE_MIRRORING": self.mirroring,
        }
        for entry in fields(PlatformSettings):
            name = f"HOPE_{entry.name.upper()}"
            shown[name] = _masked(name, str(getattr(self.platform, entry.name)))
        return shown


def _one_of(given: Mapping[str, str], name: str, words: tuple[str, ...], default: str) -> str:
    word = given.get(name) or default
    if word not in words:
        raise InputError(f"{name} is not usable", expected=f"one of {', '.join(words)}", got=word)
    return word


def _platform(given: Mapping[str, str], data_dir: Path) -> PlatformSettings:
    values: dict[str, object] = {
        "database_url": f"sqlite:///{data_dir / 'hope.sqlite'}",
        "blobs_url": (data_dir / "blobs").as_uri(),
    }
    for entry in fields(PlatformSettings):
        name = f"HOPE_{entry.name.upper()}"
        text = given.get(name)
        if not text:
            continue
        kind = {"int": int, "float": float}.get(str(entry.type), str)
        try:
            values[entry.name] = kind(text)
        except ValueError:
            raise InputError(f"{name} is not usable", expected="a number", got=text) from None
        most = _MOST.get(entry.name, 1e6)
        if kind is not str and not 0 < float(text) <= most:
            raise InputError(f"{name} is not usable", expected=f"a number above 0, at most {most:g}", got=text)
    return PlatformSettings(**values)  # type: ignore[arg-type]


def _masked(name: str, value: str) -> str:
    """Hide a secret, and the password in a URL."""
    if value and any(part in name for part in _SECRET):
        return "(set)"
    parts = urlsplit(value) if "://" in value else None
    if parts and parts.password:
        return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{parts.netloc.rpartition('@')[2]}"))
    return value

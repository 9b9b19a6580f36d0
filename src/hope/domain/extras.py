"""The extras of the package: what a plain install leaves out, and the one sentence that names what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from hope.domain.errors import InputError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "server": (
        "alembic",
        "anyio",
        "authlib",
        "dbos",
        "fastapi",
        "h11",
        "httpx",
        "httpx2",
        "itsdangerous",
        "joserfc",
        "prometheus_client",
        "psycopg",
        "skimage",
        "sqlalchemy",
        "starlette",
        "uvicorn",
    ),
    "aws": ("boto3",),
    "aws-local": ("boto3", "flask", "httpx", "moto"),
    "ensemble": ("dynamic_network_architectures", "einops", "monai", "openvino", "skimage"),
    "train": ("skimage", "sklearn", "threadpoolctl"),
    "dicom": ("highdicom", "httpx", "pynetdicom"),
    "federated": ("nvflare",),
}
"""Extra -> the packages that it brings, by the names that they are imported by. A test holds it to pyproject.toml."""


def missing_packages(extra: str) -> tuple[str, ...]:
    """The packages of an extra that are not installed, without importing any."""
    return tuple(name for name in EXTRAS[extra] if find_spec(name) is None)


def require_extras(what: str, *extras: str) -> None:
    """Check that the extras are installed before any work is done.

    Args:
        what: what needs them, as the subject of the sentence, such as ``hope up``.
        extras: their names.

    Raises:
        InputError: if a package of theirs is missing; it names the extras and how to install them.
    """
    missing = [extra for extra in extras if missing_packages(extra)]
    if missing:
        raise missing_extras(what, missing)


def missing_extras(what: str, extras: list[str]) -> InputError:
    """The error that says which extras ``what`` needs."""
    names = " and ".join(f"[{extra}]" for extra in extras)
    several = len(extras) > 1
    return InputError(
        f"{what} needs the extra{'s' if several else ''} {names}, which {'are' if several else 'is'} not installed",
        fix=f"run pip install 'hope-platform[{','.join(extras)}]'",
    )


def extra_of(package: str) -> str | None:
    """The first extra that brings a package, by the name that it is imported by; None if no extra does."""
    return next((extra for extra, packages in EXTRAS.items() if package in packages), None)

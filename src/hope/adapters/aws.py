"""Clients of AWS's services, and what those say in words of our own. The only place that makes a client.

Credentials come from AWS's own variables or the machine's role, and are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from hope.domain.errors import InputError

ABSENT = ("404", "NoSuchKey", "NotFound")
"""What S3 answers for an object that is not there, if the caller may list the bucket; else it refuses."""

_ANY_REGION = "us-east-1"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LONGEST_KEY = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def make_client(service: str, endpoint_url: str = "") -> Any:
    """A client for all threads of this process; connects when first used.

    Args:
        service: such as ``s3``, ``sagemaker-runtime`` or ``sqs``.
        endpoint_url: a server other than AWS.

    Raises:
        InputError: if the address is not one, or AWS is meant and no region is set.
    """
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=40,
        # Other servers than AWS know neither host names per bucket nor the newer checksums; we have our own.
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = boto3.session.Session()
    # Outside AWS a region means nothing, but has to be named.
    region = session.region_name or (_ANY_REGION if service == "s3" or endpoint_url else None)
    if region is None:
        raise InputError(
            "no region of AWS is set", expected="AWS_DEFAULT_REGION", got="nothing", fix="set it to the endpoint's"
        )
    try:
        return session.client(service, endpoint_url=endpoint_url or None, config=config, region_name=region)
    except ValueError as error:
        raise InputError(f"the address of {service} is not usable", expected="http(s)://HOST:PORT") from error


def parse_location(location: str, what: str = "the location in S3") -> tuple[str, str]:
    """Bucket and key (or prefix) of ``s3://bucket/key``; the key is empty for a whole bucket.

    Raises:
        InputError: for another form; credentials in it are not repeated.
    """
    scheme, _, rest = location.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not _BUCKET.fullmatch(bucket) or _CONTROL.search(key) or len(key.encode()) > _LONGEST_KEY:
        raise InputError(
            f"{what} is not usable",
            expected="s3://BUCKET/PREFIX",
            got=f"{urlsplit(location).scheme}://..." if "://" in location else "another form",
            fix="give credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" if "@" in bucket else "",
        )
    return bucket, key


@contextmanager
def worded(absent: Exception | None = None, what: str = "the object store") -> Iterator[None]:
    """What a server or the way to it says, in words of our own: botocore's repeat keys, which hold ids.

    Args:
        absent: raised if the thing asked for is not there.
        what: which server.

    Raises:
        ConnectionError: if it refuses or does not answer.
    """
    try:
        yield
    except ClientError as error:
        if absent is not None and code_of(error) in ABSENT:
            raise absent from error
        raise ConnectionError(f"{what} refused: {reason_of(error)}") from error
    except BotoCoreError as error:
        raise ConnectionError(f"{what} does not answer: {reason_of(error)}") from error


def code_of(error: ClientError) -> str:
    """The server's code, such as ``AccessDenied``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def reason_of(error: BaseException) -> str:
    """The server's code, or the name of the error."""
    return code_of(error) if isinstance(error, ClientError) and code_of(error) else type(error).__name__

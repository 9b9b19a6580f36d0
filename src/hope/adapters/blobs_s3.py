"""Blobs in a bucket of an S3-compatible server. Credentials come from AWS's own variables and are never looked at."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError

from hope.adapters.blob_keys import CHUNK, checked_key, checked_prefix, missing, verified
from hope.domain.errors import InputError, OutputError
from hope.formats.atomic import output_error
from hope.ports import BlobInfo

PART_BYTES = 16 * 2**20
"""Larger files go in parts of this size, two at a time: what one upload holds in memory at most."""

PAGE = 1000
"""Objects that are listed or deleted in one call: the most that S3 allows."""

_FETCH_TRIES = 3
_ABSENT = ("404", "NoSuchKey", "NotFound")

log = logging.getLogger(__name__)


class S3Blobs:
    """`hope.ports.BlobStore` in a bucket. Connects when first used.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint_url: a server other than AWS.

    Raises:
        InputError: if the URL is of another form.
    """

    def __init__(self, url: str, endpoint_url: str = "") -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
            raise InputError(
                "HOPE_BLOBS_URL is not usable",
                expected="s3://BUCKET/PREFIX",
                got=f"{parts.scheme}://...",
                fix="give credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        self._bucket, self._endpoint = parts.netloc, endpoint_url
        self._root = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2, io_chunksize=CHUNK
        )

    @cached_property
    def _client(self) -> Any:
        """One client for all threads."""
        config = Config(
            retries={"mode": "standard", "max_attempts": 5},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=40,
            # Other servers than AWS know neither host names per bucket nor the newer checksums; we have our own.
            s3={"addressing_style": "path" if self._endpoint else "auto"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        session = boto3.session.Session()
        try:
            return session.client("s3", endpoint_url=self._endpoint or None, config=config)
        except NoRegionError:
            return session.client("s3", endpoint_url=self._endpoint or None, config=config, region_name="us-east-1")

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Store a local file, in parts if it is large; nothing is visible before the last one has arrived.

        Raises:
            OutputError: if the file cannot be read or the server refuses.
        """
        name = self._name(key)
        try:
            self._client.upload_file(
                str(path), self._bucket, name, ExtraArgs={"Metadata": {"sha256": sha256}}, Config=self._transfer
            )
        except (S3UploadFailedError, ClientError, BotoCoreError) as error:
            # boto3 wraps what the server said in a sentence of its own, with the key in it.
            raise OutputError(f"the object store did not take a file: {_reason(error.__context__ or error)}") from error
        except OSError as error:
            raise output_error("a file of the store", error) from error

    def fetch(self, key: str, to: Path, sha256: str) -> None:
        """Bring a blob to a local file.

        Raises:
            DamagedError: if it is missing or its bytes are not those that were stored.
            OutputError: if the local file cannot be written.
            ConnectionError: if the server does not answer.
        """
        for left in reversed(range(_FETCH_TRIES)):
            try:
                self._fetch(key, to, sha256)
                return
            except ConnectionError:
                # The client's own tries end where the body begins.
                to.unlink(missing_ok=True)
                if not left:
                    raise
            except BaseException:
                to.unlink(missing_ok=True)
                raise

    def _fetch(self, key: str, to: Path, sha256: str) -> None:
        chunks = self.read(key, sha256)
        try:
            with to.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                for chunk in chunks:
                    file.write(chunk)
        except ConnectionError:
            raise
        except OSError as error:
            raise output_error(to.name, error) from error

    def read(self, key: str, sha256: str) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB.

        Raises:
            DamagedError: in the last chunk's place if the hash differs, at once if the blob is missing.
            ConnectionError: if the server does not answer.
        """
        name = self._name(key)
        with _worded(missing(key)):
            body = self._client.get_object(Bucket=self._bucket, Key=name)["Body"]
        return verified(key, _chunks(body), sha256)

    def keys(self, prefix: str) -> Iterator[BlobInfo]:
        """What lies under a prefix that ends in a slash, in order of the keys."""
        for entry in self._list("list_objects_v2", prefix, "Contents"):
            yield BlobInfo(entry["Key"].removeprefix(self._root), entry["Size"])

    def delete_prefix(self, prefix: str) -> tuple[int, int]:
        """Delete all under a prefix that ends in a slash, with older versions and uploads that were never finished.

        Returns:
            How many blobs and bytes; older versions count, since they are data too.

        Raises:
            OutputError: if the server refuses to delete one.
            ConnectionError: if it does not answer.
        """
        count = size = 0
        batch: list[dict[str, str]] = []
        for entry in self._deletable(prefix):
            batch.append({name: entry[name] for name in ("Key", "VersionId") if name in entry})
            if "Size" in entry:
                count, size = count + 1, size + entry["Size"]
            if len(batch) == PAGE:
                self._delete(batch)
                batch = []
        if batch:
            self._delete(batch)
        for upload in self._list("list_multipart_uploads", prefix, "Uploads"):
            with _worded(None):
                self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])
        return count, size

    def check(self) -> None:
        """Ask for the bucket.

        Raises:
            ConnectionError: if it cannot be reached.
        """
        with _worded(None):
            self._client.head_bucket(Bucket=self._bucket)

    def _name(self, key: str) -> str:
        return self._root + checked_key(key)

    @cached_property
    def _versioned(self) -> bool:
        """Whether deleted objects would live on as older versions."""
        try:
            answer = self._client.get_bucket_versioning(Bucket=self._bucket)
        except ClientError as error:
            log.warning("the bucket does not say whether it keeps versions (%s); taken for no", _reason(error))
            return False
        return answer.get("Status") in ("Enabled", "Suspended")

    def _deletable(self, prefix: str) -> Iterator[dict[str, Any]]:
        if not self._versioned:
            yield from self._list("list_objects_v2", prefix, "Contents")
            return
        yield from self._list("list_object_versions", prefix, "Versions", "DeleteMarkers")

    def _list(self, operation: str, prefix: str, *parts: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator(operation).paginate(
            Bucket=self._bucket, Prefix=self._root + checked_prefix(prefix), PaginationConfig={"PageSize": PAGE}
        )
        with _worded(None):
            for page in pages:
                for part in parts:
                    yield from page.get(part, ())

    def _delete(self, batch: list[dict[str, str]]) -> None:
        with _worded(None):
            answer = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": batch, "Quiet": True})
        refused = [entry.get("Code", "") for entry in answer.get("Errors", ())]
        if refused:
            raise OutputError(f"the object store did not delete {len(refused)} files: {refused[0]}")


def _chunks(body: Any) -> Iterator[bytes]:
    with closing(body), _worded(None):
        yield from body.iter_chunks(CHUNK)


@contextmanager
def _worded(absent: Exception | None) -> Iterator[None]:
    """What the server or the way to it says, in words of our own: botocore's repeat keys, which hold ids."""
    try:
        yield
    except ClientError as error:
        if absent is not None and _code(error) in _ABSENT:
            raise absent from error
        raise ConnectionError(f"the object store refused: {_reason(error)}") from error
    except BotoCoreError as error:
        raise ConnectionError(f"the object store does not answer: {_reason(error)}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _reason(error: BaseException) -> str:
    return _code(error) if isinstance(error, ClientError) and _code(error) else type(error).__name__

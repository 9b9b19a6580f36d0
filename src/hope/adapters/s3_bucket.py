"""One bucket of an S3-compatible server: what every adapter that keeps things in one shares."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from hope.adapters.aws import reason_of, worded
from hope.adapters.blob_keys import CHUNK
from hope.domain.errors import InputError, OutputError
from hope.domain.wording import counted
from hope.formats.atomic import output_error

PART_BYTES = 16 * 2**20
"""Larger files go in parts of this size, two at a time: what one upload holds in memory at most."""

PAGE = 1000
"""Objects that are listed or deleted in one call: the most that S3 allows."""

FETCH_TRIES = 3
"""How often an object is asked for: the client's own tries end where the body begins."""

PAUSE_SECONDS = 0.5
"""Before it is asked for once more; twice as long before the time after that."""

_TRANSFER = TransferConfig(
    multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2, io_chunksize=CHUNK
)

_MIB = 2**20

T = TypeVar("T")
log = logging.getLogger(__name__)


class Bucket:
    """Objects under whole keys. Connects when first used.

    Args:
        name: of the bucket.
        connect: makes the client.
        kms_key: id, alias or ARN of the KMS key that what is stored is encrypted with; else the bucket decides.
    """

    def __init__(self, name: str, connect: Callable[[], Any], kms_key: str = "") -> None:
        self._name, self._connect = name, connect
        self._encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else {}

    @cached_property
    def _client(self) -> Any:
        """One client for all threads."""
        return self._connect()

    def put_file(self, key: str, path: Path, metadata: Mapping[str, str]) -> None:
        """Store a local file, in parts if it is large; nothing is visible before the last one has arrived.

        Raises:
            OutputError: if the file cannot be read or the server refuses.
        """
        extra = {"Metadata": dict(metadata), **self._encryption}
        try:
            self._client.upload_file(str(path), self._name, key, ExtraArgs=extra, Config=_TRANSFER)
        except (S3UploadFailedError, ClientError, BotoCoreError) as error:
            # boto3 wraps what the server said in a sentence of its own, with the key in it.
            reason = reason_of(error.__context__ or error)
            raise OutputError(f"the object store did not take a file: {reason}") from error
        except OSError as error:
            raise output_error("a file of the store", error) from error

    def put_bytes(self, key: str, content: bytes, content_type: str, *, only_new: bool = False) -> bool:
        """Store a small object in one call.

        Args:
            key: where.
            content: what.
            content_type: its media type.
            only_new: leave an object that is there already as it is.

        Returns:
            Whether it was stored: False only if one was there.

        Raises:
            OutputError: if the server refuses.
            ConnectionError: if it does not answer.
        """
        condition = {"IfNoneMatch": "*"} if only_new else {}
        try:
            self._client.put_object(
                Bucket=self._name, Key=key, Body=content, ContentType=content_type, **condition, **self._encryption
            )
        except ClientError as error:
            if only_new and reason_of(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                return False
            raise OutputError(f"the object store did not take a file: {reason_of(error)}") from error
        except BotoCoreError as error:
            raise ConnectionError(f"the object store does not answer: {reason_of(error)}") from error
        return True

    def open(self, key: str, absent: Exception, most: int | None = None) -> Iterator[bytes]:
        """The bytes of an object in chunks of at most 1 MiB.

        Raises:
            InputError: if it has more than ``most`` bytes, before one of them is taken.
            ConnectionError: if the server does not answer; ``absent`` if there is no such object.
        """
        with worded(absent):
            response = self._client.get_object(Bucket=self._name, Key=key)
        body, size = response["Body"], int(response["ContentLength"])
        if most is not None and size > most:
            body.close()
            expected, got = f"at most {most / _MIB:.1f} MiB", f"{size / _MIB:.1f} MiB"
            raise InputError("an object in the bucket is too large", expected=expected, got=got)
        return _chunks(body)

    def exists(self, key: str) -> bool:
        """Whether there is such an object; raises ConnectionError if the server refuses or does not answer."""
        absent = KeyError()
        try:
            with worded(absent):
                self._client.head_object(Bucket=self._name, Key=key)
        except KeyError:
            return False
        return True

    def keys(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of everything whose key begins so, in order of the keys."""
        for entry in self._pages("list_objects_v2", prefix, "Contents"):
            yield entry["Key"], entry["Size"]

    def delete_prefix(self, prefix: str) -> tuple[int, int]:
        """Delete everything whose key begins so, with older versions and uploads that were never finished.

        Returns:
            How many objects and bytes; older versions count, since they are data too.

        Raises:
            OutputError: if the server refuses to delete one.
            ConnectionError: if it does not answer.
        """
        removed = self._delete(self._deletable(prefix))
        for upload in self._pages("list_multipart_uploads", prefix, "Uploads"):
            with worded():
                self._client.abort_multipart_upload(Bucket=self._name, Key=upload["Key"], UploadId=upload["UploadId"])
        return removed

    def delete(self, key: str) -> None:
        """Delete one object with its older versions; missing is fine. Raises as `delete_prefix`."""
        if self._versioned:
            self._delete(entry for entry in self._deletable(key) if entry["Key"] == key)
        else:
            with worded():
                self._client.delete_object(Bucket=self._name, Key=key)

    def check(self) -> None:
        """Ask for the bucket.

        Raises:
            ConnectionError: if it cannot be reached.
        """
        with worded():
            self._client.head_bucket(Bucket=self._name)

    @cached_property
    def _versioned(self) -> bool:
        """Whether deleted objects would live on as older versions."""
        try:
            response = self._client.get_bucket_versioning(Bucket=self._name)
        except ClientError as error:
            log.warning("the bucket does not say whether it keeps versions (%s); taken for no", reason_of(error))
            return False
        except BotoCoreError as error:
            raise ConnectionError(f"the object store does not answer: {reason_of(error)}") from error
        return response.get("Status") in ("Enabled", "Suspended")

    def _deletable(self, prefix: str) -> Iterator[dict[str, Any]]:
        if not self._versioned:
            yield from self._pages("list_objects_v2", prefix, "Contents")
            return
        yield from self._pages("list_object_versions", prefix, "Versions", "DeleteMarkers")

    def _pages(self, operation: str, prefix: str, *parts: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator(operation).paginate(
            Bucket=self._name, Prefix=prefix, PaginationConfig={"PageSize": PAGE}
        )
        with worded():
            for page in pages:
                for part in parts:
                    yield from page.get(part, ())

    def _delete(self, entries: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
        count = size = 0
        batch: list[dict[str, str]] = []
        for entry in entries:
            batch.append({name: entry[name] for name in ("Key", "VersionId") if name in entry})
            if "Size" in entry:
                count, size = count + 1, size + entry["Size"]
            if len(batch) == PAGE:
                self._delete_batch(batch)
                batch = []
        if batch:
            self._delete_batch(batch)
        return count, size

    def _delete_batch(self, batch: list[dict[str, str]]) -> None:
        with worded():
            response = self._client.delete_objects(Bucket=self._name, Delete={"Objects": batch, "Quiet": True})
        refused = [entry.get("Code", "") for entry in response.get("Errors", ())]
        if refused:
            raise OutputError(f"the object store did not delete {counted(len(refused), 'files')}: {refused[0]}")


def _chunks(body: Any) -> Iterator[bytes]:
    with closing(body), worded():
        yield from body.iter_chunks(CHUNK)


def save_chunks(chunks: Iterator[bytes], to: Path) -> None:
    """Write a private file; if that fails, or the chunks do, none is left.

    Raises:
        OutputError: if it cannot be written; whatever the chunks raise.
    """
    try:
        with to.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            for chunk in chunks:
                file.write(chunk)
    except BaseException as error:
        to.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):
            raise output_error(to.name, error) from error
        raise


def patiently(take: Callable[[], T]) -> T:
    """Take an object, once more if the connection breaks in the middle of it.

    Raises:
        ConnectionError: if it breaks every time; whatever else ``take`` raises.
    """
    for attempt in range(FETCH_TRIES - 1):
        try:
            return take()
        except ConnectionError:
            time.sleep(PAUSE_SECONDS * 2**attempt)
    return take()

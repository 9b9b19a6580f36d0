"""The bucket through which a case goes to an endpoint and its results come back; any other place in S3 as well.

A location is ``s3://bucket/key``; where a prefix is meant it stands for a folder, with or without a slash at its end.
Sentences never name a key: keys hold ids, and those of other people's uploads may hold more.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hope.adapters.aws import make_client, parse_location
from hope.adapters.s3_bucket import Bucket, patiently, save_chunks
from hope.contract.job import DamagedError
from hope.domain.errors import InputError

MOST_JSON_BYTES = 16 * 2**20
"""A manifest is far smaller."""


@dataclass(frozen=True)
class ObjectInfo:
    """One object: its key below the location that was listed (text, not a path to be trusted), and its size."""

    key: str
    bytes: int


class Objects:
    """Objects anywhere in S3. Connects when first used; safe from many threads.

    Args:
        endpoint_url: a server other than AWS.
        kms_key: id, alias or ARN of the KMS key that everything stored is encrypted with; else the bucket decides.
    """

    def __init__(self, endpoint_url: str = "", kms_key: str = "") -> None:
        connect = cache(lambda: make_client("s3", endpoint_url))
        self._bucket = cache(lambda name: Bucket(name, connect, kms_key))

    def list(self, location: str) -> Iterator[ObjectInfo]:
        """What lies under a location, in order of the keys; nothing if it does not exist.

        Raises:
            InputError: if the location is none.
            ConnectionError: if the server refuses or does not answer.
        """
        bucket, prefix = self._folder(location)
        for key, size in bucket.keys(prefix):
            if name := key.removeprefix(prefix):  # consoles mark a folder by an empty object of its name
                yield ObjectInfo(name, size)

    def upload(self, path: Path, to: str, sha256: str) -> None:
        """Store a file, in parts if it is large, with its hash and no other metadata.

        Raises:
            InputError: if the location is none.
            OutputError: if the file cannot be read or the server refuses.
        """
        bucket, key = self._object(to)
        bucket.put_file(key, path, {"sha256": sha256})

    def download(self, location: str, to: Path, sha256: str | None, max_bytes: int | None = None) -> str:
        """Bring an object to a local file; none is left there if that fails.

        Args:
            location: the object.
            to: the file.
            sha256: what its bytes must be; None if nobody knows.
            max_bytes: most that is taken.

        Returns:
            The hash of its bytes.

        Raises:
            DamagedError: if it is missing, or its bytes are others than expected (truncated, replaced).
            InputError: if it is larger than ``max_bytes``, before a byte of it is taken.
            OutputError: if the local file cannot be written.
            ConnectionError: if the server refuses or does not answer.
        """
        bucket, key = self._object(location)
        return patiently(lambda: _download(bucket, key, to, sha256, max_bytes))

    def put_json(self, location: str, content: Mapping[str, Any]) -> None:
        """Store an object of JSON, whole or not at all.

        Raises:
            OutputError: if the server refuses. ConnectionError: if it does not answer.
        """
        self._put_json(location, content, only_new=False)

    def put_new_json(self, location: str, content: Mapping[str, Any]) -> bool:
        """Store an object of JSON unless one is there already; of many who do so at once, one succeeds.

        Returns:
            Whether it was stored.

        Raises:
            OutputError, ConnectionError: as `put_json`.
        """
        return self._put_json(location, content, only_new=True)

    def _put_json(self, location: str, content: Mapping[str, Any], *, only_new: bool) -> bool:
        bucket, key = self._object(location)
        text = json.dumps(content, allow_nan=False, indent=1)
        return bucket.put_bytes(key, text.encode(), "application/json", only_new=only_new)

    def get_json(self, location: str) -> dict[str, Any] | None:
        """What `put_json` stored; None if it is not there.

        S3 admits that an object is missing only to those who may list the bucket: others are refused.

        Raises:
            DamagedError: if it is no JSON object.
            ConnectionError: if the server refuses or does not answer.
        """
        bucket, key = self._object(location)
        absent = KeyError()
        try:
            content = json.loads(patiently(lambda: b"".join(bucket.open(key, absent, MOST_JSON_BYTES))))
        except KeyError:
            return None
        except (ValueError, RecursionError, InputError):
            content = None
        if not isinstance(content, dict):
            raise DamagedError("an object that should hold JSON holds something else")
        return content

    def exists(self, location: str) -> bool:
        """Whether there is such an object; for whom, see `get_json`.

        Raises:
            ConnectionError: if the server refuses or does not answer.
        """
        bucket, key = self._object(location)
        return bucket.exists(key)

    def delete(self, location: str) -> None:
        """Delete one object with its older versions; missing is fine.

        Raises:
            OutputError, ConnectionError: as `delete_prefix`.
        """
        bucket, key = self._object(location)
        bucket.delete(key)

    def delete_prefix(self, location: str) -> tuple[int, int]:
        """Delete all below a location, with older versions and uploads that were never finished; missing is fine.

        Returns:
            How many objects and bytes.

        Raises:
            InputError: if the location is none, or a whole bucket.
            OutputError: if the server refuses to delete one.
            ConnectionError: if it does not answer.
        """
        bucket, prefix = self._folder(location)
        if not prefix:
            raise InputError("a whole bucket is never deleted", expected="s3://BUCKET/PREFIX", got="no prefix")
        return bucket.delete_prefix(prefix)

    def check(self, location: str) -> None:
        """Ask for the bucket; ConnectionError if it cannot be reached."""
        self._folder(location)[0].check()

    def _folder(self, location: str) -> tuple[Bucket, str]:
        name, key = parse_location(location)
        return self._bucket(name), f"{key.rstrip('/')}/" if key.rstrip("/") else ""

    def _object(self, location: str) -> tuple[Bucket, str]:
        name, key = parse_location(location)
        if not key or key.endswith("/"):
            raise InputError("the location names no object", expected="s3://BUCKET/KEY", got="a bucket or folder")
        return self._bucket(name), key


def _download(bucket: Bucket, key: str, to: Path, sha256: str | None, max_bytes: int | None) -> str:
    absent = DamagedError("an object that should be in the bucket is missing")
    digest = hashlib.sha256()

    def hashed() -> Iterator[bytes]:
        for chunk in bucket.open(key, absent, max_bytes):
            digest.update(chunk)
            yield chunk
        if sha256 not in (None, digest.hexdigest()):
            raise DamagedError("an object in the bucket is damaged or cut short: its bytes are not those expected")

    save_chunks(hashed(), to)
    return digest.hexdigest()

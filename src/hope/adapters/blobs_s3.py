"""Blobs in a bucket of an S3-compatible server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hope.adapters.aws import make_client, parse_location
from hope.adapters.blob_keys import checked_key, checked_prefix, missing, verified
from hope.adapters.s3_bucket import Bucket, patiently, save_chunks
from hope.domain.errors import InputError
from hope.ports import BlobInfo


class S3Blobs:
    """`hope.ports.BlobStore` in a bucket. Connects when first used.

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint_url: a server other than AWS.
        what: what the URL is called in a sentence.

    Raises:
        InputError: if the URL is of another form.
    """

    def __init__(self, url: str, endpoint_url: str = "", what: str = "HOPE_BLOBS_URL") -> None:
        name, prefix = parse_location(url, what)
        if "?" in prefix or "#" in prefix:
            raise InputError(f"{what} is not usable", expected="s3://BUCKET/PREFIX", got="options behind it")
        self._bucket = Bucket(name, lambda: make_client("s3", endpoint_url))
        self._root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""

    def put_file(self, key: str, path: Path, sha256: str) -> None:
        """Store a local file, in parts if it is large; nothing is visible before the last one has arrived.

        Raises:
            OutputError: if the file cannot be read or the server refuses.
        """
        self._bucket.put_file(self._name(key), path, {"sha256": sha256})

    def fetch(self, key: str, to: Path, sha256: str) -> None:
        """Bring a blob to a local file.

        Raises:
            DamagedError: if it is missing or its bytes are not those that were stored.
            OutputError: if the local file cannot be written.
            ConnectionError: if the server does not answer.
        """
        patiently(lambda: save_chunks(self.read(key, sha256), to))

    def read(self, key: str, sha256: str) -> Iterator[bytes]:
        """The bytes in chunks of at most 1 MiB.

        Raises:
            DamagedError: in the last chunk's place if the hash differs, at once if the blob is missing.
            ConnectionError: if the server does not answer.
        """
        return verified(key, self._bucket.open(self._name(key), missing(key)), sha256)

    def keys(self, prefix: str) -> Iterator[BlobInfo]:
        """What lies under a prefix that ends in a slash, in order of the keys."""
        for key, size in self._bucket.keys(self._root + checked_prefix(prefix)):
            yield BlobInfo(key.removeprefix(self._root), size)

    def delete_prefix(self, prefix: str) -> tuple[int, int]:
        """Delete all under a prefix that ends in a slash, with older versions and uploads that were never finished.

        Returns:
            How many blobs and bytes; older versions count, since they are data too.

        Raises:
            OutputError: if the server refuses to delete one.
            ConnectionError: if it does not answer.
        """
        return self._bucket.delete_prefix(self._root + checked_prefix(prefix))

    def free_bytes(self) -> None:
        """A bucket has no end that is known."""

    def check(self) -> None:
        """Ask for the bucket.

        Raises:
            ConnectionError: if it cannot be reached.
        """
        self._bucket.check()

    def _name(self, key: str) -> str:
        return self._root + checked_key(key)

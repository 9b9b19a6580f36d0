"""Blob stores keep their contract: a local directory, and an S3 server that really runs."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.servers import S3Place, free_port

from hope.adapters import s3_bucket
from hope.adapters.blobs_local import LocalBlobs
from hope.adapters.blobs_s3 import S3Blobs
from hope.domain.errors import InputError, OutputError
from hope.ports import BlobStore
from hope.testing.contracts.blob_store import BlobStoreContract, sha256_of


def stored(blobs: BlobStore, folder: Path, key: str, content: bytes) -> str:
    path = folder / f"put-{os.urandom(6).hex()}"
    path.write_bytes(content)
    blobs.put_file(key, path, sha256_of(content))
    return sha256_of(content)


class TestLocalBlobs(BlobStoreContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        return tmp_path / "store" / "blobs"

    @pytest.fixture
    def blobs(self, root: Path) -> LocalBlobs:
        return LocalBlobs(root)

    @pytest.fixture
    def damage(self, root: Path) -> Callable[[str, bytes], None]:
        def change(key: str, content: bytes) -> None:
            (root / key).write_bytes(content)

        return change

    def test_everything_is_private(self, blobs: LocalBlobs, root: Path, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            stored(blobs, tmp_path, "a/b/c", b"x")
        finally:
            os.umask(before)
        assert stat.S_IMODE((root / "a/b/c").stat().st_mode) == 0o600
        for folder in (root, root / "a", root / "a/b"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_storing_moves_and_fetching_links(self, blobs: LocalBlobs, root: Path, tmp_path: Path) -> None:
        digest = stored(blobs, tmp_path, "a/b", b"x")
        assert not list(tmp_path.glob("put-*"))
        blobs.fetch("a/b", tmp_path / "fetched", digest)
        assert (tmp_path / "fetched").samefile(root / "a/b")

    def test_another_file_system_gets_and_gives_copies(
        self, blobs: LocalBlobs, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real_replace = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if root not in path.parents:
                raise OSError(errno.EXDEV, "another file system")
            return real_replace(path, target)

        def link(*_: object) -> None:
            raise OSError(errno.EXDEV, "another file system")

        monkeypatch.setattr(Path, "replace", replace)
        monkeypatch.setattr(os, "link", link)
        digest = stored(blobs, tmp_path, "a/b", b"content")
        assert not list(tmp_path.glob("put-*"))
        assert [path.name for path in (root / "a").iterdir()] == ["b"]
        blobs.fetch("a/b", tmp_path / "fetched", digest)
        assert (tmp_path / "fetched").read_bytes() == b"content"
        assert not (tmp_path / "fetched").samefile(root / "a/b")

    def test_deleting_leaves_no_empty_folders(self, blobs: LocalBlobs, root: Path, tmp_path: Path) -> None:
        stored(blobs, tmp_path, "cases/one/1/segment/x", b"x")
        stored(blobs, tmp_path, "cases/two/x", b"x")
        blobs.delete_prefix("cases/one/1/")
        assert [path.name for path in (root / "cases").iterdir()] == ["two"]

    def test_a_directory_that_cannot_be_listed_is_not_taken_for_deleted(
        self, blobs: LocalBlobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key = "cases/one/series/scan.nii"
        stored(blobs, tmp_path, key, b"voxels")
        listed = os.scandir

        def refused(path: str | Path) -> object:
            if str(path).endswith("series"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return listed(path)

        monkeypatch.setattr(os, "scandir", refused)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            blobs.delete_prefix("cases/one/")
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            list(blobs.keys("cases/"))
        monkeypatch.undo()
        assert blobs.delete_prefix("cases/one/") == (1, len(b"voxels"))

    def test_half_copied_files_are_no_blobs_but_are_deleted(
        self, blobs: LocalBlobs, root: Path, tmp_path: Path
    ) -> None:
        stored(blobs, tmp_path, "a/b", b"x")
        (root / "a" / ".0123.part").write_bytes(b"half")
        assert [info.key for info in blobs.keys("a/")] == ["a/b"]
        assert blobs.delete_prefix("a/") == (1, 1)
        assert not (root / "a").exists()

    def test_a_full_disk_is_one_sentence(self, tmp_path: Path) -> None:
        """A real limit of the operating system, in a process of its own; the part that was written is gone."""
        program = (
            "import errno, os, pathlib, resource, signal, sys\n"
            "from hope.adapters.blobs_local import LocalBlobs\n"
            "from hope.domain.errors import OutputError\n"
            "folder = pathlib.Path(sys.argv[1]); path = folder / 'file'; path.write_bytes(bytes(100_000))\n"
            "def replace(*_): raise OSError(errno.EXDEV, 'another file system')\n"
            "pathlib.Path.replace = replace\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
            "try:\n    LocalBlobs(folder / 'store').put_file('a/b', path, '0' * 64)\n"
            "except OutputError as error:\n    print(error)\n"
        )
        run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
        assert run.stdout.count("\n") == 1
        assert "larger than this system allows" in run.stdout
        assert list((tmp_path / "store" / "a").iterdir()) == []

    def test_a_root_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"")
        blobs = LocalBlobs(tmp_path / "file" / "blobs")
        with pytest.raises(OutputError):
            blobs.check()
        with pytest.raises(OutputError, match="a part of its path is a file"):
            stored(blobs, tmp_path, "a/b", b"x")


class TestS3Blobs(BlobStoreContract):
    @pytest.fixture
    def blobs(self, s3_url: S3Place) -> S3Blobs:
        return S3Blobs(s3_url.url, s3_url.endpoint)

    @pytest.fixture
    def server(self, s3_url: S3Place) -> Any:
        return boto3.client("s3", endpoint_url=s3_url.endpoint)

    @pytest.fixture
    def bucket(self, s3_url: S3Place) -> str:
        return s3_url.url.split("/")[2]

    @pytest.fixture
    def damage(self, server: Any, bucket: str) -> Callable[[str, bytes], None]:
        def change(key: str, content: bytes) -> None:
            server.put_object(Bucket=bucket, Key=f"some/prefix/{key}", Body=content)

        return change

    def test_keys_lie_below_the_prefix_with_their_hash(
        self, blobs: S3Blobs, server: Any, bucket: str, tmp_path: Path
    ) -> None:
        digest = stored(blobs, tmp_path, "a/b", b"x")
        assert server.head_object(Bucket=bucket, Key="some/prefix/a/b")["Metadata"] == {"sha256": digest}

    def test_deletes_more_than_a_page(
        self, blobs: S3Blobs, server: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(s3_bucket, "PAGE", 10)
        for number in range(33):
            server.put_object(Bucket=bucket, Key=f"some/prefix/many/{number}", Body=b"xy")
        assert sum(1 for _ in blobs.keys("many/")) == 33
        assert blobs.delete_prefix("many/") == (33, 66)
        assert "Contents" not in server.list_objects_v2(Bucket=bucket)

    def test_older_versions_are_deleted_too(self, s3_url: S3Place, server: Any, bucket: str, tmp_path: Path) -> None:
        server.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        blobs = S3Blobs(s3_url.url, s3_url.endpoint)
        stored(blobs, tmp_path, "a/b", b"older")
        stored(blobs, tmp_path, "a/b", b"new")
        server.delete_object(Bucket=bucket, Key="some/prefix/a/b")
        assert blobs.delete_prefix("a/") == (2, 8)
        left = server.list_object_versions(Bucket=bucket)
        assert "Versions" not in left
        assert "DeleteMarkers" not in left

    def test_unfinished_uploads_are_deleted_too(self, blobs: S3Blobs, server: Any, bucket: str) -> None:
        """A worker that was killed in the middle of a large file leaves parts that no listing of objects shows."""
        upload = server.create_multipart_upload(Bucket=bucket, Key="some/prefix/a/b")
        server.upload_part(
            Bucket=bucket, Key="some/prefix/a/b", UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 100
        )
        assert blobs.delete_prefix("a/") == (0, 0)
        assert not server.list_multipart_uploads(Bucket=bucket).get("Uploads")

    def test_a_server_that_is_not_there(self, s3_url: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        blobs = S3Blobs(s3_url.url, f"http://127.0.0.1:{free_port()}")
        with pytest.raises(ConnectionError, match="does not answer"):
            blobs.check()
        with pytest.raises(OutputError, match="did not take a file"):
            stored(blobs, tmp_path, "a/b", b"x")
        with pytest.raises(ConnectionError):
            blobs.fetch("a/b", tmp_path / "x", "0" * 64)

    def test_a_bucket_that_is_not_there(self, s3_url: S3Place, tmp_path: Path) -> None:
        blobs = S3Blobs("s3://no-such-bucket-here", s3_url.endpoint)
        with pytest.raises(ConnectionError, match="refused: 404"):
            blobs.check()
        with pytest.raises(OutputError, match="NoSuchBucket"):
            stored(blobs, tmp_path, "a/b", b"x")

    def test_credentials_are_never_told(
        self, s3_url: S3Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAVERYSECRETID")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
        caplog.set_level("INFO")
        blobs = S3Blobs("s3://no-such-bucket-here", s3_url.endpoint)
        said = ""
        for call in (blobs.check, lambda: stored(blobs, tmp_path, "a/b", b"x"), lambda: blobs.delete_prefix("a/")):
            with pytest.raises((OSError, OutputError)) as caught:
                call()
            said += str(caught.value)
        assert "SECRET" not in (said + caplog.text).upper()

    @pytest.mark.parametrize(
        "url", ["s3://", "s3:///x", "https://bucket/x", "s3://key:secret@bucket/x", "s3://b/x?y=1"]
    )
    def test_refuses_other_urls(self, url: str) -> None:
        with pytest.raises(InputError) as caught:
            S3Blobs(url)
        assert "secret@" not in str(caught.value)

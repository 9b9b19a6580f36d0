# ruff: noqa: S101  (these are tests, shipped so that adapters elsewhere can use them)
"""What every `BlobStore` has to do."""

from __future__ import annotations

import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hope.contract.job import DamagedError
from hope.domain.errors import HopeError
from hope.ports import BlobStore

MEBIBYTE = 2**20


def sha256_of(content: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(content).hexdigest()


class BlobStoreContract:
    """Subclass it as ``class TestMyBlobs(BlobStoreContract)`` and provide the fixtures ``blobs`` and ``damage``.

    ``blobs``: an empty store. ``damage``: a function that replaces the stored bytes under a key behind its back.
    """

    @pytest.fixture
    def blobs(self) -> BlobStore:
        """An empty store."""
        raise NotImplementedError

    @pytest.fixture
    def damage(self) -> Callable[[str, bytes], None]:
        """Replaces stored bytes behind the store's back."""
        raise NotImplementedError

    @pytest.fixture
    def put(self, blobs: BlobStore, tmp_path: Path) -> Callable[[str, bytes], str]:
        """Store bytes under a key; returns their hash."""

        def store(key: str, content: bytes) -> str:
            path = tmp_path / f"put-{os.urandom(8).hex()}"
            path.write_bytes(content)
            digest = sha256_of(content)
            blobs.put_file(key, path, digest)
            return digest

        return store

    @pytest.mark.parametrize("size", [0, 1, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 3 * MEBIBYTE + 7])
    def test_gives_back_what_was_stored(
        self, blobs: BlobStore, put: Callable[[str, bytes], str], tmp_path: Path, size: int
    ) -> None:
        """By file and by chunks, at every size around a chunk's."""
        content = os.urandom(size)
        digest = put("cases/one/series/t1c-x.nii", content)
        chunks = list(blobs.read("cases/one/series/t1c-x.nii", digest))
        assert b"".join(chunks) == content
        assert all(0 < len(chunk) <= MEBIBYTE for chunk in chunks)
        blobs.fetch("cases/one/series/t1c-x.nii", tmp_path / "fetched", digest)
        assert (tmp_path / "fetched").read_bytes() == content

    def test_fetch_replaces_an_older_file(
        self, blobs: BlobStore, put: Callable[[str, bytes], str], tmp_path: Path
    ) -> None:
        """The file that was there is not written to: it may be a link to another blob."""
        first, second = put("a/first", b"first"), put("a/second", b"second")
        blobs.fetch("a/first", tmp_path / "file", first)
        blobs.fetch("a/second", tmp_path / "file", second)
        assert (tmp_path / "file").read_bytes() == b"second"
        assert b"".join(blobs.read("a/first", first)) == b"first"

    def test_a_key_can_be_stored_again(self, blobs: BlobStore, put: Callable[[str, bytes], str]) -> None:
        """The newer bytes count."""
        put("a/b", b"older")
        digest = put("a/b", b"newer")
        assert b"".join(blobs.read("a/b", digest)) == b"newer"

    def test_a_missing_blob_is_damage_at_once(self, blobs: BlobStore, tmp_path: Path) -> None:
        """Before the first chunk is asked for, so that a download can still answer with an error."""
        with pytest.raises(DamagedError):
            blobs.read("cases/none/x", sha256_of(b""))
        with pytest.raises(DamagedError):
            blobs.fetch("cases/none/x", tmp_path / "x", sha256_of(b""))
        assert not (tmp_path / "x").exists()

    @pytest.mark.parametrize("size", [1, 2 * MEBIBYTE, 2 * MEBIBYTE + 9])
    @pytest.mark.parametrize("how", ["one bit", "cut", "grown", "emptied"])
    def test_damage_is_noticed(
        self,
        blobs: BlobStore,
        put: Callable[[str, bytes], str],
        damage: Callable[[str, bytes], None],
        tmp_path: Path,
        size: int,
        how: str,
    ) -> None:
        """A reader never gets as many bytes as there should be, and a fetched file is not left behind."""
        content = os.urandom(size)
        digest = put("a/b/c", content)
        changed = {
            "one bit": bytes([content[0] ^ 1]) + content[1:],
            "cut": content[:-1],
            "grown": content + b"x",
            "emptied": b"",
        }[how]
        damage("a/b/c", changed)
        got = bytearray()
        with pytest.raises(DamagedError):
            for chunk in blobs.read("a/b/c", digest):
                got += chunk
        assert len(got) < max(1, len(changed))
        with pytest.raises(DamagedError):
            blobs.fetch("a/b/c", tmp_path / "fetched", digest)
        assert not (tmp_path / "fetched").exists()

    def test_errors_name_no_case(self, blobs: BlobStore) -> None:
        """Sentences reach logs, and logs know no ids."""
        with pytest.raises(DamagedError) as caught:
            blobs.read("cases/secret-id/1/segment/token/seg.nii.gz", "0" * 64)
        assert "secret-id" not in str(caught.value)
        assert "seg.nii.gz" in str(caught.value)

    def test_lists_what_lies_under_a_prefix(self, blobs: BlobStore, put: Callable[[str, bytes], str]) -> None:
        """Whole segments count: ``a/1`` is not in ``a/11``."""
        for key in ("a/1/x", "a/1/deep/er/y", "a/11/z", "b/x"):
            put(key, key.encode())
        assert {(info.key, info.bytes) for info in blobs.keys("a/1/")} == {("a/1/x", 5), ("a/1/deep/er/y", 13)}
        assert {info.key for info in blobs.keys("a/")} == {"a/1/x", "a/1/deep/er/y", "a/11/z"}
        assert list(blobs.keys("c/")) == []

    def test_deletes_a_prefix_and_nothing_beside_it(self, blobs: BlobStore, put: Callable[[str, bytes], str]) -> None:
        """Figures for the receipt are exact; what is gone is gone, and deleting it again is fine."""
        for key in ("a/1/x", "a/1/deep/er/y", "a/11/z", "b/x"):
            put(key, key.encode())
        assert blobs.delete_prefix("a/1/") == (2, 18)
        assert blobs.delete_prefix("a/1/") == (0, 0)
        assert {info.key for info in blobs.keys("a/")} == {"a/11/z"}
        assert blobs.delete_prefix("a/") == (1, 6)
        assert {info.key for info in blobs.keys("b/")} == {"b/x"}
        with pytest.raises(DamagedError):
            blobs.read("a/1/x", sha256_of(b"a/1/x"))

    @pytest.mark.parametrize(
        "key", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.hidden", "a\\b", "a b", "a\n", "ä", "a/\0", "a" * 600]
    )
    def test_refuses_odd_keys(self, blobs: BlobStore, tmp_path: Path, key: str) -> None:
        """A key never leads out of the store, whoever made it up."""
        path = tmp_path / "file"
        path.write_bytes(b"x")
        with pytest.raises(ValueError, match="key"):
            blobs.put_file(key, path, sha256_of(b"x"))
        with pytest.raises(ValueError, match="key"):
            blobs.read(key, sha256_of(b"x"))

    @pytest.mark.parametrize("prefix", ["", "/", "a", "../", "a/../", "./", "a//", "/a/"])
    def test_refuses_odd_prefixes(self, blobs: BlobStore, put: Callable[[str, bytes], str], prefix: str) -> None:
        """Above all nothing, which would be everything."""
        put("a/b", b"x")
        with pytest.raises(ValueError, match="prefix"):
            blobs.delete_prefix(prefix)
        assert [info.key for info in blobs.keys("a/")] == ["a/b"]

    def test_a_file_that_is_not_there_cannot_be_stored(self, blobs: BlobStore, tmp_path: Path) -> None:
        """One error of our own, and no blob."""
        with pytest.raises(HopeError):
            blobs.put_file("a/b", tmp_path / "nowhere", sha256_of(b""))
        assert list(blobs.keys("a/")) == []

    def test_many_threads(self, blobs: BlobStore, put: Callable[[str, bytes], str]) -> None:
        """Eight writers, readers and deleters beside one another: no one disturbs another's prefix."""

        def work(number: int) -> None:
            for turn in range(5):
                content = os.urandom(20_000)
                digest = put(f"t/{number}/{turn}/blob", content)
                assert b"".join(blobs.read(f"t/{number}/{turn}/blob", digest)) == content
                assert blobs.delete_prefix(f"t/{number}/") == (1, len(content))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert list(blobs.keys("t/")) == []

    def test_large_blobs_are_never_held_in_memory(self, blobs: BlobStore, tmp_path: Path) -> None:
        """48 MiB pass through in and out; what Python holds meanwhile stays a few chunks."""
        path, digest = tmp_path / "large", hashlib.sha256()
        with path.open("wb") as file:
            for _ in range(48):
                block = os.urandom(MEBIBYTE)
                digest.update(block)
                file.write(block)
        tracemalloc.start()
        try:
            blobs.put_file("large/one", path, digest.hexdigest())
            assert sum(len(chunk) for chunk in blobs.read("large/one", digest.hexdigest())) == 48 * MEBIBYTE
            blobs.fetch("large/one", tmp_path / "again", digest.hexdigest())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 24 * MEBIBYTE

    def test_a_reader_may_stop_early(self, blobs: BlobStore, put: Callable[[str, bytes], str]) -> None:
        """Users hang up; ten of them must not use up what the eleventh needs."""
        digest = put("a/b", os.urandom(3 * MEBIBYTE))
        for _ in range(60):
            chunks = blobs.read("a/b", digest)
            next(chunks)
            chunks.close()  # type: ignore[attr-defined]
        assert threading.active_count() < 40
        assert sum(map(len, blobs.read("a/b", digest))) == 3 * MEBIBYTE

    def test_check_passes(self, blobs: BlobStore) -> None:
        """A store that works says nothing, and the check leaves nothing behind."""
        blobs.check()
        blobs.check()

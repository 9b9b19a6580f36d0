"""Releases of model bundles in a bucket: ``ID/VERSION/release.json`` and the files that it lists with their hashes.

A release never changes: the first one of an id and version stays, and whoever comes with other bytes is refused.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hope.adapters.aws import parse_location
from hope.adapters.proxy_bucket import Objects
from hope.contract.job import DamagedError
from hope.domain.errors import BundleError, InputError, OutputError
from hope.domain.progress import Progress, silent
from hope.formats.atomic import output_error
from hope.formats.hashing import sha256_of
from hope.models.bundle import MANIFEST, Bundle, read_bundle
from hope.models.registry import ModelRegistry, check_id

FORMAT = "hope-release/1"
RELEASE = "release.json"

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ReleaseFile:
    """One file of a release: its name, size and hash."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Release:
    """One version of a bundle as it lies in a bucket.

    Attributes:
        location: ``s3://...`` folder of its ``release.json``.
        id, version, sha256: of the bundle.
        files: its files, `MANIFEST` among them.
    """

    location: str
    id: str
    version: str
    sha256: str
    files: tuple[ReleaseFile, ...]

    def place_of(self, name: str) -> str:
        """Where a file lies: below the bundle's hash, so that two who push at once never mix their files."""
        return f"{self.location}/{self.sha256}/{name}"

    def to_json(self) -> dict[str, Any]:
        """The content of ``release.json``."""
        files = [{"name": f.name, "bytes": f.bytes, "sha256": f.sha256} for f in self.files]
        return {"format": FORMAT, "id": self.id, "version": self.version, "sha256": self.sha256, "files": files}


class BucketModels:
    """Bundles in a bucket.

    Args:
        objects: access to it.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def push(self, bundle: Bundle, root: str, progress: Progress = silent) -> bool:
        """Release a bundle.

        Args:
            bundle: what to release; its files are verified first.
            root: ``s3://bucket/prefix`` of all models.
            progress: called for every file.

        Returns:
            Whether there was anything to do: False if these very bytes had been released before.

        Raises:
            InputError: if the id and version were released with other bytes, or the location cannot be used.
            BundleError: if the bundle is damaged.
            OutputError: if the bucket does not take a file.
        """
        bundle.verify()
        if not _VERSION.fullmatch(bundle.version):
            raise BundleError(f"the bundle's version {bundle.version!r} cannot be part of a key")
        with _reached():
            release = _release_of(bundle, f"{root.rstrip('/')}/{bundle.id}/{bundle.version}")
            before = self._get(release.location)
            if before is not None:
                _refuse_other(before, bundle)
            there = {entry.key: entry.bytes for entry in self._objects.list(f"{release.location}/{release.sha256}")}
            lacking = [file for file in release.files if there.get(file.name) != file.bytes]
            for number, file in enumerate(lacking):
                progress(f"push {bundle.id}: {file.name}", number / len(lacking))
                self._objects.upload(bundle.folder / file.name, release.place_of(file.name), file.sha256)
            # Last, so that a release is whole once it can be seen; of two at once, the first one counts.
            if before is None and not self._objects.put_new_json(f"{release.location}/{RELEASE}", release.to_json()):
                before = self._get(release.location)
                if before is not None:
                    _refuse_other(before, bundle)
        progress(f"push {bundle.id}: done", 1.0)
        return before is None or bool(lacking)

    def find(self, location: str, model_id: str | None = None, version: str | None = None) -> Release:
        """The one release at or below a location that fits.

        Raises:
            InputError: if there is none or more than one; the sentence lists them.
        """
        with _reached():
            releases = list(self._releases(location))
        fitting = [r for r in releases if model_id in (None, r.id) and version in (None, r.version)]
        if len(fitting) == 1:
            return fitting[0]
        there = ", ".join(f"{r.id} {r.version}" for r in fitting or releases) or "no release"
        raise InputError(
            "it is not clear which model to pull" if fitting else "there is no such model in the bucket",
            expected="one release",
            got=there,
            fix="choose with --id and --version" if releases else "check the location, or `hope models push` one",
        )

    def pull(self, release: Release, registry: ModelRegistry, progress: Progress = silent) -> bool:
        """Install a release, all of it or nothing.

        Returns:
            Whether there was anything to do: False if these very bytes are installed already.

        Raises:
            InputError: if another bundle has the id.
            BundleError: if what lies in the bucket is damaged, or not what it says.
            OutputError: if the models directory cannot be written.
        """
        for bundle in registry.list():
            if bundle.id == release.id:
                if bundle.sha256 == release.sha256:
                    return False
                raise InputError(
                    f"a model {bundle.id} is already here with other bytes",
                    expected=f"sha256 {release.sha256[:12]} (version {release.version})",
                    got=f"sha256 {bundle.sha256[:12]} (version {bundle.version})",
                    fix=f"`hope models remove {bundle.id}` first",
                )
        try:
            registry.user_folder.mkdir(parents=True, exist_ok=True)
            # Beside its place: weights are large, and the system's temporary folder may be small.
            with tempfile.TemporaryDirectory(prefix=".pulling-", dir=registry.user_folder) as folder:
                self._fetch(release, Path(folder), progress)
                registry.add(Path(folder))
        except OSError as error:
            raise output_error("the models directory", error) from error
        progress(f"pull {release.id}: done", 1.0)
        return True

    def _fetch(self, release: Release, into: Path, progress: Progress) -> None:
        total, done = sum(file.bytes for file in release.files) or 1, 0
        with _reached():
            for file in release.files:
                progress(f"pull {release.id}: {file.name}", done / total)
                try:
                    self._objects.download(release.place_of(file.name), into / file.name, file.sha256)
                except DamagedError as error:
                    raise BundleError(f"the release {release.id} {release.version} is damaged: {file.name}") from error
                done += file.bytes
        bundle = read_bundle(into)
        if (bundle.id, bundle.version, bundle.sha256) != (release.id, release.version, release.sha256):
            raise BundleError(f"the release {release.id} {release.version} holds another bundle than it says")

    def _releases(self, location: str) -> Iterator[Release]:
        root = location.rstrip("/")
        for entry in self._objects.list(root):
            if entry.key.rpartition("/")[2] == RELEASE:
                folder = f"{root}/{entry.key}".removesuffix(f"/{RELEASE}")
                if found := self._get(folder):
                    yield found

    def _get(self, location: str) -> Release | None:
        content = self._objects.get_json(f"{location}/{RELEASE}")
        return None if content is None else _read_release(content, location)


def _release_of(bundle: Bundle, location: str) -> Release:
    parse_location(location)
    names = [MANIFEST, *sorted(bundle.manifest["files"])]
    hashes = {MANIFEST: bundle.sha256, **bundle.manifest["files"]}
    files = [ReleaseFile(name, (bundle.folder / name).stat().st_size, hashes[name]) for name in names]
    if sha256_of(bundle.folder / MANIFEST) != bundle.sha256:
        raise BundleError(f"model {bundle.id}: {MANIFEST} changed while it was read")
    return Release(location, bundle.id, bundle.version, bundle.sha256, tuple(files))


def _read_release(content: Mapping[str, Any], location: str) -> Release:
    """Raises BundleError if it is not one of ours."""
    try:
        if content["format"] != FORMAT:
            raise ValueError("of another format")
        files = tuple(ReleaseFile(str(f["name"]), int(f["bytes"]), str(f["sha256"])) for f in content["files"])
        release = Release(location, str(content["id"]), str(content["version"]), str(content["sha256"]), files)
        check_id(release.id)
        usable = all(_NAME.fullmatch(file.name) and _SHA256.fullmatch(file.sha256) for file in files)
        if not usable or not _SHA256.fullmatch(release.sha256) or not _VERSION.fullmatch(release.version):
            raise ValueError("names or hashes that are none")
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise BundleError(f"{RELEASE} in the bucket is not one that this version can read") from error
    return release


def _refuse_other(before: Release, bundle: Bundle) -> None:
    if before.sha256 != bundle.sha256:
        raise InputError(
            f"{bundle.id} {bundle.version} has been released with other bytes",
            expected=f"sha256 {before.sha256[:12]}",
            got=f"sha256 {bundle.sha256[:12]}",
            fix="a release never changes: give the bundle a new version",
        )


@contextmanager
def _reached() -> Iterator[None]:
    """A bucket that does not answer is the location's fault or the settings', and no file of this machine."""
    try:
        yield
    except ConnectionError as error:
        raise InputError(
            f"the models' bucket cannot be used: {error}",
            fix="check the location, the credentials (AWS_*) and HOPE_S3_ENDPOINT_URL",
        ) from error
    except DamagedError as error:
        raise BundleError(f"{RELEASE} in the bucket is not one that this version can read") from error
    except OutputError as error:
        raise OutputError(f"the model could not be pushed: {error}") from error

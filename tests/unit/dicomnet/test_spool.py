"""The spool: a study is whole, held, or deleted in time, and a full disk leaves nothing half-stored."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hope.dicomnet.arrivals import ABORTED, REFUSED, RESTARTED
from hope.dicomnet.hospital_loop import HospitalLoop
from hope.dicomnet.instance import Instance, instance_of
from hope.dicomnet.spool import Spool
from hope.domain.errors import FullError, InputError, OutputError
from hope.domain.grid import Grid
from hope.domain.volume import Volume
from hope.testing.dicom_series import SeriesRecipe, write_series

HOURS = 24.0


class Time:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def spool(tmp_path: Path, clock: Time) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool", 10.0, HOURS, keep_free_mb=0, clock=clock)
    yield spool
    spool.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Two series of three images, and one image of another study."""
    root = tmp_path_factory.mktemp("images")
    scan = Volume(np.zeros((8, 8, 3), np.float32), Grid((8, 8, 3), np.eye(4)))
    files = [f for number in (1, 2) for f in write_series(scan, root, SeriesRecipe(number, "t1"))]
    files += write_series(scan, root / "other", SeriesRecipe(1, "t1", study="2"))[:1]
    return [path.read_bytes() for path in files]


def put(spool: Spool, association: int, *images: bytes) -> str:
    for image in images:
        spool.store(association, instance_of(image), image)
    return instance_of(images[0]).study_key


def test_a_study_is_whole_when_it_is_quiet_and_nobody_sends(spool: Spool, clock: Time, images: list[bytes]) -> None:
    key = put(spool, 1, *images[:3])
    put(spool, 2, *images[3:6])
    clock.now = 100.0
    assert spool.close_quiet() == [], "two associations are open"
    spool.ended(1, released=True)
    clock.now = 200.0
    assert spool.close_quiet() == [], "one association is open"
    spool.ended(2, released=True)
    assert spool.close_quiet() == [], "it is not quiet yet"
    clock.now = 210.0
    assert spool.close_quiet() == [key] == spool.waiting()
    assert sorted(path.read_bytes() for path in spool.take(key).iterdir()) == sorted(images[:6])


def test_only_this_account_can_read_it(spool: Spool, images: list[bytes]) -> None:
    put(spool, 1, *images)
    assert {
        path.stat().st_mode & 0o077 for path in (spool.root, *spool.root.glob("*/*"), *spool.root.glob("*/*/*"))
    } == {0}


def test_an_aborted_association_holds_its_series_until_it_is_sent_again(
    spool: Spool, clock: Time, images: list[bytes]
) -> None:
    key = put(spool, 1, *images[:2])
    spool.ended(1, released=False)
    put(spool, 2, *images[3:6])
    spool.ended(2, released=True)
    clock.now = 100.0
    assert spool.close_quiet() == [] and spool.held() == {key: ABORTED}, "another series of it does not mend it"
    put(spool, 3, *images[:3])
    spool.ended(3, released=True)
    clock.now = 200.0
    assert spool.close_quiet() == [key] and not spool.held()
    assert len(list(spool.take(key).iterdir())) == 6, "an image that came twice is one"


def test_a_series_that_says_how_many_images_it_has_is_held_until_they_came(
    spool: Spool, clock: Time, images: list[bytes]
) -> None:
    for image in images[:2]:
        told = instance_of(image)
        spool.store(1, Instance(told.study, told.series, told.uid, expected=3), image)
    spool.ended(1, released=True)
    clock.now = 100.0
    assert spool.close_quiet() == [] and list(spool.held().values()) == ["2 of 3 images of a series came"]
    key = put(spool, 2, images[2])
    spool.ended(2, released=True)
    clock.now = 200.0
    assert spool.close_quiet() == [key]


@pytest.mark.parametrize("first", [True, False])
def test_a_full_disk_leaves_nothing_half_stored(
    spool: Spool, clock: Time, images: list[bytes], monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    kept = 0 if first else 1
    for image in images[:kept]:
        put(spool, 1, image)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(FullError):
        patch.setattr(os, "fsync", full)
        put(spool, 1, images[kept])
    assert len([path for path in spool.root.rglob("*") if path.is_file() and path.name != ".lock"]) == kept
    put(spool, 1, *images[kept + 1 : 3])
    spool.ended(1, released=True)
    clock.now = 100.0
    assert spool.close_quiet() == [] and list(spool.held().values()) == [REFUSED], "an image is missing"
    key = put(spool, 2, images[kept])
    spool.ended(2, released=True)
    clock.now = 200.0
    assert spool.close_quiet() == [key]


def test_room_that_stays_free_is_not_written_into(
    tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "s", 1.0, HOURS, keep_free_mb=512)
    usage = shutil.disk_usage(tmp_path)._replace(total=2**40, free=len(images[0]) + 2**29 - 1)
    monkeypatch.setattr("hope.dicomnet.spool.shutil.disk_usage", lambda _: usage)
    with pytest.raises(FullError):
        put(spool, 1, images[0])
    spool.close()


def test_what_a_killed_process_left_goes_on(tmp_path: Path, clock: Time, images: list[bytes]) -> None:
    def opened() -> Spool:
        return Spool(tmp_path / "spool", 10.0, HOURS, 0, clock)

    before = opened()
    working = put(before, 1, *images[:3])
    before.ended(1, released=True)
    coming = put(before, 2, images[6])
    clock.now = 100.0
    assert before.close_quiet() == [working]
    (before.take(working).parents[1] / "arriving" / coming / "x.dcm.part").write_bytes(b"half")
    (before.outgoing(working) / "half.dcm").write_bytes(b"half")
    with pytest.raises(OutputError, match="another"):
        opened()
    before.close()
    after = opened()
    assert after.waiting() == [working] and not after.unsent()
    clock.now = 200.0
    assert after.close_quiet() == [] and after.held() == {coming: RESTARTED}
    assert not list(after.root.rglob("*.part"))
    after.close()


def test_late_images_open_a_study_again_unless_it_was_begun(spool: Spool, clock: Time, images: list[bytes]) -> None:
    key = put(spool, 1, *images[:3])
    spool.ended(1, released=True)
    clock.now = 20.0
    assert spool.close_quiet() == [key]
    put(spool, 2, *images[3:6])
    with pytest.raises(InputError):
        spool.take(key)
    spool.ended(2, released=True)
    clock.now = 40.0
    assert spool.close_quiet() == [key]
    assert len(list(spool.take(key).iterdir())) == 6


def test_everything_is_deleted_when_its_time_is_up(spool: Spool, clock: Time, images: list[bytes]) -> None:
    key = put(spool, 1, *images[:3])
    spool.ended(1, released=False)
    other = put(spool, 2, images[6])
    spool.ended(2, released=True)
    clock.now = 20.0
    assert spool.close_quiet() == [other]
    spool.take(other)
    spool.fail(other)
    (spool.outgoing("study-x") / "seg.dcm").write_bytes(b"x")
    start = spool.root.stat().st_mtime
    assert spool.clean(start + 3600 * HOURS - 60) == 0
    assert spool.clean(start + 3600 * HOURS + 60) == 3
    assert not list(spool.root.glob("*/*")) and not spool.held(), key


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(OutputError, match="other files"):
        Spool(tmp_path / "mine", 1.0, HOURS)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755


def test_hostile_uids_make_no_paths() -> None:
    told = Instance("../../etc", "/", "../../passwd\0")
    assert "/" not in told.study_key + told.file_name and "." not in told.study_key
    with pytest.raises(InputError):
        instance_of(b"\0" * 400)


def test_what_cannot_be_deleted_is_said_and_does_not_keep_the_rest(
    spool: Spool, clock: Time, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("study-a", "study-b"):
        folder = spool.root / "failed" / name
        folder.mkdir()
        (folder / "image.dcm").write_bytes(images[0])
    delete = shutil.rmtree

    def refusing(folder: Path) -> None:
        if Path(folder).name == "study-a":
            raise PermissionError(13, "Permission denied", str(folder))
        delete(folder)

    monkeypatch.setattr(shutil, "rmtree", refusing)
    with pytest.raises(OutputError, match=r"could not be deleted .*failed/study-a"):
        spool.clean(now=time.time() + 1000 * 3600)
    assert [path.name for path in (spool.root / "failed").iterdir()] == ["study-a"]
    for delete_one in (spool.done, spool.sent):
        delete_one("study-that-is-not-there")
    (spool.outgoing("study-a") / "seg.dcm").write_bytes(b"x")
    said: list[str] = []
    sent: list[int] = []
    loop = HospitalLoop(spool, Path, lambda files: sent.append(len(files)), said.append)
    assert loop.turn()
    assert sent == [1] and any("outgoing/study-a" in text for text in said)
    assert not loop.turn(), "what stays is not sent again at once"

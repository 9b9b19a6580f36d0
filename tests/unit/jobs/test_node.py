"""A process of the platform: what it refuses to start with, and what it leaves when it is told to stop."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hope.contract.stages import STAGES
from hope.domain.errors import InputError
from hope.jobs.node import Node
from hope.services import Services
from hope.settings import Settings
from hope.testing.fleet import Fleet, small_scan
from hope.testing.live_files import files_below


def settings(folder: Path, **platform: object) -> Settings:
    given = Settings.from_environment({"HOPE_DATA_DIR": str(folder)})
    return replace(given, platform=replace(given.platform, **platform))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("platform", "sentence"),
    [
        ({"database_url": "postgresql+psycopg://u:SECRETMARK@127.0.0.1:1/x"}, "the database does not answer"),
        ({"database_url": "mysql://u:SECRETMARK@127.0.0.1/x"}, "HOPE_DATABASE_URL is not usable"),
        ({"blobs_url": "file:///proc/there-is-no-such-place"}, "the store of files cannot be used"),
        ({"blobs_url": "ftp://somewhere"}, "HOPE_BLOBS_URL is not usable"),
        ({"stage_bodies": "no.such.module"}, "HOPE_STAGE_BODIES is not usable"),
    ],
)
def test_a_wrong_setting_is_said_at_the_start_in_one_sentence(
    tmp_path: Path, platform: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        Node(Services(settings(tmp_path, **platform)), STAGES, pipelines=False, slots=1)
    assert "SECRETMARK" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOPE_PORT", "65536"),
        ("HOPE_PORT", "0"),
        ("HOPE_POLL_SECONDS", "1e11"),
        ("HOPE_WORKERS", "many"),
        ("HOPE_LEASE_SECONDS", "nan"),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(InputError, match=name):
        Settings.from_environment({name: value})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_platform_that_is_told_to_stop_leaves_no_process_and_no_voxel_in_scratch(
    tmp_path: Path, number: signal.Signals
) -> None:
    fleet = Fleet(tmp_path, {"HOPE_SHORT_SECONDS": "60"})
    try:
        process = fleet.start("up")
        fleet.wait_ready()
        client = fleet.client()
        case = client.new_case({"t1c": small_scan()})
        client.run(case)
        client.wait(case, 60, ("running",))
        scratch = tmp_path / "data" / "scratch"
        deadline = time.monotonic() + 20
        while not any(path.suffix == ".nii" for path in files_below(scratch)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(15) == 0
        assert [path for path in scratch.rglob("*") if path.suffix != ".lock"] == []
        assert fleet.survivors() == []
    finally:
        fleet.stop()

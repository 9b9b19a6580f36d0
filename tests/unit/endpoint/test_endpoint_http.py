"""The endpoint over real HTTP before a real S3 server; only what a child does with a case is a stand-in."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.servers import S3Place
from tests.unit.endpoint.harness import CREDENTIALS, Endpoint, case, endpoint, put

from hope.adapters.proxy_bucket import Objects


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, s3_endpoint: str) -> Iterator[Endpoint]:
    with endpoint(
        tmp_path_factory.mktemp("endpoint"),
        s3_endpoint,
        {"HOPE_ENDPOINT_CASES_AT_ONCE": "2", "HOPE_ENDPOINT_CASES_WAITING": "1"},
    ) as found:
        yield found


@pytest.fixture
def s3(s3_url: S3Place) -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=s3_url.endpoint)


@pytest.fixture
def payload(s3_url: S3Place) -> dict[str, Any]:
    """The published form: results lie inside the input prefix."""
    return {"input_location": f"{s3_url.url}/case/", "output_location": f"{s3_url.url}/case/results", "job_id": "job-1"}


@pytest.fixture
def objects(s3_url: S3Place) -> Objects:
    return Objects(s3_url.endpoint)


@pytest.fixture
def stored(objects: Objects, payload: dict[str, Any]) -> Callable[[], dict[str, int]]:
    """What lies below the output location, by key."""
    return lambda: {entry.key: entry.bytes for entry in objects.list(payload["output_location"])}


def content_of(s3: Any, payload: dict[str, Any], entry: dict[str, Any]) -> bytes:
    bucket = payload["output_location"].split("/")[2]
    return bytes(s3.get_object(Bucket=bucket, Key=entry["key"])["Body"].read())


def test_a_case_becomes_results_and_the_manifest_tells_of_them(
    running: Endpoint, s3: Any, payload: dict[str, Any], stored: Callable[[], dict[str, int]], objects: Objects
) -> None:
    put(s3, payload["input_location"], case())
    answer = running.invoke(payload)
    assert answer.status_code == 200, answer.text
    reported = answer.json()
    assert reported.pop("output_location") == payload["output_location"]
    assert reported == objects.get_json(f"{payload['output_location']}/job-1/manifest.json")
    assert reported["format"] == "hope-output/1"
    assert (reported["job_id"], reported["state"], reported["kind"]) == ("job-1", "done", "case")
    assert reported["model"]["id"] == "mixed"
    assert len(reported["model"]["sha256"]) == 64
    assert reported["volumes_ml"] == {"WT": {"ml": 1.0}}
    names = [entry["name"] for entry in reported["files"]]
    assert names == ["report.html", "result.json", "short-seg.nii.gz"]
    assert set(stored()) == {"job-1/manifest.json", *(f"job-1/runs/{reported['run_id']}/{name}" for name in names)}
    mask = next(entry for entry in reported["files"] if entry["name"].endswith("-seg.nii.gz"))
    assert content_of(s3, payload, mask) == b"scan|t1n|t2f|t2w"
    assert mask["bytes"] == len(b"scan|t1n|t2f|t2w")
    assert running.left_behind == []


def test_a_retry_gets_the_same_answer_and_nothing_is_run_again(
    running: Endpoint, s3: Any, payload: dict[str, Any], objects: Objects
) -> None:
    put(s3, payload["input_location"], case())
    first = running.invoke(payload)
    before = len(running.worked)
    assert running.invoke(payload).json() == first.json()
    # Also when the caller has cleaned its input up meanwhile.
    for name in case():
        objects.delete(payload["input_location"] + name)
    assert running.invoke(payload).json() == first.json()
    assert len(running.worked) == before


def test_a_retry_whose_files_are_gone_runs_again(
    running: Endpoint, s3: Any, payload: dict[str, Any], objects: Objects, stored: Callable[[], dict[str, int]]
) -> None:
    put(s3, payload["input_location"], case())
    first = running.invoke(payload).json()
    objects.delete(f"{payload['output_location']}/job-1/runs/{first['run_id']}/report.html")
    second = running.invoke(payload).json()
    assert second["run_id"] != first["run_id"]
    assert len([key for key in stored() if key.startswith(f"job-1/runs/{first['run_id']}")]) == 0


def test_new_scans_never_get_old_results(running: Endpoint, s3: Any, payload: dict[str, Any]) -> None:
    put(s3, payload["input_location"], case())
    unnamed = {name: value for name, value in payload.items() if name != "job_id"}
    named, first = running.invoke(payload), running.invoke(unnamed).json()
    put(s3, payload["input_location"], case(t1c=b"scam"))
    second = running.invoke(unnamed).json()
    assert first["job_id"] == second["job_id"]
    assert first["input_sha256"] != second["input_sha256"]
    assert running.invoke(payload).status_code == 409
    assert named.status_code == 200


def test_the_same_job_id_for_another_payload_is_a_conflict(
    running: Endpoint, s3: Any, payload: dict[str, Any], stored: Callable[[], dict[str, int]]
) -> None:
    put(s3, payload["input_location"], case())
    mine = {**payload, "outputs": ["segmentation"]}
    del mine["job_id"]
    reported = running.invoke(mine, **{"X-Amzn-SageMaker-Inference-Id": "job-1"}).json()
    assert reported["job_id"] == "job-1"
    assert [entry["name"] for entry in reported["files"]] == ["result.json", "short-seg.nii.gz"]
    before = stored()
    answer = running.invoke(payload)
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert "job_id" in answer.json()["detail"]
    assert stored() == before


def test_duplicate_delivery_at_the_same_time_does_the_work_once(
    running: Endpoint, s3: Any, payload: dict[str, Any], stored: Callable[[], dict[str, int]]
) -> None:
    put(s3, payload["input_location"], case(t1c=b"hold twin"))
    before = len(running.worked)
    calls = [running.in_background(payload)]
    running.wait_worked(before + 1)
    calls.append(running.in_background(payload))
    time.sleep(0.3)  # should it arrive later still, it finds the manifest
    running.let_go("twin")
    for thread, _ in calls:
        thread.join(30)
    first, second = (answers[0] for _, answers in calls)
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert len(running.worked) == before + 1
    assert len({key.split("/")[2] for key in stored() if "/runs/" in key}) == 1


def test_a_child_killed_in_the_middle_leaves_nothing_and_a_retry_works(
    running: Endpoint, s3: Any, payload: dict[str, Any], objects: Objects, stored: Callable[[], dict[str, int]]
) -> None:
    put(s3, payload["input_location"], case(t1c=b"sleep 30"))
    before = len(running.worked)
    thread, answers = running.in_background(payload)
    running.wait_worked(before + 1)
    os.kill(int(running.worked[-1].split()[0]), signal.SIGKILL)
    thread.join(30)
    assert answers[0].status_code == 500
    assert "SIGKILL" in answers[0].json()["detail"]
    assert set(stored()) == {"job-1/failure.json"}
    failure = objects.get_json(f"{payload['output_location']}/job-1/failure.json")
    assert failure is not None
    assert (failure["format"], failure["job_id"], failure["status"]) == ("hope-failure/1", "job-1", 500)
    assert running.left_behind == []
    # What an attempt that was killed whole would have left behind goes with the retry's success.
    put(s3, payload["output_location"], {"job-1/runs/20260101t000000-0123456789ab/half.nii.gz": b"half"})
    put(s3, payload["input_location"], case())
    assert running.invoke(payload).status_code == 200
    assert not [key for key in stored() if "failure" in key or "half" in key]
    assert running.ping() == 200


@pytest.mark.parametrize(("words", "status"), [(b"input", 422), (b"stage", 500)])
def test_whose_fault_it_is_shows_in_the_status(
    words: bytes, status: int, running: Endpoint, s3: Any, payload: dict[str, Any], objects: Objects
) -> None:
    put(s3, payload["input_location"], case(t1c=words))
    answer = running.invoke(payload)
    assert answer.status_code == status
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"].count("\n") == 0
    failure = objects.get_json(f"{payload['output_location']}/job-1/failure.json")
    assert failure is not None
    assert failure["detail"] == problem["detail"]


def test_junk_results_and_masks_beside_the_case_are_not_downloaded(
    running: Endpoint, s3: Any, payload: dict[str, Any]
) -> None:
    junk = b"j" * 8 * 2**20
    put(s3, payload["input_location"], {**case(), "junk.bin": junk, "movie.mp4": junk, "study.zip": junk})
    put(s3, payload["input_location"], {"BraTS-PED-00001-000-seg.nii.gz": junk, "../climb-t1c.nii.gz": junk})
    put(s3, payload["input_location"], {"results/other/runs/x/BraTS-PED-00009-000-t1c.nii.gz": junk})
    put(s3, payload["input_location"], {"derivatives/deep/sub-01_T1w.nii.gz": junk, ".hidden-t1c.nii.gz": junk})
    before = running.wire.received
    answer = running.invoke(payload)
    assert answer.status_code == 200, answer.text
    assert running.wire.received - before < 2**18
    given = running.worked[-1].split()[2:]
    assert sorted(given) == sorted(case())


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"model_id": "no-such"}, 404, "one of mixed"),
        ({"colour": 1}, 400, '"colour"'),
        ({"input_location": "s3://there-is-no-such-bucket-here/x"}, 422, "input_location cannot be used"),
        ({"output_location": "s3://there-is-no-such-bucket-here/x"}, 422, "output_location cannot be used"),
    ],
    ids=["model", "key", "bucket", "output-bucket"],
)
def test_a_wrong_call_is_refused_in_one_sentence(
    change: dict[str, Any], status: int, words: str, running: Endpoint, s3: Any, payload: dict[str, Any]
) -> None:
    put(s3, payload["input_location"], case())
    answer = running.invoke(payload | change)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["detail"]


def test_what_is_no_call_at_all(running: Endpoint) -> None:
    url = f"{running.url}/invocations"
    assert httpx.post(url, content=b"no json").status_code == 400
    assert httpx.post(url, content=b"[" * 100_000).status_code == 400
    assert httpx.post(url, content=b"x" * (2**20 + 1)).status_code == 413
    assert httpx.get(url).status_code == 405
    assert httpx.get(f"{running.url}/elsewhere").json()["status"] == 404


def harmonized(files: dict[str, bytes]) -> dict[str, Any]:
    import hashlib

    listed = [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    ]
    return {"format": "hope-input/1", "case": "c", "files": listed}


HANDED = {"aligned.json": b"{}", "harmonized.json": b"{}", "aligned-t1c.npy": b"voxels"}


def test_a_harmonized_case_is_taken_as_listed(running: Endpoint, s3: Any, payload: dict[str, Any]) -> None:
    listed = json.dumps(harmonized(HANDED)).encode()
    put(s3, payload["input_location"], {**HANDED, "hope-input.json": listed, "more.npy": b"x", **case()})
    answer = running.invoke(payload)
    assert answer.status_code == 200, answer.text
    assert answer.json()["kind"] == "prediction"
    assert running.worked[-1].split()[1:] == ["prediction", *sorted(HANDED)]
    refused = running.invoke({**payload, "job_id": "job-2", "outputs": ["all"]})
    assert refused.status_code == 422
    assert "outputs" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"aligned-t1c.npy": b"vox"}, "cut short"),
        ({"aligned-t1c.npy": b"VOXELS"}, "cut short"),
        ({"aligned-t1c.npy": None}, "missing"),
    ],
    ids=["truncated", "replaced", "absent"],
)
def test_a_damaged_harmonized_case_is_the_callers_to_mend(
    change: dict[str, bytes | None], words: str, running: Endpoint, s3: Any, payload: dict[str, Any]
) -> None:
    files = {**HANDED, "hope-input.json": json.dumps(harmonized(HANDED)).encode(), **change}
    put(s3, payload["input_location"], {name: content for name, content in files.items() if content is not None})
    answer = running.invoke(payload)
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]
    assert running.left_behind == []


def test_a_case_withdrawn_while_it_ran_leaves_nothing(
    running: Endpoint, s3: Any, payload: dict[str, Any], objects: Objects, stored: Callable[[], dict[str, int]]
) -> None:
    files = {**HANDED, "aligned-t1c.npy": b"hold withdrawn"}
    put(s3, payload["input_location"], {**files, "hope-input.json": json.dumps(harmonized(files)).encode()})
    before = len(running.worked)
    thread, answers = running.in_background(payload)
    running.wait_worked(before + 1)
    objects.delete_prefix(payload["input_location"])
    running.let_go("withdrawn")
    thread.join(30)
    assert answers[0].status_code >= 400
    assert stored() == {}


def test_ping_says_what_is_true_from_loading_to_broken_to_well_again(tmp_path: Path, s3: Any, s3_url: S3Place) -> None:
    payload = {"input_location": f"{s3_url.url}/c", "output_location": f"{s3_url.url}/r", "job_id": "j"}
    put(s3, payload["input_location"], case(t1c=b"stage"))
    with endpoint(tmp_path, s3_url.endpoint, {"SHORT_LOADING": "0.5"}, wait=False) as running:
        while not (status := running.ping()):
            time.sleep(0.02)
        assert status == 503
        assert running.invoke(payload).status_code == 503
        running.wait_ready()
        (running.state / "broken").touch()
        assert running.invoke(payload).status_code == 500
        deadline = time.monotonic() + 30
        while running.ping() != 503:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (running.state / "broken").unlink()
        running.wait_ready()


def test_cases_at_once_are_not_mixed_and_more_than_fits_is_told_to_call_again(
    running: Endpoint, s3: Any, s3_url: S3Place, objects: Objects
) -> None:
    names = ("anna", "bert", "carl")
    calls, before = {}, len(running.worked)

    def call(name: str) -> dict[str, Any]:
        at = f"{s3_url.url}/{name}"
        return {"input_location": at, "output_location": f"{at}/out", "job_id": name}

    for name in (*names, "dora"):
        put(s3, f"{s3_url.url}/{name}", case(t1c=b"sleep 2\n" + name.encode(), mark=name.encode()))
    for name in names:
        calls[name] = running.in_background(call(name))
    running.wait_worked(before + 2)
    deadline = time.monotonic() + 30
    while (answer := running.invoke(call("dora"))).status_code != 503:
        assert time.monotonic() < deadline, "the third call never arrived"
    assert int(answer.headers["retry-after"]) > 0
    assert running.ping() == 200
    for name, (thread, answers) in calls.items():
        thread.join(60)
        reported = answers[0].json()
        mask = next(entry for entry in reported["files"] if entry["name"].endswith("-seg.nii.gz"))
        content = content_of(s3, {"output_location": s3_url.url}, mask)
        assert content.count(name.encode()) == 4
        assert not any(other.encode() in content for other in names if other != name)
    assert len({line.split()[0] for line in running.worked[before:]}) == 2
    assert running.left_behind == []
    secrets = (*names, CREDENTIALS["AWS_SECRET_ACCESS_KEY"], "s3://", "BraTS-PED")
    assert all(word not in running.log for word in secrets)


def test_sigterm_lets_a_short_case_finish_and_gives_the_others_back(
    tmp_path: Path, s3: Any, s3_url: S3Place, objects: Objects
) -> None:
    def call(name: str, seconds: str) -> dict[str, str]:
        put(s3, f"{s3_url.url}/{name}", case(t1c=f"sleep {seconds}".encode()))
        return {"input_location": f"{s3_url.url}/{name}", "output_location": f"{s3_url.url}/r", "job_id": name}

    grace = {"HOPE_ENDPOINT_CASES_AT_ONCE": "2", "HOPE_ENDPOINT_GRACE_SECONDS": "4"}
    with endpoint(tmp_path, s3_url.endpoint, grace) as running:
        calls = [running.in_background(call("short", "1")), running.in_background(call("long", "60"))]
        running.wait_worked(2)
        calls.append(running.in_background(call("queued", "0")))
        time.sleep(0.2)
        assert running.stop() < 20
        for thread, _ in calls:
            thread.join(10)
        statuses = [answers[0].status_code if answers else 0 for _, answers in calls]
        # On a slow machine the last call may come too late to be heard at all.
        assert statuses in ([200, 503, 503], [200, 503, 0])
        assert not any(Path("/proc", line.split()[0]).exists() for line in running.worked)
        assert list(running.scratch.iterdir()) == []
    failure = objects.get_json(f"{s3_url.url}/r/long/failure.json")
    assert failure is not None
    assert failure["status"] == 503
    assert objects.get_json(f"{s3_url.url}/r/short/manifest.json") is not None


def test_what_a_killed_process_left_is_removed_by_the_next_which_does_the_case(
    tmp_path: Path, s3: Any, s3_url: S3Place
) -> None:
    payload = {"input_location": f"{s3_url.url}/c", "output_location": f"{s3_url.url}/r", "job_id": "j"}
    put(s3, payload["input_location"], case(t1c=b"sleep 60"))
    with endpoint(tmp_path, s3_url.endpoint) as running:
        running.in_background(payload)
        running.wait_worked(1)
        running.stop(signal.SIGKILL)
        assert running.left_behind != []
    put(s3, payload["input_location"], case())
    with endpoint(tmp_path, s3_url.endpoint) as again:
        assert again.left_behind == []
        again.wire.cut = True  # a store that is away is no wrong call
        answer = again.invoke(payload)
        assert answer.status_code == 503
        assert "object store" in answer.json()["detail"]
        again.wire.cut = False
        assert again.invoke(payload).status_code == 200
        # SIGTERM while idle: at once, and nothing stays.
        assert again.stop() < 10
        assert again.process.returncode == 0
        assert list(again.scratch.iterdir()) == []

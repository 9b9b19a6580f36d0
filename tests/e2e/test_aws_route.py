"""The AWS route with real HTTP and real processes: platform, bucket, emulated endpoint, container; then its faults.

Unless the network matters the endpoint's child is a stand-in that makes each case's mask from its voxels, so that a
mask of another case, or half a mask, would be seen. Every test ends with an empty bucket.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aws_faults import (
    Route,
    expected_mask,
    invoke_directly,
    put_plain_case,
    scan_of,
    stand_in,
)

from hope.domain.case import SEQUENCES, MRSequence
from hope.formats.nifti import write_scan
from hope.localaws.aws_proxy import Fault
from hope.models.bundle import DEFAULT_MODEL
from hope.testing.aws_bodies import HOLD
from hope.testing.fleet import SessionClient
from hope.testing.head import atlas_scan
from hope.testing.live_files import files_below

pytestmark = pytest.mark.slow
SECONDS = 120.0


@pytest.fixture(scope="module")
def _route(s3_endpoint: str, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Route]:
    """One platform and one endpoint for all faults: both must outlive them. The platform alone knows ``tiny``."""
    folder = tmp_path_factory.mktemp("route")
    place = folder / "stand-in"
    place.mkdir()
    platform = {"HOPE_SAGEMAKER_TIMEOUT_SECONDS": "90", "HOPE_MODELS_DIR": str(models_dir)}
    with Route(folder, s3_endpoint, stand_in(place), platform).running() as route:
        yield route


@pytest.fixture
def route(_route: Route) -> Iterator[Route]:
    """Ready for a test; after it nothing may be left in the bucket, nor in the endpoint's folders."""
    yield _route
    (_route.folder / "stand-in" / HOLD).unlink(missing_ok=True)
    _route.platform_s3.clear()
    _route.endpoint_s3.clear()
    _route.aws.deliveries.wait_idle(SECONDS)
    assert _route.wait_empty() == []
    scratch = [path for path in files_below(_route.folder / "scratch") if path.suffix != ".lock"]
    assert scratch == []


def start(route: Route, client: SessionClient, number: int) -> tuple[str, dict[str, bytes]]:
    scans = scan_of(number)
    case = client.new_case(scans)
    client.run(case)
    return case, scans


def finish(route: Route, client: SessionClient, case: str, scans: dict[str, bytes]) -> None:
    """The case is done, and its mask is its own."""
    assert client.wait(case, SECONDS) == "done", client.call("GET", f"/api/cases/{case}") | {"log": route.fleet.logs()}
    np.testing.assert_array_equal(route.mask(client, case), expected_mask(scans))


def hold(route: Route) -> Callable[[], None]:
    """Let the endpoint stop in the middle of its next case; what is returned lets it go on."""
    file = route.folder / "stand-in" / HOLD
    file.touch()
    return lambda: file.unlink(missing_ok=True)


def begun(route: Route) -> int:
    return len(list((route.folder / "stand-in").glob("begun-*")))


def wait_for(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_two_cases_at_once_keep_apart(route: Route) -> None:
    clients = [route.fleet.client(), route.fleet.client()]
    started = [(client, *start(route, client, number)) for number, client in enumerate(clients)]
    for client, case, scans in started:
        finish(route, client, case, scans)


def test_endpoint_killed_mid_run_and_delivered_again(route: Route) -> None:
    client, before = route.fleet.client(), begun(route)
    release = hold(route)
    case, scans = start(route, client, 2)
    wait_for(lambda: begun(route) > before, "the endpoint never began")
    container = route.aws.container
    assert container
    killed = container.pid
    container.kill()
    release()
    finish(route, client, case, scans)
    assert container.pid != killed
    assert route.aws.deliveries.invocations()[-1].deliveries == 2


@pytest.mark.parametrize("side", ["platform_s3", "endpoint_s3"])
def test_s3_that_is_busy_slow_and_breaks_off(side: str, route: Route) -> None:
    proxy = getattr(route, side)
    faults = [
        proxy.add(Fault("slowdown", times=2, method="PUT")),
        proxy.add(Fault("slowdown", times=1, method="GET")),
        proxy.add(Fault("cut", times=1, method="GET", contains=".npy")),
        proxy.add(Fault("delay", times=3, seconds=0.5)),
    ]
    client = route.fleet.client()
    case, scans = start(route, client, 3)
    finish(route, client, case, scans)
    assert [fault.struck for fault in faults] == [2, 1, 1, 3]


def test_an_input_that_arrives_cut_short_is_refused_in_words(route: Route) -> None:
    fault = route.endpoint_s3.add(Fault("shorten", times=100, method="GET", contains=".npy"))
    client = route.fleet.client()
    case, _ = start(route, client, 4)
    assert client.wait(case, SECONDS) == "failed"
    assert fault.struck >= 1
    problem = client.call("GET", f"/api/cases/{case}")["problem"]
    assert "damaged or cut short" in problem


def test_a_model_that_the_endpoint_does_not_have_is_said_so(route: Route) -> None:
    client = route.fleet.client()
    case = client.new_case(scan_of(7))
    client.call("POST", f"/api/cases/{case}/run", json={"model": "tiny"})
    assert client.wait(case, SECONDS) == "failed"
    problem = json.dumps(client.call("GET", f"/api/cases/{case}")["problem"])
    assert "no such model" in problem
    assert "starter" in problem


def test_an_answer_that_arrives_cut_short_is_not_taken_for_a_mask(route: Route) -> None:
    fault = route.platform_s3.add(Fault("shorten", times=1, method="GET", contains="prediction-labels.npy"))
    client = route.fleet.client()
    case, scans = start(route, client, 5)
    state = client.wait(case, SECONDS)
    assert fault.struck == 1
    # Whether it was tried again or given up: never half a mask.
    if state == "done":
        finish(route, client, case, scans)
    else:
        assert "damaged or cut short" in json.dumps(client.call("GET", f"/api/cases/{case}"))


def test_a_session_killed_meanwhile_leaves_nothing(route: Route) -> None:
    client, before = route.fleet.client(), begun(route)
    release = hold(route)
    case, _ = start(route, client, 6)
    wait_for(lambda: begun(route) > before, "the endpoint never began")
    assert route.aws.stored()
    assert client.http.delete("/api/session").is_success
    wait_for(lambda: not route.aws.stored(), "objects of a killed session are still there")
    release()
    route.aws.deliveries.wait_idle(SECONDS)
    left = route.aws.stored()
    # SageMaker's own word of the failure remains, which nobody waits for; the bucket's lifecycle rule removes it.
    assert all(key.startswith("async/failures/") for key in left)
    for key in left:
        content = route.aws.s3.get_object(Bucket=route.aws.options.bucket, Key=key)["Body"].read()
        assert case.encode() not in content
        route.aws.s3.delete_object(Bucket=route.aws.options.bucket, Key=key)


class TestPlainCases:
    """What any client may ask for, without our platform: the published payload."""

    @pytest.fixture(autouse=True)
    def cleared(self, route: Route) -> Iterator[None]:
        yield
        for key in route.aws.stored():
            route.aws.s3.delete_object(Bucket=route.aws.options.bucket, Key=key)

    def test_output_inside_input_is_never_read_back_and_a_duplicate_runs_nothing_again(self, route: Route) -> None:
        put_plain_case(route, "study/")
        before = begun(route)
        first = invoke_directly(route, "study/", "study/results", "job-1")
        assert first[0] == 200, first
        again = invoke_directly(route, "study/", "study/results", "job-1")
        assert again == first
        assert begun(route) == before + 1
        # Another job over the same input, which holds results with scans' names by now.
        other = invoke_directly(route, "study/", "study/results", "job-2")
        assert other[0] == 200
        assert other[1]["input_sha256"] == first[1]["input_sha256"]

    def test_a_call_delivered_twice_at_once_runs_once(self, route: Route) -> None:
        from concurrent.futures import ThreadPoolExecutor

        put_plain_case(route, "study/")
        before, release = begun(route), hold(route)
        with ThreadPoolExecutor(2) as pool:
            calls = [pool.submit(invoke_directly, route, "study/", "out", "job-3") for _ in range(2)]
            wait_for(lambda: begun(route) > before, "the endpoint never began")
            release()
            (one, first), (two, second) = (call.result() for call in calls)
        assert one == two == 200
        assert first["run_id"] == second["run_id"]
        assert begun(route) == before + 1

    def test_a_missing_sequence_is_named(self, route: Route) -> None:
        put_plain_case(route, "study/", ("t1n", "t2w"))
        status, problem = invoke_directly(route, "study/", "out", "job-4")
        assert 400 <= status < 500
        assert "t1c" in problem["detail"]
        failure = route.aws.s3.get_object(Bucket=route.aws.options.bucket, Key="out/job-4/failure.json")
        assert json.loads(failure["Body"].read())["detail"] == problem["detail"]

    def test_an_unknown_model_lists_those_there_are(self, route: Route) -> None:
        put_plain_case(route, "study/")
        status, problem = invoke_directly(route, "study/", "out", "job-5", model_id="nonsense")
        assert 400 <= status < 500
        assert "starter" in problem["detail"]

    def test_junk_beside_the_case_is_never_read(self, route: Route) -> None:
        put_plain_case(route, "study/")
        for name in ("study/archive.tar", "study/notes.txt", "study/old/BraTS-PED-00077-000-seg.nii.gz"):
            route.aws.s3.put_object(Bucket=route.aws.options.bucket, Key=name, Body=bytes(2**20))
        asked = len(route.endpoint_s3.requests)
        status, _ = invoke_directly(route, "study/", "out", "job-6")
        assert status == 200
        read = [path for method, path in route.endpoint_s3.requests[asked:] if method == "GET"]
        assert sum("t1c.nii.gz" in path for path in read) == 1
        assert not [path for path in read if "archive" in path or "notes" in path or "seg.nii.gz" in path]

    def test_ping_answers_while_a_case_is_held(self, route: Route) -> None:
        import httpx

        put_plain_case(route, "study/")
        from concurrent.futures import ThreadPoolExecutor

        before, release = begun(route), hold(route)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(invoke_directly, route, "study/", "out", "job-7")
            wait_for(lambda: begun(route) > before, "the endpoint never began")
            assert all(httpx.get(f"{route.aws.container_url}/ping").status_code == 200 for _ in range(10))
            release()
            assert call.result()[0] == 200


def test_the_whole_way_with_the_default_model(s3_endpoint: str, tmp_path: Path) -> None:
    """Real stages, real endpoint, real network: upload -> bucket -> endpoint -> bucket -> mask in the page's API.

    Without notifications, which all the others have: the bucket alone must do.
    """
    scans = {}
    for number, sequence in enumerate(SEQUENCES):
        path = tmp_path / f"{sequence}.nii"
        write_scan(atlas_scan(number, enhanced=sequence is MRSequence.T1C), path)
        scans[str(sequence)] = path.read_bytes()
    platform = {"HOPE_SAGEMAKER_SNS_QUEUE_URL": ""}
    with Route(tmp_path, s3_endpoint, platform=platform, stages="hope.jobs.bodies").running() as route:
        client = route.fleet.client(timeout=120)
        case = client.new_case(scans)
        client.call("POST", f"/api/cases/{case}/run", json={"preprocessed": True})
        assert client.wait(case, 400) == "done", client.call("GET", f"/api/cases/{case}")
        facts = client.call("GET", f"/api/cases/{case}/files/result.json")
        mask = route.mask(client, case)
        assert mask.shape == (240, 240, 155)
        assert set(np.unique(mask)) <= {0, 1, 2, 3, 4}
        assert facts["model"]["id"] == DEFAULT_MODEL
        assert facts["model"]["endpoint"] == "hope"
        assert len(facts["model"]["sha256"]) == 64
        assert len(route.aws.deliveries.invocations()) == 1
        assert route.wait_empty() == []
    assert route.fleet.survivors() == []

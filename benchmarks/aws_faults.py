"""The AWS route without AWS, with faults: platform, bucket, emulated endpoint and container are real processes.

python benchmarks/aws_faults.py [--cases 40] [--kills 10] [--junk-mb 1024] [--ping-seconds 20] [--seed N]

Cases run while the endpoint is killed, S3 answers 503 or late, and bodies are cut short; one case lies beside junk,
/ping is timed while the real starter model works, and one case is done here and there. Printed is what was lost, mixed
or left behind.
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import nibabel as nib
import numpy as np
from machine import machine

from hope.localaws.aws_local import LocalAws, LocalOptions
from hope.localaws.aws_processes import free_port, moto_server
from hope.localaws.aws_proxy import Fault, FaultProxy
from hope.testing.aws_stages import label_of
from hope.testing.fleet import Fleet, SessionClient, small_scan

LIMIT_SECONDS = 120.0


class Route:
    """A platform whose models run behind the emulated endpoint; S3 can be spoilt for either side.

    Args:
        folder: data, logs.
        aws_url: a running moto server.
        endpoint: variables for `hope endpoint`.
        platform: variables for the platform.
        stages: module of the platform's stage bodies.
        options: more of `LocalOptions`.
    """

    def __init__(
        self,
        folder: Path,
        aws_url: str,
        endpoint: Mapping[str, str] | None = None,
        platform: Mapping[str, str] | None = None,
        stages: str = "hope.testing.aws_stages",
        **options: Any,
    ) -> None:
        self.folder, self.stages = folder, stages
        self.platform_s3, self.endpoint_s3 = FaultProxy(aws_url), FaultProxy(aws_url)
        self._platform = platform or {}
        chosen = {"bucket": f"hope-{random.getrandbits(48):012x}", "stop_seconds": 5.0, **options}
        self.aws = LocalAws(
            folder / "aws",
            LocalOptions(
                aws_url=aws_url,
                s3_url=self.endpoint_s3.url,
                environment={"HOPE_ENDPOINT_SCRATCH": str(folder / "scratch"), **(endpoint or {})},
                **chosen,
            ),
        )
        self.fleet: Fleet

    @contextmanager
    def running(self) -> Iterator[Route]:
        """Everything, ready."""
        with ExitStack() as stack:
            stack.enter_context(self.platform_s3.serving())
            stack.enter_context(self.endpoint_s3.serving())
            stack.enter_context(self.aws)
            environment = {
                **self.aws.environment(),
                "HOPE_S3_ENDPOINT_URL": self.platform_s3.url,
                **self._platform,
            }
            self.fleet = Fleet(self.folder / "platform", environment, bodies=self.stages)
            stack.callback(self.fleet.stop)
            self.fleet.start("up")
            self.fleet.wait_ready()
            self.aws.wait_ready()
            yield self

    def mask(self, client: SessionClient, case: str) -> np.ndarray[Any, Any]:
        """The mask as the page's API gives it."""
        names = [file["name"] for file in client.call("GET", f"/api/cases/{case}/files")["files"]]
        (name,) = [name for name in names if name.endswith("-seg.nii.gz")]
        answer = client.http.get(f"/api/cases/{case}/files/{name}")
        answer.raise_for_status()
        return voxels(gzip.decompress(answer.content))

    def wait_empty(self, seconds: float = 30.0) -> list[str]:
        """Wait until the bucket is empty; returns what is still there."""
        deadline = time.monotonic() + seconds
        while (left := self.aws.stored()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def voxels(nifti: bytes) -> np.ndarray[Any, Any]:
    """The voxels of an uncompressed NIfTI-1 file."""
    return np.asarray(nib.Nifti1Image.from_bytes(nifti).dataobj)


def scan_of(number: int) -> dict[str, bytes]:
    """A case of its own: no two have the same voxels."""
    return {name: small_scan(10 * number + place) for place, name in enumerate(("t1n", "t1c", "t2w", "t2f"))}


def expected_mask(scans: Mapping[str, bytes]) -> np.ndarray[Any, Any]:
    """What the stand-in for the network makes of it."""
    return label_of(voxels(scans["t1c"]))


def campaign(folder: Path, aws_url: str, cases: int, kills: int, seed: int) -> dict[str, Any]:
    """Run cases while the endpoint is killed and S3 misbehaves on both sides; report what came of it."""
    rng = random.Random(seed)  # noqa: S311 - which request suffers is no secret
    place = folder / "stand-in"
    place.mkdir(parents=True)
    platform = {"HOPE_MAX_CASES_IN_WORK": "1000", "HOPE_WORKERS": "4"}
    with Route(folder, aws_url, stand_in(place), platform, tries=5).running() as route:
        clients = [route.fleet.client() for _ in range(2)]
        begin = time.monotonic()
        started, killed, faults = [], 0, []
        moments = set(rng.sample(range(cases), min(kills, cases)))
        for number in range(cases):
            client, scans = clients[number % 2], scan_of(number)
            case = client.new_case(scans)
            client.run(case)
            started.append((client, case, scans))
            faults += spoil(route, rng)
            if number in moments:
                time.sleep(rng.random())
                route.aws.container.kill()  # type: ignore[union-attr] - we started it
                killed += 1
        states = Counter(client.wait(case, LIMIT_SECONDS) for client, case, _ in started)
        seconds = time.monotonic() - begin
        route.platform_s3.clear()
        route.endpoint_s3.clear()
        mixed = sum(
            not np.array_equal(route.mask(client, case), expected_mask(scans))
            for client, case, scans in started
            if client.state(case) == "done"
        )
        route.aws.deliveries.wait_idle(LIMIT_SECONDS)
        return {
            "cases": cases,
            "endpoint killed": killed,
            "endpoint started": route.aws.container.starts,  # type: ignore[union-attr]
            "deliveries": sum(one.deliveries for one in route.aws.deliveries.invocations()),
            "requests spoilt": dict(Counter(fault.kind for fault in faults for _ in range(fault.struck))),
            "states": dict(states),
            "lost": cases - states["done"],
            "mixed": mixed,
            "problems": problems(started),
            "objects left": len(route.wait_empty()),
            "seconds": round(seconds, 1),
        }


def stand_in(place: Path) -> dict[str, str]:
    """Variables for an endpoint without a network, which a file ``hold`` in the folder holds up."""
    from hope.models.registry import ModelRegistry

    models = ",".join(f"{bundle.id}={bundle.sha256}" for bundle in ModelRegistry(place).list())
    return {
        "HOPE_ENDPOINT_BODIES": "hope.testing.aws_bodies",
        "HOPE_STAND_IN_MODELS": models,
        "HOPE_STAND_IN_DIR": str(place),
    }


def spoil(route: Route, rng: random.Random) -> list[Fault]:
    """Let one thing go wrong on either side: nothing that the tries of both sides cannot outlive."""
    found = []
    for proxy in (route.platform_s3, route.endpoint_s3):
        kind = rng.choice(("slowdown", "delay", "cut", ""))
        if kind:
            method = "GET" if kind == "cut" else rng.choice(("GET", "PUT", ""))
            found.append(proxy.add(Fault(kind, times=rng.randint(1, 2), method=method, seconds=0.5)))
    return found


def problems(started: list[tuple[SessionClient, str, Any]]) -> list[str]:
    """What cases that failed say."""
    found = []
    for client, case, _ in started:
        record = client.call("GET", f"/api/cases/{case}")
        if record["state"] != "done":
            found.append(str(record.get("problem")))
    return found


def junk_beside_a_case(folder: Path, aws_url: str, junk_mb: int) -> dict[str, Any]:
    """One plain case beside junk, invoked as any client would; what was read of the junk."""
    place = folder / "stand-in"
    place.mkdir(parents=True)
    with Route(folder, aws_url, stand_in(place)).running() as route:
        s3, bucket = route.aws.s3, route.aws.options.bucket
        put_plain_case(route, "study/")
        block = bytes(8 * 2**20)
        upload = s3.create_multipart_upload(Bucket=bucket, Key="study/export of the archive.bin")
        part = {"Bucket": bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        parts = [
            {"PartNumber": n, "ETag": s3.upload_part(**part, PartNumber=n, Body=block)["ETag"]}
            for n in range(1, max(2, junk_mb // 8 + 1))
        ]
        s3.complete_multipart_upload(**part, MultipartUpload={"Parts": parts})
        begin = time.monotonic()
        status, answer = invoke_directly(route, "study/", "study/results", "job-1")
        gets = [path for method, path in route.endpoint_s3.requests if method == "GET"]
        return {
            "junk MiB": junk_mb,
            "status": status,
            "files": [entry["name"] for entry in answer.get("files", [])],
            "requests for junk": sum("archive" in path for path in gets),
            "seconds": round(time.monotonic() - begin, 2),
        }


def put_plain_case(route: Route, prefix: str, sequences: tuple[str, ...] = ("t1n", "t1c", "t2w", "t2f")) -> None:
    """Scans with BraTS names under a prefix of the proxy bucket."""
    scans = scan_of(77)
    for sequence in sequences:
        key = f"{prefix}BraTS-PED-00077-000-{sequence}.nii.gz"
        route.aws.s3.put_object(Bucket=route.aws.options.bucket, Key=key, Body=gzip.compress(scans[sequence]))


def invoke_directly(route: Route, source: str, target: str, job_id: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """POST /invocations to the container; status and answer."""
    bucket = f"s3://{route.aws.options.bucket}"
    payload = {"input_location": f"{bucket}/{source}", "output_location": f"{bucket}/{target}", "job_id": job_id}
    answer = httpx.post(f"{route.aws.container_url}/invocations", json={**payload, **more}, timeout=LIMIT_SECONDS)
    return answer.status_code, answer.json()


def ping_under_load(folder: Path, aws_url: str, seconds: float) -> dict[str, Any]:
    """Cold start of the real endpoint with the starter model, and how long /ping takes while that works."""
    from concurrent.futures import ThreadPoolExecutor

    environment = {"HOPE_ENDPOINT_SCRATCH": str(folder / "scratch")}
    options = LocalOptions(aws_url=aws_url, bucket="hope-ping", environment=environment, stop_seconds=5)
    begin = time.monotonic()
    # A client of its own: making one takes longer than the answer.
    with LocalAws(folder, options) as aws, ThreadPoolExecutor(1) as pool, httpx.Client(timeout=10) as client:
        aws.wait_ready()
        cold = time.monotonic() - begin
        put_harmonized_case(aws, folder / "case", "case/")

        def work() -> int:
            done = 0
            while time.monotonic() < deadline:
                payload = {
                    "input_location": "s3://hope-ping/case/",
                    "output_location": "s3://hope-ping/results",
                    "job_id": f"job-{done}",
                }
                answer = httpx.post(f"{aws.container_url}/invocations", json=payload, timeout=LIMIT_SECONDS)
                answer.raise_for_status()
                done += 1
            return done

        deadline = time.monotonic() + seconds
        cases, took = pool.submit(work), []
        while not cases.done():
            asked = time.perf_counter()
            assert client.get(f"{aws.container_url}/ping").status_code == 200
            took.append(1000 * (time.perf_counter() - asked))
            time.sleep(0.02)
        return {
            "cold start s": round(cold, 1),
            "invocations": cases.result(),
            "pings meanwhile": len(took),
            "ping ms, median": round(float(np.median(took)), 1),
            "ping ms, longest": round(max(took), 1),
        }


def same_here_and_there(folder: Path, aws_url: str) -> dict[str, Any]:
    """One synthetic raw case by `hope segment`, with the model here and behind the endpoint; seconds, and the masks."""
    folder.mkdir(parents=True)
    hope = [sys.executable, "-m", "hope.cli"]
    cases = folder / "cases"
    subprocess.run([*hope, "synth", "1", "-o", cases, "--seed", "11"], check=True, capture_output=True)
    environment = {"HOPE_ENDPOINT_SCRATCH": str(folder / "scratch")}
    options = LocalOptions(aws_url=aws_url, bucket="hope-same", environment=environment, stop_seconds=5)
    masks, seconds = {}, {}
    with LocalAws(folder / "aws", options) as aws:
        aws.wait_ready()
        for where in ("local", "sagemaker"):
            begin, out = time.monotonic(), folder / where
            command = [*hope, "segment", cases, "-o", out, "--predictor", where]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **aws.environment()})
            seconds[where] = time.monotonic() - begin
            masks[where] = voxels(gzip.decompress(next(out.rglob("*-seg.nii.gz")).read_bytes()))
        return {
            "mask here = there": bool(np.array_equal(masks["local"], masks["sagemaker"])),
            "tumour voxels": int((masks["local"] > 0).sum()),
            "segment here s": round(seconds["local"], 1),
            "segment there s": round(seconds["sagemaker"], 1),
            "left in its bucket": len(aws.stored()),
        }


def put_harmonized_case(aws: LocalAws, folder: Path, prefix: str) -> None:
    """The endpoint's own tiny case in the bucket, as a backend sends it."""
    import json

    from hope.endpoint.selftest import tiny_case
    from hope.formats import stage_io
    from hope.formats.hashing import sha256_of

    folder.mkdir()
    case, _ = tiny_case()
    names = stage_io.save_aligned(case.aligned, folder) + stage_io.save_harmonized(case, folder)
    files = [
        {"name": name, "bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)} for name in names
    ]
    listed = json.dumps({"format": "hope-input/1", "case": "ping", "files": files}).encode()
    for name in names:
        aws.s3.upload_file(str(folder / name), aws.options.bucket, f"{prefix}{name}")
    aws.s3.put_object(Bucket=aws.options.bucket, Key=f"{prefix}hope-input.json", Body=listed)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--junk-mb", type=int, default=1024)
    parser.add_argument("--ping-seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory(prefix="hope-aws-") as name, aws_server(Path(name)) as url:
        folder = Path(name)
        result = shown(campaign(folder / "campaign", url, chosen.cases, chosen.kills, chosen.seed))
        junk = shown(junk_beside_a_case(folder / "junk", url, chosen.junk_mb))
        shown(ping_under_load(folder / "ping", url, chosen.ping_seconds))
        same = shown(same_here_and_there(folder / "same", url))
    bad = result["lost"] or result["mixed"] or result["objects left"] or junk["requests for junk"]
    sys.exit(1 if bad or junk["status"] != 200 or not same["mask here = there"] or same["left in its bucket"] else 0)


def shown(figures: dict[str, Any]) -> dict[str, Any]:
    """Print figures, and pass them on."""
    for name, value in figures.items():
        print(f"{name:<22}{value}", flush=True)
    return figures


@contextmanager
def aws_server(folder: Path) -> Iterator[str]:
    """A moto server of our own."""
    port = free_port()
    server = moto_server(port, folder)
    server.start()
    try:
        server.wait_ready(60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


if __name__ == "__main__":
    main()

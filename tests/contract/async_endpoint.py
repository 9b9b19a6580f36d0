"""An asynchronous endpoint for tests: SageMaker's answer to an invocation, and a thread that reacts to it."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from hope.adapters.proxy_bucket import Objects
from hope.domain.case import HarmonizedCase, Prediction
from hope.formats import stage_io

NAME = "hope-test"


@dataclass
class Call:
    """One invocation.

    Attributes:
        headers: of the request.
        payload: what the object of InputLocation says.
        case: what the input holds.
        sent: all objects that lay in the bucket then.
        output, failure: where SageMaker's own answer goes.
    """

    headers: Mapping[str, str]
    payload: Mapping[str, Any]
    case: HarmonizedCase
    sent: list[str]
    output: str
    failure: str

    @property
    def folder(self) -> str:
        """Where manifest and failure go."""
        return f"{self.payload['output_location']}/{self.payload['job_id']}"


@dataclass
class AsyncEndpoint:
    """An endpoint that labels bright voxels.

    Attributes:
        objects: access to the bucket.
        root: ``s3://...`` of the proxy bucket.
        model: id and sha256 that it claims.
        react: what it does with a call; answers with a manifest unless changed.
    """

    objects: Objects
    root: str
    model: dict[str, str]
    react: Callable[[Call], None]
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def invoke(self, headers: Mapping[str, str]) -> Call:
        """What `InvokeEndpointAsync` does before it answers."""
        location = headers["X-Amzn-SageMaker-InputLocation"]
        payload = self.objects.get_json(location)
        assert payload is not None
        job = payload["job_id"]
        output = f"{self.root}/{headers['X-Amzn-SageMaker-S3OutputPathExtension']}/{job}.out"
        call = Call(
            headers,
            payload,
            self.read(payload["input_location"]),
            [entry.key for entry in self.objects.list(self.root)],
            output,
            f"{self.root}/failures/{job}-error.out",
        )
        self.calls.append(call)
        thread = threading.Thread(target=self.react, args=(call,))
        self.threads.append(thread)
        thread.start()
        return call

    def read(self, location: str) -> HarmonizedCase:
        """The case, every hash checked."""
        listed = self.objects.get_json(f"{location}hope-input.json")
        assert listed is not None
        with tempfile.TemporaryDirectory() as folder:
            for entry in listed["files"]:
                self.objects.download(f"{location}{entry['name']}", Path(folder, entry["name"]), entry["sha256"])
            return stage_io.load_harmonized(Path(folder), stage_io.load_aligned(Path(folder)))

    def predict(self, case: HarmonizedCase) -> Prediction:
        """Bright is tumour."""
        image = next(iter(case.images.values()))
        labels = (image.data > 0.5).astype(np.uint8)
        probability = {"WT": labels.astype(np.float16)}
        return Prediction(image.with_data(labels), probability, self.model["id"], self.model["sha256"])

    def answer(self, call: Call, **changes: Any) -> None:
        """Upload a prediction and its manifest, and a moment later SageMaker's own object."""
        run = f"{call.folder}/runs/r1"
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            names = stage_io.save_prediction(self.predict(call.case), folder)
            (folder / "model.json").write_text(json.dumps({**self.model, "device": "cuda:0", "precision": "bf16"}))
            files = []
            for file in [*names, "model.json"]:
                content = (folder / file).read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                self.objects.upload(folder / file, f"{run}/{file}", digest)
                key = f"{run}/{file}".split("/", 3)[3]
                files.append({"name": file, "key": key, "bytes": len(content), "sha256": digest})
        manifest = {
            "format": "hope-output/1",
            "job_id": call.payload["job_id"],
            "run_id": "r1",
            "state": "done",
            "kind": "prediction",
            "model": self.model,
            "files": files,
        }
        self.objects.put_json(f"{call.folder}/manifest.json", {**manifest, **changes})
        time.sleep(0.2)
        self.objects.put_json(call.output, {"state": "done"})

    def fail(self, call: Call, status: int, detail: str) -> None:
        """Say why there is no answer, as the endpoint does, and then as SageMaker does."""
        self.objects.put_json(f"{call.folder}/failure.json", {"status": status, "detail": detail})
        self.objects.put_json(call.failure, {"detail": "SageMaker's own words"})


@contextmanager
def serving(endpoint: AsyncEndpoint) -> Iterator[AsyncEndpoint]:
    """Answer on the loopback address until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if self.path != f"/endpoints/{NAME}/async-invocations":
                self._answer(400, {"x-amzn-ErrorType": "ValidationError"}, {"Message": "no such endpoint"})
                return
            call = endpoint.invoke(self.headers)
            places = {
                "X-Amzn-SageMaker-OutputLocation": call.output,
                "X-Amzn-SageMaker-FailureLocation": call.failure,
            }
            self._answer(202, places, {"InferenceId": self.headers["X-Amzn-SageMaker-Inference-Id"]})

        def _answer(self, status: int, headers: Mapping[str, str], content: Mapping[str, str]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            for reacting in endpoint.threads:
                reacting.join(timeout=30)
            server.shutdown()
            thread.join()

"""Every route does what the contract says, and refuses what does not fit in one sentence."""

from __future__ import annotations

import asyncio
import io
import json
import re
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.web.conftest import MakeGateway
from tests.unit.web.fakes import Gateway, nifti, packed

from hope.contract.job import CaseState, DamagedError
from hope.contract.options import RunOptions
from hope.domain.ids import reference_of, token_hash
from hope.web.vocabulary import BUNDLED_MODELS

pytestmark = pytest.mark.anyio

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem that an answer is; checks that it is one, in one sentence."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status and body["title"] and body["type"]
    assert body["detail"] and "\n" not in body["detail"] and "Traceback" not in body["detail"]
    return body


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A program with a session."""
    async with gateway.client() as stranger:
        token = (await stranger.post("/api/session")).json()["token"]
    async with gateway.client(token) as own:
        yield own


async def new_case(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/cases")
    assert answer.status_code == 201
    return str(answer.json()["id"])


async def done_case(gateway: Gateway, client: httpx.AsyncClient) -> str:
    """A case that has run, with what the short stand-ins leave behind."""
    case_id = await new_case(client)
    assert (await client.post(f"/api/cases/{case_id}/sample")).status_code == 200
    assert (await client.post(f"/api/cases/{case_id}/run")).status_code == 202
    gateway.finish(gateway.store.case(case_id))
    return case_id


async def test_a_session_opens_with_a_cookie_and_a_token(gateway: Gateway) -> None:
    async with gateway.client() as client:
        answer = await client.post("/api/session", json={"terms_accepted": True})
        assert answer.status_code == 201
        body = answer.json()
        cookie = answer.headers["set-cookie"]
        assert f"hope_session={body['token']}" in cookie
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie and "Secure" not in cookie
        assert body["limits"] == {"max_upload_bytes": 2048 * 2**20, "max_cases_in_work": 10, "session_hours": 24}
        assert body["expires_at"] == pytest.approx(body["created_at"] + 24 * 3600, abs=5)
        assert body["cases"] == [] and body["notify"] == {} and body["close_with_page"] is False
        # The cookie alone opens it, the body does not repeat the token.
        again = await client.get("/api/session")
        assert again.status_code == 200
        assert again.json() == {k: v for k, v in body.items() if k != "token"}
        assert gateway.store.session_of_token(token_hash(body["token"])) is not None


async def test_a_public_gateway_marks_its_cookie_secure(new_gateway: MakeGateway, tmp_path: Any) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"lab {token_hash('hope_' + 'x' * 40)}\n")
    tokens.chmod(0o600)
    gateway = new_gateway(host="0.0.0.0", api_tokens_file=str(tokens))  # noqa: S104
    async with gateway.client() as client:
        refused = await client.post("/api/session")
        problem_of(refused, 401)
        opened = await client.post("/api/session", headers={"X-Hope-Token": "hope_" + "x" * 40})
        assert opened.status_code == 201 and "Secure" in opened.headers["set-cookie"]
    assert [entry.outcome for entry in gateway.store.audit()] == ["refused", "ok"]
    assert gateway.store.audit()[-1].actor == "token:lab"


async def test_terms_can_be_refused_and_nothing_opens(gateway: Gateway) -> None:
    async with gateway.client() as client:
        body = problem_of(await client.post("/api/session", json={"terms_accepted": False}), 422)
        assert "terms" in body["what"]
    assert gateway.store.sessions() == []


async def test_without_a_session_everything_is_401(gateway: Gateway) -> None:
    async with gateway.client("x" * 43) as client:
        for method, path in (("GET", "/api/session"), ("POST", "/api/cases"), ("GET", "/api/cases/" + "0" * 26)):
            answer = await client.request(method, path)
            problem_of(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["type"] == "/problems/session-ended"
    async with gateway.client() as stranger:
        # A browser that lost its cookie learns that nobody says its data is gone.
        assert problem_of(await stranger.get("/api/session"), 401)["type"] == "/problems/no-session"


async def test_a_session_can_be_changed(gateway: Gateway, client: httpx.AsyncClient) -> None:
    changed = await client.patch(
        "/api/session", json={"close_with_page": True, "notify": {"webhook": "https://example.org/x", "email": ""}}
    )
    assert changed.status_code == 200
    assert changed.json()["close_with_page"] is True
    assert changed.json()["notify"] == {"webhook": "https://example.org/x"}
    cleared = await client.patch("/api/session", json={"notify": {}})
    assert cleared.json()["notify"] == {} and cleared.json()["close_with_page"] is True


@pytest.mark.parametrize(
    "notify",
    [
        {"webhook": "ftp://example.org"},
        {"webhook": "https://user:word@example.org"},
        {"webhook": "no address"},
        {"email": "name@example.org"},  # no SMTP server is set
        {"email": "no address"},
        {"pager": "1"},
    ],
)
async def test_a_notification_that_could_not_arrive_is_refused(
    client: httpx.AsyncClient, notify: dict[str, str]
) -> None:
    answer = await client.patch(
        "/api/session", content=json.dumps({"notify": notify}), headers={"Content-Type": "application/json"}
    )
    problem_of(answer, 422)


async def test_leaving_is_noted_and_any_use_takes_it_back(gateway: Gateway, client: httpx.AsyncClient) -> None:
    token = client.headers["authorization"].removeprefix("Bearer ")
    session_id = (await client.get("/api/session")).json()["id"]
    async with gateway.client() as beacon:
        left = await beacon.post("/api/session/leave", content=json.dumps({"token": token}))
        assert left.status_code == 204 and left.content == b""
        problem_of(await beacon.post("/api/session/leave"), 401)
        problem_of(await beacon.post("/api/session/leave", content=b"{"), 400)
        problem_of(await beacon.post("/api/session/leave", content=b" " * 5000), 413)
    assert gateway.store.session(session_id).left_at is not None
    await client.get("/api/session")
    assert gateway.store.session(session_id).left_at is None


async def test_kill_leaves_nothing_but_a_receipt(gateway: Gateway, client: httpx.AsyncClient) -> None:
    await done_case(gateway, client)
    assert len(gateway.blob_files()) > 20
    session_id = (await client.get("/api/session")).json()["id"]
    killed = await client.delete("/api/session")
    assert killed.status_code == 200
    receipt = killed.json()
    assert receipt["cases"] == 1 and receipt["files"] > 20 and receipt["bytes"] > 0 and receipt["reason"] == "user"
    assert receipt["reference"] == reference_of(session_id)
    assert gateway.blob_files() == [] and gateway.scratch_files() == []
    assert 'hope_session=""' in killed.headers["set-cookie"]
    problem_of(await client.get("/api/session"), 401)
    last = gateway.store.audit()[-1]
    assert (last.action, last.target, last.outcome) == ("session.kill", reference_of(session_id), "ok")


async def test_a_case_is_uploaded_run_and_read(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    for sequence in SEQUENCES:
        answer = await client.put(f"/api/cases/{case_id}/series/{sequence}", content=packed(nifti((50, 50, 50))))
        assert answer.status_code == 200, answer.text
        assert answer.json()["shape"] == [50, 50, 50] and answer.json()["orientation"] == "RAS"
        assert answer.json()["sequence"] == answer.json()["key"] == sequence
    run = await client.post(f"/api/cases/{case_id}/run", json={"model": "starter", "postprocess": False})
    assert run.status_code == 202
    assert run.json()["state"] == "queued" and run.json()["run"] == 1
    assert run.json()["choice"] == {**RunOptions().to_json(), "model": "starter", "postprocess": False}
    assert [stage["state"] for stage in run.json()["stages"]] == ["waiting"] * 4
    assert gateway.queue.enqueued == [(case_id, gateway.store.case(case_id).session_id, 1, 10)]
    gateway.finish(gateway.store.case(case_id))
    case = (await client.get(f"/api/cases/{case_id}")).json()
    assert case["state"] == "done" and case["tumour_found"] is True and case["reference"] == "t1c"
    assert case["interval_method"] == "none: the stages are short"
    assert case["volumes_ml"]["WT"]["ml"] == 1.0 and case["missing"] == [] and case["model"]["id"] == "short"
    assert [stage["state"] for stage in case["stages"]] == ["done"] * 4
    assert all(stage["title"] and stage["seconds"] >= 0 for stage in case["stages"])
    assert (await client.get("/api/cases")).json()["cases"] == [case]
    assert (await client.get("/api/session")).json()["cases"] == [case]


async def test_files_are_listed_and_downloaded(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await done_case(gateway, client)
    files = (await client.get(f"/api/cases/{case_id}/files")).json()["files"]
    names = {file["name"] for file in files}
    short = f"case-{case_id[:8]}"
    assert {f"{short}-seg.nii.gz", f"{short}-t1c-view.nii.gz", f"{short}-mesh-ET.mz3", "report.html"} <= names
    assert "preprocess.json" not in names  # what only stages read
    for file in files:
        answer = await client.get(f"/api/cases/{case_id}/files/{file['name']}")
        assert answer.status_code == 200 and len(answer.content) == file["bytes"]
        assert answer.headers["etag"] == f'"{file["sha256"]}"'
        assert answer.headers["content-disposition"] == f'attachment; filename="{file["name"]}"'
    problem_of(await client.get(f"/api/cases/{case_id}/files/preprocess.json"), 404)
    problem_of(await client.get(f"/api/cases/{case_id}/files/..%2F..%2Fhope.sqlite"), 404)


async def test_a_correction_becomes_a_version(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await done_case(gateway, client)
    first = await client.put(f"/api/cases/{case_id}/segmentation", content=nifti((4, 4, 4), datatype=2, itemsize=1))
    assert first.status_code == 200, first.text
    assert first.json()["version"] == 1 and first.json()["name"] == f"case-{case_id[:8]}-seg-v1.nii.gz"
    second = await client.put(
        f"/api/cases/{case_id}/segmentation", content=packed(nifti((4, 4, 4), datatype=2, itemsize=1))
    )
    assert second.json()["version"] == 2 and second.json()["name"].endswith("-seg-v2.nii.gz")
    versions = (await client.get(f"/api/cases/{case_id}/segmentations")).json()["versions"]
    assert [(v["version"], v["made_by"]) for v in versions] == [(0, "model"), (1, "user"), (2, "user")]
    assert versions[1]["volumes_ml"]["WT"]["ml"] == 1.0
    corrected = await client.get(f"/api/cases/{case_id}/files/{first.json()['name']}")
    assert corrected.status_code == 200
    case = (await client.get(f"/api/cases/{case_id}")).json()
    assert case["version"] == 2 and case["volumes_ml"] == versions[2]["volumes_ml"]
    assert case["tumour_found"] is True and "interval_method" not in case
    late = {"newest_known": 1}
    mask = nifti((4, 4, 4), datatype=2, itemsize=1)
    refused = problem_of(await client.put(f"/api/cases/{case_id}/segmentation", content=mask, params=late), 409)
    assert "version 2 is the newest" in refused["detail"]
    job = gateway.tasks.jobs[-1]
    assert job["do"] == "segmentation" and job["case"] == f"case-{case_id[:8]}"
    assert gateway.scratch_files() == []


async def test_a_mask_of_an_earlier_run_is_no_correction_of_the_run_after_it(
    gateway: Gateway, client: httpx.AsyncClient
) -> None:
    """A tab that slept meanwhile knows of no version, and of no run, that came after its own."""
    case_id = await done_case(gateway, client)
    there, mask = f"/api/cases/{case_id}", nifti((4, 4, 4), datatype=2, itemsize=1)
    seen = (await client.get(there)).json()
    known = {"newest_known": seen["version"], "run": seen["run"]}
    assert (await client.post(f"{there}/run")).status_code == 202
    gateway.finish(gateway.store.case(case_id))
    refused = problem_of(await client.put(f"{there}/segmentation", content=mask, params=known), 409)
    assert "run 1" in refused["detail"] and "run 2" in refused["detail"]
    assert (await client.get(there)).json()["version"] == 0
    kept = await client.put(f"{there}/segmentation", content=mask, params={**known, "run": 2})
    assert kept.status_code == 200 and kept.json()["version"] == 1


async def test_a_case_has_a_name_that_stands_in_no_file_and_no_log(
    gateway: Gateway, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    case_id = await done_case(gateway, client)
    named = await client.patch(f"/api/cases/{case_id}", json={"label": "  QUITEUNLIKELY   name "})
    assert named.status_code == 200 and named.json()["label"] == "QUITEUNLIKELY name"
    assert (await client.get("/api/cases")).json()["cases"][0]["label"] == "QUITEUNLIKELY name"
    for wrong in ("x" * 81, "a\u0000b", "a\u202eb"):
        problem_of(await client.patch(f"/api/cases/{case_id}", json={"label": wrong}), 422)
    await client.put(f"/api/cases/{case_id}/segmentation", content=nifti((4, 4, 4), datatype=2, itemsize=1))
    assert not any(b"QUITEUNLIKELY" in path.read_bytes() for path in gateway.blob_files())
    told = [caplog.text, (await client.get(f"/api/cases/{case_id}/diagnostics")).text, repr(gateway.tasks.jobs)]
    told += [repr(list(gateway.store.audit())), repr(gateway.store.events([case_id], 0))]
    held = [line for text in told for line in text.splitlines() if "QUITEUNLIKELY" in line]
    assert not held, held
    await client.delete(f"/api/cases/{case_id}")
    assert not any(b"QUITEUNLIKELY" in path.read_bytes() for path in gateway.folder.rglob("*") if path.is_file())


async def test_scans_are_checked_as_they_are_now(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    empty = (await client.get(f"/api/cases/{case_id}/checks")).json()
    assert "no scan" in empty["problem"] and gateway.tasks.jobs == []
    await client.post(f"/api/cases/{case_id}/sample")
    remark = {"code": "small_overlap", "severity": "caution", "sequence": "", "reason": "they overlap by 40 % only"}

    def body(job: dict[str, Any]) -> dict[str, Any]:
        assert sorted(path.name for path in Path(job["in"]).iterdir()) == ["t1c.nii", "t1n.nii", "t2f.nii", "t2w.nii"]
        return {"result": {"problem": "", "remarks": [remark], "thumbnails": {"t1c": "UklGRg=="}}}

    gateway.tasks.body = body
    assert (await client.get(f"/api/cases/{case_id}/checks")).json() == {
        "remarks": [remark],
        "thumbnails": {"t1c": "UklGRg=="},
    }
    gateway.tasks.body = lambda job: {"result": {"problem": "t1n and t1c are the same image", "remarks": []}}
    refused = (await client.get(f"/api/cases/{case_id}/checks")).json()
    assert refused == {"problem": "t1n and t1c are the same image", "remarks": [], "thumbnails": {}}
    assert gateway.scratch_files() == []


async def test_a_case_that_is_not_done_takes_no_correction(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    problem_of(await client.put(f"/api/cases/{case_id}/segmentation", content=nifti()), 409)
    assert (await client.get(f"/api/cases/{case_id}/segmentations")).json() == {"versions": []}
    assert (await client.get(f"/api/cases/{case_id}/files")).json() == {"files": []}


async def test_a_replaced_scan_is_deleted(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    for seed in (1, 2):
        content = nifti(voxels=bytes([seed, 0] * 119 + [9, 9]))
        assert (await client.put(f"/api/cases/{case_id}/series/t1c", content=content)).status_code == 200
    assert len(gateway.blob_files()) == 1
    stored = await client.get(f"/api/cases/{case_id}/series/t1c")
    assert stored.content.endswith(content[352:])
    assert stored.headers["content-disposition"] == f'attachment; filename="case-{case_id[:8]}-t1c.nii"'
    problem_of(await client.get(f"/api/cases/{case_id}/series/t2w"), 404)


async def test_a_result_says_that_its_scans_were_changed_since(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)

    async def said() -> list[str]:
        case = (await client.get(f"/api/cases/{case_id}")).json()
        assert case["state"] == "done" and case["volumes_ml"]
        return [flag["reason"] for flag in case["qc"] if flag["code"] == "scans_changed"]

    async def put(sequence: str, seed: int) -> None:
        content = nifti(voxels=bytes([seed, 0] * 119 + [9, 9]))
        assert (await client.put(f"/api/cases/{case_id}/series/{sequence}", content=content)).status_code == 200

    await put("t1c", 1)
    await put("t2f", 2)
    await client.post(f"/api/cases/{case_id}/run")
    gateway.finish(gateway.store.case(case_id))
    assert await said() == []
    await put("t1c", 3)
    await put("t1n", 4)
    (reason,) = await said()
    assert reason.startswith("t1n, t1c are not what this result was made on")
    assert reason in (await client.get("/api/session/cases.csv")).text, "it is the worst remark"
    await put("t1c", 1)
    assert (await client.delete(f"/api/cases/{case_id}/series/t1n")).status_code == 200
    assert await said() == []
    await client.put(f"/api/cases/{case_id}/assignments", json={"t2w": "t2f"})
    assert [reason[:8] for reason in await said()] == ["t2w, t2f"]
    await client.post(f"/api/cases/{case_id}/run")
    gateway.finish(gateway.store.case(case_id))
    assert await said() == []


async def test_the_same_image_twice_is_warned_of(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti())
    answer = await client.put(f"/api/cases/{case_id}/series/t1n", content=packed(nifti()))
    assert any("same image as t1c" in warning for warning in answer.json()["warnings"])


async def test_the_sample_is_made_once_and_marked(gateway: Gateway, client: httpx.AsyncClient) -> None:
    first, second = await new_case(client), await new_case(client)
    for case_id in (first, second):
        answer = await client.post(f"/api/cases/{case_id}/sample")
        assert [series["sequence"] for series in answer.json()["series"]] == list(SEQUENCES)
        assert all(any("synthetic" in w for w in series["warnings"]) for series in answer.json()["series"])
    assert [job["do"] for job in gateway.tasks.jobs] == ["sample"]


async def test_series_are_assigned_by_hand(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    await client.post(f"/api/cases/{case_id}/sample")
    answer = await client.put(f"/api/cases/{case_id}/assignments", json={"t1n": "t1c", "t1c": "t1n", "t2f": None})
    assert answer.status_code == 200
    assert {s["key"]: s["sequence"] for s in answer.json()["series"]} == {
        "t1n": "t1c",
        "t1c": "t1n",
        "t2w": "t2w",
        "t2f": None,
    }
    assert (
        "t1n"
        in problem_of(await client.put(f"/api/cases/{case_id}/assignments", json={"t1n": "series-9"}), 422)["expected"]
    )
    problem_of(await client.put(f"/api/cases/{case_id}/assignments", json={"t1n": "t2w", "t1c": "t2w"}), 422)
    problem_of(await client.put(f"/api/cases/{case_id}/assignments", json={"pd": "t2w"}), 422)


async def test_what_cannot_run_is_said_before_it_runs(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    assert "no scan" in problem_of(await client.post(f"/api/cases/{case_id}/run"), 422)["what"]
    await client.post(f"/api/cases/{case_id}/sample")
    unknown = problem_of(await client.post(f"/api/cases/{case_id}/run", json={"model": "nnn"}), 422)
    assert unknown["expected"] == "one of starter" and unknown["got"] == "nnn"
    problem_of(await client.post(f"/api/cases/{case_id}/run", json={"priority": 1}), 422)
    assert gateway.queue.enqueued == []


async def test_a_case_in_work_takes_no_scan_and_can_be_cancelled(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await new_case(client)
    await client.post(f"/api/cases/{case_id}/sample")
    await client.post(f"/api/cases/{case_id}/run")
    problem_of(await client.post(f"/api/cases/{case_id}/run"), 409)
    problem_of(await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti()), 409)
    problem_of(await client.put(f"/api/cases/{case_id}/dicom", content=b"PK"), 409)
    problem_of(await client.post(f"/api/cases/{case_id}/sample"), 409)
    problem_of(await client.put(f"/api/cases/{case_id}/assignments", json={"t1n": None}), 409)
    cancelled = await client.post(f"/api/cases/{case_id}/cancel")
    assert cancelled.json()["state"] == "cancelled" and gateway.queue.cancelled == [(case_id, 1)]
    assert (await client.post(f"/api/cases/{case_id}/cancel")).json()["state"] == "cancelled"


async def test_limits_of_a_session(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(max_session_files=2, max_cases_in_work=1, max_upload_mb=1)
    async with gateway.client() as client:
        await client.post("/api/session")
        one, two = await new_case(client), await new_case(client)
        problem_of(await client.post("/api/cases"), 409)
        for case_id in (one, two):
            assert (await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti())).status_code == 200
        assert (
            "too many files"
            in problem_of(await client.put(f"/api/cases/{one}/series/t2w", content=nifti()), 413)["what"]
        )
        # Replacing needs no more room.
        assert (await client.put(f"/api/cases/{one}/series/t1c", content=nifti())).status_code == 200
        assert (await client.post(f"/api/cases/{one}/run")).status_code == 202
        assert "1 case in work" in problem_of(await client.post(f"/api/cases/{two}/run"), 409)["detail"]


async def test_a_session_has_room_for_so_many_bytes_however_small_they_were_sent(new_gateway: MakeGateway) -> None:
    gateway = new_gateway(max_upload_mb=1, max_session_mb=8)
    large = packed(nifti((180, 180, 120), voxels=bytes(180 * 180 * 120 * 2 - 2) + b"\1\1"))  # 7.4 MiB unpacked
    async with gateway.client() as client:
        await client.post("/api/session")
        case_id = await new_case(client)
        assert (await client.put(f"/api/cases/{case_id}/series/t1c", content=large)).status_code == 200
        body = problem_of(await client.put(f"/api/cases/{case_id}/series/t1n", content=large), 413)
        assert body["expected"] == "at most 8 MiB"
    assert len(gateway.blob_files()) == 1 and gateway.scratch_files() == []


async def test_delete_case_leaves_the_others(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gone, stays = await done_case(gateway, client), await new_case(client)
    await client.put(f"/api/cases/{stays}/series/t1c", content=nifti())
    receipt = (await client.delete(f"/api/cases/{gone}")).json()
    assert receipt["cases"] == 1 and receipt["files"] > 20 and receipt["reason"] == "case deleted"
    assert len(gateway.blob_files()) == 1
    problem_of(await client.get(f"/api/cases/{gone}"), 404)
    assert [case["id"] for case in (await client.get("/api/cases")).json()["cases"]] == [stays]


async def test_diagnostics_hold_no_id(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await done_case(gateway, client)
    answer = await client.get(f"/api/cases/{case_id}/diagnostics")
    body = answer.json()
    assert case_id not in answer.text and gateway.store.case(case_id).session_id not in answer.text
    assert body["reference"] == reference_of(case_id)
    assert body["software"]["hope"] and body["software"]["torch"] and body["case"]["state"] == "done"
    assert {"state", "stage", "series"} <= {event["kind"] for event in body["events"]}


async def test_words_and_models(client: httpx.AsyncClient) -> None:
    words = (await client.get("/api/vocabulary")).json()
    assert (await client.get("/api/words")).json() == words, "the route of version 0.1"
    assert [label["key"] for label in words["labels"]] == ["ET", "NET", "CC", "ED"]
    assert words["labels"][0] == {"value": 1, "key": "ET", "name": "Enhancing tumour", "colour": "#D55E00"}
    assert {"key": "WT", "name": "Whole tumour", "labels": [1, 2, 3, 4]} in words["regions"]
    assert {s["key"]: s["optional"] for s in words["sequences"]} == {
        "t1n": True,
        "t1c": False,
        "t2w": False,
        "t2f": False,
    }
    assert set(words["states"]) == set(CaseState)
    assert any("24 hours" in term for term in words["terms"])
    assert (await client.get("/api/models")).json()["models"][0]["id"] == "starter"
    assert words["links"] == {"docs": None, "model_card": None}
    assert sum(stage["usual_seconds"] for stage in words["stages"]) > 10


async def test_the_page_links_the_documentation_and_the_models_card(new_gateway: MakeGateway) -> None:
    made = new_gateway(docs_url="https://docs.example.org/hope/")
    async with made.client() as client:
        links = (await client.get("/api/vocabulary")).json()["links"]
    docs = "https://docs.example.org/hope"
    assert links == {"docs": f"{docs}/index.html", "model_card": f"{docs}/model-cards/starter.html"}


def test_every_model_of_the_package_has_a_card() -> None:
    cards = Path(__file__).resolve().parents[3] / "docs" / "model-cards"
    assert BUNDLED_MODELS and all((cards / f"{model}.md").is_file() for model in BUNDLED_MODELS)


async def test_health_and_readiness(gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any) -> None:
    assert (await client.get("/readyz")).json()["parts"] == {"store": "ok", "blobs": "ok", "queue": "ok", "disk": "ok"}
    gateway.queue.wrong = RuntimeError("secret of the engine")
    body = problem_of(await client.get("/readyz"), 503)
    assert body["detail"] == "queue reports an error"
    assert (await client.get("/healthz")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/cases/", 404),
        ("PUT", "/api/session", 405),
        ("DELETE", "/api/vocabulary", 405),
        ("GET", "/docs", 404),
        ("POST", "/api/cases/x/series/t9x", 405),
    ],
)
async def test_unknown_addresses_are_problems(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    problem_of(await client.request(method, path), status)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"terms_accepted": "perhaps"}', b"[1]", b'{"\\ud800": 1}'])
async def test_bad_json_is_a_problem(gateway: Gateway, body: bytes) -> None:
    async with gateway.client() as client:
        answer = await client.post("/api/session", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
        problem_of(answer, answer.status_code)


async def test_our_own_failure_is_a_500_without_a_word_of_it(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any, caplog: Any
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("Surnamemark in /secret/path")

    monkeypatch.setattr(type(gateway.store), "cases", fail)
    answer = await client.get("/api/cases")
    assert "Surnamemark" not in json.dumps(problem_of(answer, 500))
    assert answer.headers["x-request-id"] and answer.headers["x-content-type-options"] == "nosniff"
    records = [record for record in caplog.records if record.getMessage() == "unexpected error"]
    assert records and records[0].error.startswith("ValueError") and "test_api.py" in records[0].where


async def test_a_store_that_is_away_is_a_503_that_says_when_to_try_again(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any
) -> None:
    def away(*_: Any) -> None:
        raise ConnectionError("the database does not answer: secret-host port 5432")

    monkeypatch.setattr(type(gateway.store), "cases", away)
    answer = await client.get("/api/cases")
    assert "secret-host" not in json.dumps(problem_of(answer, 503))
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("whole_session", [True, False])
async def test_an_upload_ends_when_its_case_is_deleted(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any, whole_session: bool
) -> None:
    monkeypatch.setattr("hope.web.case_watch.WATCH_SECONDS", 0.05)
    case_id = await new_case(client)
    begun, stop = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"voxels" * 100_000
        begun.set()
        await stop.wait()

    upload = asyncio.create_task(client.put(f"/api/cases/{case_id}/series/t1c", content=endless()))
    await begun.wait()
    assert gateway.scratch_files()
    await client.delete("/api/session" if whole_session else f"/api/cases/{case_id}")
    problem_of(await asyncio.wait_for(upload, 30), 404)
    assert gateway.scratch_files() == [] and gateway.blob_files() == []


@pytest.mark.parametrize("what", ["upload", "checks"])
async def test_a_task_ends_when_its_case_is_deleted(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any, what: str
) -> None:
    """The receipt waits for it, or names what it could not wait for."""
    monkeypatch.setattr("hope.web.case_watch.WATCH_SECONDS", 0.05)
    case_id = await new_case(client)
    if what == "checks":
        await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti())
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless(job: dict[str, Any], reported: Any = None) -> dict[str, Any]:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()
        return {}

    monkeypatch.setattr(gateway.tasks, "run", endless)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("scan", b"voxels")
    if what == "checks":
        task = asyncio.create_task(client.get(f"/api/cases/{case_id}/checks"))
    else:
        task = asyncio.create_task(client.put(f"/api/cases/{case_id}/dicom", content=archive.getvalue()))
    await begun.wait()
    receipt = (await client.delete(f"/api/cases/{case_id}")).json()
    assert receipt["unconfirmed"] == [] and ended.is_set() and gateway.scratch_files() == []
    problem_of(await asyncio.wait_for(task, 30), 404)


async def test_a_scan_that_goes_while_scans_are_checked_is_a_conflict(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any
) -> None:
    case_id = await new_case(client)
    await client.put(f"/api/cases/{case_id}/series/t1c", content=nifti())
    stored, usual = gateway.store.case(case_id), gateway.store.case

    def fetch(*_: Any) -> None:
        raise DamagedError("it is missing")

    monkeypatch.setattr(gateway.context.blobs, "fetch", fetch)
    problem_of(await client.get(f"/api/cases/{case_id}/checks"), 500)
    calls = iter((stored,))  # what the request sees; the scan is gone when it is looked at again
    monkeypatch.setattr(gateway.store, "case", lambda *key: next(calls, None) or replace(usual(*key), series=()))
    refused = problem_of(await client.get(f"/api/cases/{case_id}/checks"), 409)
    assert "changed meanwhile" in refused["detail"]


async def test_damage_is_our_fault_in_one_sentence(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: Any
) -> None:
    case_id = await done_case(gateway, client)

    def read(*_: Any) -> None:
        raise DamagedError("the file is damaged in storage; run the case again")

    monkeypatch.setattr(gateway.context.blobs, "read", read)
    body = problem_of(await client.get(f"/api/cases/{case_id}/files/result.json"), 500)
    assert body["detail"] == "the file is damaged in storage; run the case again"


async def test_the_audit_log_tells_who_did_what_and_verifies(gateway: Gateway, client: httpx.AsyncClient) -> None:
    case_id = await done_case(gateway, client)
    await client.put(f"/api/cases/{case_id}/series/t1n", content=nifti())
    await client.get(f"/api/cases/{case_id}/files/result.json")
    await client.put(f"/api/cases/{case_id}/segmentation", content=nifti((4, 4, 4), datatype=2, itemsize=1))
    await client.delete(f"/api/cases/{case_id}")
    entries = gateway.store.audit()
    assert [entry.action for entry in entries] == [
        "session.create",
        "case.create",
        "series.sample",
        "case.run",
        "series.upload",
        "file.download",
        "segmentation.save",
        "case.delete",
    ]
    assert {entry.actor for entry in entries} == {"local"}
    assert not re.search(case_id, " ".join(map(str, entries)))
    assert gateway.app.state.components.audit.verify().whole

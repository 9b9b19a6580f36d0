"""Logs name routes and never persons: everything that could identify is put in, and none of it comes out."""

from __future__ import annotations

import gc
import json
import logging
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.testclient import TestClient

from hope.domain.ids import new_id, new_token, reference_of
from hope.web.errors import UnexpectedErrors, install_errors
from hope.web.middleware.logs import JsonLines, configure_logging, error_facts, install_logs, redacted
from hope.web.middleware.repeated_lines import CountingHandler

PEER = "203.0.113.77"
FILE = "DOE_JANE_19990101.nii.gz"
QUERY = "patient-name"


@pytest.fixture(scope="module", autouse=True)
def no_foreign_garbage() -> None:
    """What earlier tests left is collected once; the collection before each test then looks at what is new."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What the configured logging writes, parsed, without what threads of earlier tests and their garbage say.

    Other tests' logging is put back afterwards.
    """
    gc.collect()
    here = threading.get_ident()
    foreign = {thread.ident for thread in threading.enumerate()} - {here}
    emit = CountingHandler.emit

    def without_foreign(handler: CountingHandler, record: logging.LogRecord) -> None:
        if record.thread not in foreign:
            emit(handler, record)

    monkeypatch.setattr(CountingHandler, "emit", without_foreign)
    loggers = [logging.getLogger(name) for name in logging.Logger.manager.loggerDict] + [logging.getLogger()]
    before = [(it, list(it.handlers), it.level, it.propagate) for it in loggers]
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    for it, handlers, level, propagate in before:
        it.handlers, it.propagate = handlers, propagate
        it.setLevel(level)
    logging.captureWarnings(False)


def app_of() -> FastAPI:
    app, router = FastAPI(), APIRouter(prefix="/api/cases")
    install_errors(app)

    @router.get("/{case_id}/files/{name}")
    def file(case_id: str, name: str) -> str:
        logging.getLogger("hope.web.files").info("sends %s of %s", name, case_id)
        return "ok"

    @router.put("/{case_id}/series/{key}")
    async def upload(request: Request, case_id: str, key: str) -> str:
        body = await request.body()
        raise RuntimeError(f"{case_id} {FILE} {body!r} {request.headers['authorization']}")

    app.include_router(router)
    app.add_api_route("/healthz", lambda: "ok")
    app.add_middleware(UnexpectedErrors)
    install_logs(app)
    return app


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:8080", client=(PEER, 5000), raise_server_exceptions=False)


def test_nothing_that_identifies_is_written(lines: Any) -> None:
    configure_logging("debug")
    case_id, session, api = new_id(), new_token(), f"hope_{new_token()}"
    client = client_of(app_of())
    headers = {"Cookie": f"hope_session={session}", "Authorization": f"Bearer {api}", "X-Forwarded-For": PEER}
    assert client.get(f"/api/cases/{case_id}/files/{FILE}?name={QUERY}", headers=headers).status_code == 200
    answer = client.put(f"/api/cases/{case_id}/series/t1c?name={QUERY}", content=b"BODY-TEXT", headers=headers)
    assert answer.status_code == 500
    client.get(f"/{case_id}/{FILE}?name={QUERY}", headers=headers)
    client.request(f"ODD-{session}", f"/{session}", headers=headers)
    written = lines()
    text = json.dumps(written)
    for secret in (case_id, session, api, FILE, "DOE", QUERY, PEER, "BODY-TEXT", case_id[:8], reference_of(case_id)):
        assert secret not in text, secret
    # The search can fail: what should be there is.
    routes = [line["route"] for line in written if line["event"] == "request"]
    assert routes == [
        "/api/cases/{case_id}/files/{name}",
        "/api/cases/{case_id}/series/{key}",
        "(none)",
        "(none)",
    ]
    assert any("RuntimeError" in line.get("error", "") and "test_logs.py" in line["where"] for line in written)


def test_a_line_says_what_an_operator_needs(lines: Any) -> None:
    configure_logging()
    answer = client_of(app_of()).get(f"/api/cases/{new_id()}/files/a")
    inner, request = lines()
    assert {"time", "level", "event", "logger", "request_id"} <= set(inner)
    assert request["level"] == "info"
    assert (request["method"], request["status"]) == ("GET", 200)
    assert 0 <= request["ms"] < 60_000
    assert request["time"].endswith("+00:00")
    assert inner["request_id"] == request["request_id"] == answer.headers["x-request-id"]


def test_request_ids_are_fresh_and_not_the_clients(lines: Any) -> None:
    configure_logging()
    client = client_of(app_of())
    ids = [client.get("/healthz", headers={"X-Request-Id": "mine"}).headers["x-request-id"] for _ in range(50)]
    assert len(set(ids)) == 50
    assert "mine" not in ids


def test_health_checks_are_quiet_until_they_fail(lines: Any) -> None:
    configure_logging()
    client = client_of(app_of())
    client.get("/healthz")
    client.post("/healthz")
    assert [line["status"] for line in lines()] == [405]


def test_a_failure_is_an_error_line(lines: Any) -> None:
    configure_logging("error")
    client = client_of(app_of())
    client.get("/nothing")
    client.put("/api/cases/x/series/t1c", headers={"Authorization": "Bearer x"})
    events = [(line["event"], line["level"]) for line in lines()]
    assert events == [("unexpected error", "error"), ("request", "error")]


def test_an_app_that_raises_is_logged_and_raises_on(lines: Any) -> None:
    configure_logging()
    app = FastAPI()

    @app.get("/x")
    def fail() -> None:
        raise ValueError(FILE)

    install_logs(app)
    with pytest.raises(ValueError, match="DOE"):
        TestClient(app, base_url="http://127.0.0.1:8080").get("/x")
    [line] = lines()
    assert (line["level"], line["error"], line["status"]) == ("error", "ValueError", 0)
    assert FILE not in json.dumps(line)


def test_other_loggers_write_the_same_lines(lines: Any) -> None:
    configure_logging()
    case_id, token = new_id(), new_token()
    logging.getLogger("dbos").warning("Enqueued workflow %s:1:segment", case_id)
    logging.getLogger("uvicorn.error").info("Started")
    logging.getLogger("uvicorn.access").info('%s:5000 - "GET /%s" 200', PEER, case_id)
    logging.getLogger("sqlalchemy.engine").warning("token %s", token)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"about {case_id}", UserWarning, stacklevel=1)
    try:
        raise OSError(2, "No such file", f"/data/{FILE}")
    except OSError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
    written = lines()
    assert [line["logger"] for line in written] == [
        "dbos",
        "uvicorn.error",
        "sqlalchemy.engine",
        "py.warnings",
        "uvicorn.error",
    ]
    text = json.dumps(written)
    for secret in (case_id, token, PEER, FILE, "DOE"):
        assert secret not in text
    assert written[-1]["error"] == "FileNotFoundError"


def test_a_level_set_before_hides_nothing(lines: Any) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").disabled = True
    configure_logging()
    logging.getLogger("uvicorn.error").info("Started")
    assert [line["event"] for line in lines()] == ["Started"]


def test_configuring_twice_writes_each_line_once(lines: Any) -> None:
    configure_logging()
    configure_logging()
    logging.getLogger("dbos").warning("once")
    logging.getLogger("hope.jobs").warning("once")
    assert [line["event"] for line in lines()] == ["once", "once"]


def test_the_engine_keeps_these_lines_when_it_starts_its_own_logging(lines: Any) -> None:
    configure_logging()
    from dbos._logger import init_logger

    init_logger()
    logging.getLogger("dbos").warning("hello")
    assert [line["event"] for line in lines()] == ["hello"]


def test_a_line_is_one_line_whatever_it_says(lines: Any) -> None:
    configure_logging()
    logging.getLogger("x").warning('a\nb\r\n{"level": "fake"}\u2028é')
    logging.getLogger("x").warning("%d %s", "wrong")
    assert [line["level"] for line in lines()] == ["warning", "warning"]


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(new_id(), id="id"),
        pytest.param(new_id().upper(), id="ID"),
        pytest.param(new_token(), id="token"),
        pytest.param(f"hope_{new_token()}", id="api-token"),
        "case-0a1b2c3d",
        "192.0.2.17",
        "2001:db8:1:2::17",
        "2001:db8:85a3:1:2:8a2e:370:7334",
        "fe80::1",
        "::ffff:192.0.2.1",
        "person@example.org",
        "DOE^JANE.dcm",
        "/data/DOE_JANE.nii.gz",
        "C:\\scans\\JANE.nii",
        "postgresql+psycopg://hope:word@db/hope",
        "/api/thing?name=jane",
        "Bearer abc.def",
        "Bearer x",
    ],
)
@pytest.mark.parametrize("frame", ["{}", "a {} b", "('{}', 5000) - x", "key={},", "cases/{}/series"])
def test_redaction(secret: str, frame: str) -> None:
    text = redacted(frame.format(secret))
    for part in ("JANE", "jane", "word", "abc.def", "person@", "192.0.2", "2001:", "8a2e", "::17"):
        assert part not in text or part not in secret
    assert secret not in text


@pytest.mark.parametrize(
    "text",
    [
        "Uvicorn running on http://127.0.0.1:8080 (Press CTRL+C to quit)",
        "listening on [::1]:8080 and 0.0.0.0:8080",
        "/api/cases/{case_id}/files/{name}",
        "stage segment ended after 12.5 s (attempt 2 of 3) at 16:41:07",
        "python 3.11.7, dbos 3.4.0",
    ],
)
def test_what_operators_read_stays(text: str) -> None:
    assert redacted(text) == text


def test_of_an_exception_only_types_and_places_are_told() -> None:
    try:
        try:
            raise KeyError(FILE)
        except KeyError as error:
            raise ValueError(FILE) from error
    except ValueError as error:
        kinds, where = error_facts(error)
    assert kinds == "ValueError < KeyError"
    assert where.startswith("test_logs.py:")


def test_facts_that_nobody_allowed_stay_out() -> None:
    record = logging.LogRecord("x", logging.INFO, "/home/jane/x.py", 1, "hello", (), None)
    record.operationUUID = new_id()
    record.route = f"/{new_id()}"
    line = json.loads(JsonLines().format(record))
    assert set(line) == {"time", "level", "event", "logger", "route"}
    assert line["route"] == "/(id)"

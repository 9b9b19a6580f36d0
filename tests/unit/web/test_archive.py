"""All results of a session in one zip: whole or visibly not, made while it is sent, and one table for a spreadsheet."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.unit.web.fakes import Gateway, nifti, packed
from tests.unit.web.test_api import done_case, new_case, problem_of

from hope.contract.job import CaseRecord, CaseState, DamagedError
from hope.web.archive import ArchiveFile, folder_name, zip_chunks
from hope.web.cases_table import cases_csv
from hope.web.schemas import CaseOut

pytestmark = pytest.mark.anyio

RESULTS, TABLE = "/api/session/results.zip", "/api/session/cases.csv"


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with a session."""
    async with gateway.client() as own:
        await own.post("/api/session")
        yield own


async def test_all_finished_cases_come_in_one_zip(gateway: Gateway, client: httpx.AsyncClient) -> None:
    problem_of(await client.get(RESULTS), 409)
    one, two, new = await done_case(gateway, client), await done_case(gateway, client), await new_case(client)
    await client.patch(f"/api/cases/{one}", json={"label": "../=left: frontal/*"})
    await client.put(f"/api/cases/{two}/segmentation", content=packed(nifti()))
    answer = await client.get(RESULTS)
    assert answer.headers["content-type"] == "application/zip" and "content-length" not in answer.headers
    assert answer.headers["content-disposition"] == 'attachment; filename="hope-results.zip"'
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    names = set(archive.namelist())
    first, second = f"case-{one[:8]}", f"case-{two[:8]}"
    assert {f"001-left_frontal/{first}-seg.nii.gz", "001-left_frontal/report.html", f"002/{second}-seg.nii.gz"} <= names
    assert f"002/{second}-seg-v1.nii.gz" in names, "the correction comes with the model's mask"
    assert "002/report.html" not in names, "what a correction replaced does not"
    assert not [name for name in names if ".." in name or new[:8] in name or "-view" in name]
    file = await client.get(f"/api/cases/{one}/files/{first}-seg.nii.gz")
    assert archive.read(f"001-left_frontal/{first}-seg.nii.gz") == file.content
    rows = list(csv.DictReader(io.StringIO(archive.read("cases.csv").decode())))
    assert [row["case"] for row in rows] == ["../=left: frontal/*", "Case 2", "Case 3"]
    assert (await client.get(TABLE)).content == archive.read("cases.csv")
    told = [entry.action for entry in gateway.store.audit()]
    assert told.count("file.download") == 3 and told.count("table.download") == 1


async def test_another_session_gets_nothing_of_it(gateway: Gateway, client: httpx.AsyncClient) -> None:
    await done_case(gateway, client)
    async with gateway.client() as stranger:
        problem_of(await stranger.get(RESULTS), 401)
        problem_of(await stranger.get(TABLE), 401)
        await stranger.post("/api/session")
        problem_of(await stranger.get(RESULTS), 409)
        assert len((await stranger.get(TABLE)).text.splitlines()) == 1


class Blobs:
    """Files that are made up while they are read, and what was asked of them."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks, self.read_so_far = chunks, 0

    def read(self, key: str, sha256: str) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.read_so_far += 1
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk


FILES = [ArchiveFile(f"{number:03d}/mask.nii.gz", 3 * 2**16, "k", "0" * 64) for number in range(3)]


def test_the_zip_is_sent_while_it_is_made() -> None:
    blobs: Any = Blobs(*[bytes(2**16)] * 3)
    largest, pieces = 0, []
    for count, piece in enumerate(zip_chunks(FILES, "case\r\n", blobs)):
        assert blobs.read_so_far <= count + 1, "nothing is read ahead"
        largest = max(largest, len(piece))
        pieces.append(piece)
    assert largest < 2**16 + 2000
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.namelist() == ["cases.csv", *(file.path for file in FILES)] and archive.testzip() is None


def test_a_zip_that_breaks_off_is_none() -> None:
    blobs: Any = Blobs(bytes(2**16), DamagedError("a stored file is not what was stored"))
    pieces = []
    with pytest.raises(DamagedError):
        pieces.extend(zip_chunks(FILES, "case\r\n", blobs))
    sent: list[bytes] = []
    with pytest.raises(DamagedError):
        for piece in zip_chunks(FILES, "case\r\n", blobs):
            sent.append(piece)
    assert sent and not zipfile.is_zipfile(io.BytesIO(b"".join(sent)))


@pytest.mark.parametrize(
    ("label", "folder"),
    [
        ("", "007"),
        ("left frontal, before", "007-left_frontal_before"),
        ("../../etc/passwd", "007-etc_passwd"),
        ("=1+2", "007-1_2"),
        ("C:\\x\u0000y", "007-C_x_y"),
        ("äöü 3", "007-äöü_3"),
        ("...", "007"),
        ("a" * 80, "007-" + "a" * 60),
    ],
)
def test_a_folder_is_named_so_that_every_system_takes_it(label: str, folder: str) -> None:
    case: Any = SimpleNamespace(number=7, label=label)
    assert folder_name(case) == folder


def a_case(**more: Any) -> CaseOut:
    facts = CaseRecord("id", "session", 3, CaseState.DONE, 0.0)
    known = {"id": facts.id, "number": 3, "label": "", "state": "done", "created_at": 0.0, "run": 1, "choice": {}}
    rest = {"stages": [], "series": [], "version": 0, "volumes_ml": {}, "qc": [], "disclaimer": ""}
    return CaseOut.model_validate(known | rest | more)


def test_the_table_has_volumes_of_results_only() -> None:
    done = a_case(volumes_ml={"WT": {"ml": 2.5}})
    lines = cases_csv([done, a_case(state="new", number=4)]).split("\r\n")
    assert lines[0] == "case,begun,state,version,ET_ml,NET_ml,CC_ml,ED_ml,TC_ml,WT_ml,expected_quality,worst_remark"
    assert lines[1:] == [
        "Case 3,1970-01-01T00:00:00+00:00,Done,0,0.0,0.0,0.0,0.0,0.0,2.5,,",
        "Case 4,1970-01-01T00:00:00+00:00,Not started,0,,,,,,,,",
        "",
    ]


def test_the_expected_quality_in_the_table_is_of_the_models_mask_only() -> None:
    rows = [
        next(
            csv.DictReader(
                io.StringIO(cases_csv([a_case(version=version, expected_quality={"verdict": "likely good"})]))
            )
        )
        for version in (0, 1)
    ]
    assert [row["expected_quality"] for row in rows] == ["likely good", ""]


def test_the_table_names_the_worst_remark_that_asks_to_look() -> None:
    flags = [
        {"code": "a", "severity": "caution", "reason": "slices are thick, 5 mm", "sequence": ""},
        {"code": "b", "severity": "info", "reason": "a fact", "sequence": ""},
    ]
    assert '"slices are thick, 5 mm"' in cases_csv([a_case(qc=flags)])
    assert "a fact" not in cases_csv([a_case(qc=flags[1:])])


@pytest.mark.parametrize("label", ["=1+2", "+cmd", "-2", "@SUM(A1)", '=HYPERLINK("x","y")', "\tx", "a, b"])
def test_no_name_becomes_a_formula(label: str) -> None:
    (row,) = csv.DictReader(io.StringIO(cases_csv([a_case(label=label)])))
    assert row["case"] == (f"'{label}" if label[0] in "=+-@\t\r" else label)

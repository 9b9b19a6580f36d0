"""A platform with a toy stage, file, option and sequence, each added in one module's source; prints what it shows.

Run in a process of its own: the entries are put into the text of the modules before anything else is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import tempfile
from collections.abc import Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any

TOY_FILE = """    TOY = RoleSpec("toy", {Space.ATLAS: Place("{case}-toy.nii.gz", "a toy on the atlas grid", "A toy")})
"""
TOY_STAGE = """    TOY = StageSpec(
        name="toy",
        title="Playing",
        weight=(Step("toy", raw=100.0, preprocessed=10.0),),
        reads=(Role.PREDICTION,),
        writes=(Role.NOTES,),
        run="hope.testing.short_stages:run",
    )
"""


TOY_OPTION = """    toy: Annotated[bool, Ask(flag="--toy", help="Play.", title="Play first")] = Field(
        default=False, description="play first"
    )

"""


class WithEntry(SourceFileLoader):
    """Loads a module with more entries in its tables.

    Args:
        name: of the module.
        entries: the source of each entry, and the text that it is put before, which stands there once.
    """

    def __init__(self, name: str, entries: Mapping[str, str]) -> None:
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        super().__init__(name, found.origin)
        self._entries = entries

    def get_code(self, fullname: str) -> CodeType:
        """The module's code with the entry."""
        text = Path(self.path).read_text(encoding="utf-8")
        for entry, before in self._entries.items():
            assert text.count(before) == 1, before
            text = text.replace(before, entry + before)
        return self.source_to_code(text.encode(), self.path)


def add(name: str, entries: Mapping[str, str]) -> None:
    """Import a module with more entries in its tables."""
    loader = WithEntry(name, entries)
    found = importlib.util.spec_from_loader(name, loader)
    assert found is not None
    sys.modules[name] = module = importlib.util.module_from_spec(found)
    loader.exec_module(module)
    package, _, last = name.rpartition(".")
    setattr(importlib.import_module(package), last, module)


async def shown(folder: Path) -> dict[str, Any]:
    """A case through the short stages, as the REST interface tells it."""
    from tests.unit.web.fakes import make_gateway, nifti

    gateway = make_gateway(folder)
    async with gateway.client() as stranger:
        token = (await stranger.post("/api/session")).json()["token"]
    async with gateway.client(token) as client:
        case_id = (await client.post("/api/cases")).json()["id"]
        await client.post(f"/api/cases/{case_id}/sample")
        scan = await client.put(f"/api/cases/{case_id}/series/toyseq", content=nifti())
        queued = (await client.post(f"/api/cases/{case_id}/run", json={"toy": True})).json()
        gateway.finish(gateway.store.case(case_id))
        files = (await client.get(f"/api/cases/{case_id}/files")).json()["files"]
        toy = await client.get(f"/api/cases/{case_id}/files/case-{case_id[:8]}-toy.nii.gz")
        answer = {
            "scan": scan.json(),
            "choice": queued["choice"],
            "queued": queued["stages"],
            "done": (await client.get(f"/api/cases/{case_id}")).json()["stages"],
            "events": (await client.get(f"/api/cases/{case_id}/events", params={"follow": "false"})).text,
            "files": files,
            "toy": [toy.status_code, len(toy.content)],
            "report": (await client.get(f"/api/cases/{case_id}/files/result.json")).json(),
            "openapi": (await client.get("/openapi.json")).json()["components"]["schemas"],
            "words": (await client.get("/api/vocabulary")).json(),
        }
    gateway.store.close()
    return answer


def main() -> None:
    """Print what a platform with the toys shows."""
    new_sequence = {
        '    TOYSEQ = "toyseq"\n': "\n    @property\n    def title(self)",
        '    MRSequence.TOYSEQ: "Toy",\n': '    MRSequence.T1N: "T1 native",\n',
        '    MRSequence.TOYSEQ: "a toy",\n': '    MRSequence.T1N: "T1-weighted, before contrast agent",\n',
    }
    add("hope.domain.sequence", new_sequence)
    add("hope.contract.options", {TOY_OPTION: "    @classmethod\n    def stored("})
    add("hope.contract.outputs", {TOY_FILE: "    FACTS = RoleSpec("})
    add("hope.contract.stages", {TOY_STAGE: "    POSTPROCESS = StageSpec("})
    from click.testing import CliRunner

    from hope.cli import main as hope
    from hope.contract.stages import STAGES, steps_of
    from hope.endpoint.payload import parse

    with tempfile.TemporaryDirectory() as name:
        answer = asyncio.run(shown(Path(name)))
    payload = {"input_location": "s3://bucket/in", "output_location": "s3://bucket/out", "toy": True}
    more = {
        "steps": [step.name for step in steps_of(STAGES, page=False)],
        "help": CliRunner().invoke(hope, ["segment", "--help"]).output,
        "payload": parse(payload, "").options.to_json(),
    }
    sys.stdout.write(json.dumps({**answer, **more}))


if __name__ == "__main__":
    main()

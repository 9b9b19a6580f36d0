"""A gateway with a toy stage and a toy file, each added by one entry in the contract's source; prints what it shows.

Run in a process of its own: the entries are put into the text of the two modules before anything else is imported.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import sys
import tempfile
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


class WithEntry(SourceFileLoader):
    """Loads a module of the contract with one more entry in its table.

    Args:
        name: of the module.
        before: the text that the entry is put before; it stands there once.
        entry: the source of the entry.
    """

    def __init__(self, name: str, before: str, entry: str) -> None:
        found = importlib.util.find_spec(name)
        assert found is not None and found.origin is not None
        super().__init__(name, found.origin)
        self._before, self._entry = before, entry

    def get_code(self, fullname: str) -> CodeType:
        """The module's code with the entry."""
        text = Path(self.path).read_text(encoding="utf-8")
        assert text.count(self._before) == 1
        return self.source_to_code(text.replace(self._before, self._entry + self._before).encode(), self.path)


def add_entry(name: str, before: str, entry: str) -> None:
    """Import a module of the contract with one more entry in its table."""
    loader = WithEntry(name, before, entry)
    found = importlib.util.spec_from_loader(name, loader)
    assert found is not None
    sys.modules[name] = module = importlib.util.module_from_spec(found)
    loader.exec_module(module)
    setattr(importlib.import_module("hope.contract"), name.rpartition(".")[2], module)


async def shown(folder: Path) -> dict[str, Any]:
    """A case through the short stages, as the REST interface tells it."""
    from tests.unit.web.fakes import make_gateway

    gateway = make_gateway(folder)
    async with gateway.client() as stranger:
        token = (await stranger.post("/api/session")).json()["token"]
    async with gateway.client(token) as client:
        case_id = (await client.post("/api/cases")).json()["id"]
        await client.post(f"/api/cases/{case_id}/sample")
        queued = (await client.post(f"/api/cases/{case_id}/run")).json()
        gateway.finish(gateway.store.case(case_id))
        files = (await client.get(f"/api/cases/{case_id}/files")).json()["files"]
        toy = await client.get(f"/api/cases/{case_id}/files/case-{case_id[:8]}-toy.nii.gz")
        answer = {
            "queued": queued["stages"],
            "done": (await client.get(f"/api/cases/{case_id}")).json()["stages"],
            "events": (await client.get(f"/api/cases/{case_id}/events", params={"follow": "false"})).text,
            "files": files,
            "toy": [toy.status_code, len(toy.content)],
            "report": (await client.get(f"/api/cases/{case_id}/files/result.json")).json(),
            "openapi": (await client.get("/openapi.json")).json()["components"]["schemas"],
            "words": (await client.get("/api/words")).json(),
        }
    gateway.store.close()
    return answer


def main() -> None:
    """Print what a platform with the toys shows."""
    add_entry("hope.contract.outputs", "    FACTS = RoleSpec(", TOY_FILE)
    add_entry("hope.contract.stages", "    POSTPROCESS = StageSpec(", TOY_STAGE)
    from hope.contract.stages import STAGES, steps_of

    with tempfile.TemporaryDirectory() as name:
        answer = asyncio.run(shown(Path(name)))
    steps = [step.name for step in steps_of(STAGES, page=False)]
    sys.stdout.write(json.dumps({**answer, "steps": steps}))


if __name__ == "__main__":
    main()

"""Writes what is derived from `hope.contract` and the REST interface: `make docs`.

docs/reference/*.schema.json and the page's types, viewer/src/api/schema.ts. Tests fail if either differs.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
REPORT_SCHEMA = ROOT / "docs" / "reference" / "case-report.schema.json"
MORE_SCHEMAS = {
    "measurements.schema.json": "hope.contract.measurements",
    "comparison.schema.json": "hope.contract.comparison",
    "response-rules.schema.json": "hope.longitudinal.response",
}
"""Schema beside that of result.json -> the module that publishes it."""
PAGE_TYPES = ROOT / "viewer" / "src" / "api" / "schema.ts"

HEAD = "/** The gateway's JSON, field for field. Written by `make docs` from /openapi.json. */\n"

_PLAIN = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}

Schema = Mapping[str, Any]


def report_schema() -> str:
    """The JSON Schema of result.json as text."""
    from hope.contract.report import json_schema

    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def schema_text(module: str) -> str:
    """The JSON Schema that a module publishes as text."""
    schema = importlib.import_module(module).json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def openapi() -> dict[str, Any]:
    """The document of a gateway with nothing in it."""
    from hope.adapters.blobs_local import LocalBlobs
    from hope.adapters.cases_sql import SqlCaseStore
    from hope.settings import PlatformSettings, Settings
    from hope.web.app import create_app
    from hope.web.context import WebContext

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        platform = PlatformSettings(f"sqlite:///{folder / 'none.sqlite'}", (folder / "blobs").as_uri())
        settings = Settings(folder, folder / "models", "cpu", platform=platform)
        store, blobs = SqlCaseStore(platform.database_url), LocalBlobs(folder / "blobs")
        nothing: Any = None
        app = create_app(WebContext(settings, store, blobs, nothing, nothing, nothing, list, folder))
        document: dict[str, Any] = app.openapi()
        store.close()
    return document


def page_types(document: Schema) -> str:
    """The schemas of an OpenAPI document as TypeScript."""
    schemas: Schema = document["components"]["schemas"]
    return "\n".join([HEAD, *(_declaration(name, schemas[name]) for name in sorted(schemas))])


def _declaration(name: str, schema: Schema) -> str:
    """One named type; the values of an enumeration can be listed, too."""
    said = _comment(schema.get("description"), "")
    if "enum" in schema:
        values = ", ".join(_literal(value) for value in schema["enum"])
        listed = f"export const {name}Values = [{values}] as const\n"
        return f"{said}{listed}export type {name} = (typeof {name}Values)[number]\n"
    if "properties" not in schema:
        return f"{said}export type {name} = {_type(schema)}\n"
    required = set(schema.get("required", ()))
    lines = []
    for key, value in schema["properties"].items():
        mark = "" if key in required else "?"
        lines.append(f"{_comment(value.get('description'), '  ')}  {key}{mark}: {_type(value)}\n")
    return f"{said}export interface {name} {{\n{''.join(lines)}}}\n"


def _comment(text: str | None, indent: str) -> str:
    if not text:
        return ""
    lines = [line.strip() for line in text.replace("*/", "* /").splitlines() if line.strip()]
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return "".join([f"{indent}/**\n", *(f"{indent} * {line}\n" for line in lines), f"{indent} */\n"])


def _type(schema: Schema) -> str:
    """The type of a value.

    Raises:
        ValueError: for a schema that no type is known for.
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return _type(schema["allOf"][0])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(part) for part in schema["anyOf"]))
    if "const" in schema:
        return _literal(schema["const"])
    if "enum" in schema:
        return " | ".join(_literal(value) for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        item = _type(schema.get("items", {}))
        return f"({item})[]" if " " in item else f"{item}[]"
    if kind == "object":
        more = schema.get("additionalProperties", True)
        values = _type(more) if isinstance(more, dict) else "unknown"
        if "propertyNames" in schema:
            return f"Partial<Record<{_type(schema['propertyNames'])}, {values}>>"
        return f"Record<string, {values}>"
    if kind in _PLAIN:
        return _PLAIN[kind]
    if not kind:
        return "unknown"
    raise ValueError(f"no type is known for {json.dumps(schema)}")


def _literal(value: object) -> str:
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Write the files."""
    written = (
        (REPORT_SCHEMA, report_schema()),
        *((REPORT_SCHEMA.with_name(name), schema_text(module)) for name, module in MORE_SCHEMAS.items()),
        (PAGE_TYPES, page_types(openapi())),
    )
    for path, text in written:
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path.name}\n")


if __name__ == "__main__":
    main()

"""The web page: serves the bundle that `viewer/` is built into, or a page that says how to build it."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from starlette.responses import FileResponse, HTMLResponse, Response

BUILT = Path(__file__).parent / "static"
"""Where the build puts the bundle; shipped inside the wheel."""

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webp": "image/webp",
}
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_HASHED = re.compile(r"-[A-Za-z0-9_-]{8}\.[a-z0-9]+")

NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>HOPE: the page is not built</title>
<h1>The web page is not built yet</h1>
<p>This server works: its REST interface is described at <a href="/openapi.json">/openapi.json</a>.</p>
<p>To have the page too, install Node.js 20.19 or later with npm, then run this in the project's directory
and load this page again:</p>
<pre>make page</pre>
<p>A released wheel carries the built page and needs no Node.js.</p>
<p>Research use only. Not a medical device.</p>
</html>
"""


def page_router(static: Path | None = None) -> APIRouter:
    """Routes ``/``, ``/licences.md`` and ``/assets/NAME``.

    Args:
        static: directory of the built bundle; the package's own by default. It is looked at on every call, so that a
            bundle built while the server runs shows at once.
    """
    built = BUILT if static is None else static
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    def page() -> Response:
        """The page itself; asked for again each time, because it names the current assets."""
        index = built / "index.html"
        if not index.is_file():
            return HTMLResponse(NOT_BUILT, headers={"Cache-Control": "no-store"})
        return FileResponse(index, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @router.api_route("/licences.md", methods=["GET", "HEAD"])
    def licences() -> Response:
        """The licences of what the page is built from, as text that a browser shows."""
        path = built / "licences.md"
        if not path.is_file():
            raise HTTPException(404, "The web page is not built, so it bundles nothing.")
        return FileResponse(path, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @router.api_route("/assets/{name}", methods=["GET", "HEAD"])
    def asset(name: str, request: Request) -> Response:
        """One file of the bundle, packed if the client can unpack it."""
        kind = _TYPES.get(Path(name).suffix)
        path = built / "assets" / name
        if kind is None or not _NAME.fullmatch(name) or not path.is_file():
            raise HTTPException(404, "There is no such file.")
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if _HASHED.search(name) else "no-cache",
            "Vary": "Accept-Encoding",
        }
        packed = path.with_name(f"{name}.gz")
        if packed.is_file() and accepts_gzip(request.headers.get("accept-encoding", "")):
            return FileResponse(packed, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})
        return FileResponse(path, media_type=kind, headers=headers)

    return router


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header allows gzip: named, or ``*``, and not with ``q=0``."""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        coding, _, options = part.strip().partition(";")
        found = re.search(r"q\s*=\s*([0-9.]+)", options)
        try:
            weights[coding.strip()] = float(found.group(1)) if found else 1.0
        except ValueError:
            weights[coding.strip()] = 0.0
    return weights.get("gzip", weights.get("*", 0.0)) > 0

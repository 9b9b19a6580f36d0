"""Downloads: stored bytes to the wire in chunks, whole or visibly cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import PurePosixPath

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hope.ports import BlobStore

_TYPES = {
    ".gz": "application/gzip",
    ".nii": "application/octet-stream",
    ".png": "image/png",
    ".webp": "image/webp",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
}
_REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
"""A report is a document of its own: it may run nothing, fetch nothing, and reach nothing of the page around it."""


def media_type_of(name: str) -> str:
    """The content type by suffix; plain bytes for what no browser needs to know."""
    return _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")


async def download(
    request: Request, blobs: BlobStore, *, name: str, blob_key: str, size: int, sha256: str, inline: bool
) -> Response:
    """Answer with a stored blob, or 304 if the client has it.

    Args:
        request: whose If-None-Match counts, and whether it is a HEAD.
        blobs: where the bytes lie.
        name: what the client calls the file.
        blob_key: what the store calls it.
        size: its bytes.
        sha256: its hash, which is the ETag, too.
        inline: whether a browser may show it instead of saving it.

    Raises:
        DamagedError: if it is missing or, before anything was sent, not what was stored.
    """
    headers = {
        "ETag": f'"{sha256}"',
        # A browser would keep the scan on its disk, where no deletion of ours reaches.
        "Cache-Control": "private, no-store",
        "Accept-Ranges": "none",
        "Content-Disposition": f'{"inline" if inline else "attachment"}; filename="{name}"',
    }
    if name.endswith(".html"):
        headers["Content-Security-Policy"] = _REPORT_POLICY
    if _matches(request.headers.get("if-none-match", ""), sha256):
        return Response(status_code=304, headers=headers)
    headers |= {"Content-Length": str(size), "Content-Type": media_type_of(name)}
    if request.method == "HEAD":
        return Response(headers=headers)
    return await streamed(await to_thread.run_sync(blobs.read, blob_key, sha256), headers)


async def streamed(chunks: Iterator[bytes], headers: Mapping[str, str]) -> Response:
    """Answer with chunks as they come.

    Args:
        chunks: none is empty but for the end; read in threads.
        headers: of the answer.

    Raises:
        DamagedError: if the first chunk already cannot be read: then that is an error and not half an answer.
    """
    first = await to_thread.run_sync(next, chunks, b"")
    return StreamingResponse(_rest(first, chunks), headers=headers)


async def _rest(first: bytes, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    try:
        while first:
            yield first
            first = await to_thread.run_sync(next, chunks, b"")
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            with CancelScope(shield=True):
                await to_thread.run_sync(close)


def etags(header: str) -> list[str]:
    """The hashes in an If-Match or If-None-Match header; ``*`` stays as it is."""
    return [tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")]


def _matches(header: str, sha256: str) -> bool:
    return "*" in (tags := etags(header)) or sha256 in tags

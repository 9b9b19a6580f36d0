"""What every answer carries and every request must pass: headers, known host names, calls from our own page only."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hope.settings import PlatformSettings, Settings
from hope.web.errors import problem

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "connect-src 'self' blob: data:",
        "object-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)

HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer, unless a route has set its own (a report brings its own content security policy)."""

HSTS: Final = "max-age=31536000"
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
METRICS: Final = "/metrics"
PROBES: Final = frozenset({"/healthz", "/readyz", METRICS})
"""Asked by orchestrators under whatever name or address they know the machine by; metrics so on public servers only,
where they need a token."""

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def is_public(settings: PlatformSettings) -> bool:
    """Whether others than this machine's users can reach the gateway: by its address, or through a proxy."""
    return not settings.loopback or bool(settings.public_url and _host_of(settings.public_url) not in LOOPBACK_NAMES)


class SecurityGate:
    """Pure ASGI middleware; it holds no body and no stream.

    On loopback only loopback names are answered, else a page of the web could reach the server under a name of its own
    (DNS rebinding). A browser says where a call comes from: changing calls from another site are refused.

    Args:
        app: what it protects.
        settings: what the environment chose.
    """

    def __init__(self, app: ASGIApp, settings: PlatformSettings) -> None:
        self._app = app
        self._public_origin = _origin(settings.public_url) if settings.public_url else None
        self._hosts = _allowed_hosts(settings)
        self._any_host = PROBES if is_public(settings) else PROBES - {METRICS}
        self._headers = dict(HEADERS)
        if self._public_origin is not None and self._public_origin[0] == "https":
            self._headers["Strict-Transport-Security"] = HSTS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on and complete the answer's headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                if path.startswith(("/api", "/auth")):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        if path not in self._any_host and not self._knows_host(headers.get("host", "")):
            detail = "this server does not answer under that host name; use its own, or have HOPE_PUBLIC_URL name yours"
            refusal = problem(421, "host", detail)
        elif scope["method"] not in _SAFE and not self._same_origin(headers):
            refusal = problem(403, "cross-site", "this call comes from another site; only the platform's own page may")
        else:
            await self._app(scope, receive, sending)
            return
        await refusal(scope, receive, sending)

    def _knows_host(self, host: str) -> bool:
        if self._hosts is None:
            return True
        found = _HOST.fullmatch(host.lower())
        return found is not None and found.group(1).strip("[]") in self._hosts

    def _same_origin(self, headers: Headers) -> bool:
        """Whether a changing call is our page's, or no browser's at all: programs send neither of the two headers."""
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            caller = _origin(origin)
            # The scheme is the caller's: behind a proxy the server does not know its own.
            direct = _origin(f"{caller[0]}://{headers.get('host', '')}")
        except ValueError:
            return False
        if self._public_origin is not None and direct[1] not in LOOPBACK_NAMES:
            return caller == self._public_origin
        return bool(caller[1]) and caller == direct


def install_security(app: FastAPI, settings: Settings) -> None:
    """Put the gate in front of everything that was installed before it."""
    app.add_middleware(SecurityGate, settings=settings.platform)


def _allowed_hosts(settings: PlatformSettings) -> frozenset[str] | None:
    """Names the server answers under; None for any, where it is public and nobody has said its name."""
    public = _host_of(settings.public_url) if settings.public_url else ""
    if settings.loopback:
        return LOOPBACK_NAMES | ({public} if public else set())
    return frozenset({public}) if public else None


def _host_of(url: str) -> str:
    """Host name of a URL in lower case; empty if it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; raises ValueError if its port or address is no such thing."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme)

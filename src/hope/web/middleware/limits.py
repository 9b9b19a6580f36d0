"""How often a client may call and how often at once, and how long a query, its headers and a JSON body may be."""

from __future__ import annotations

import ipaddress
import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hope.domain.ids import token_hash
from hope.settings import PlatformSettings, Settings
from hope.web.auth.api_tokens import PREFIX
from hope.web.connections import connection_limit
from hope.web.errors import problem
from hope.web.middleware.security import PROBES, is_public
from hope.web.middleware.sizes import LONGEST_JSON_BODY, capped, too_long
from hope.web.middleware.slots import Full, Slots, has_body

FAILURES_PER_MINUTE: Final = 20
CALLS_PER_OPENING: Final = 10
"""A public server lets an address open a session for every so many calls that it may make."""

MOST_CLIENTS: Final = 10_000
SESSION_COOKIE: Final = "hope_session"

_LEAVE: Final = re.compile(r"/api/session/leave/?")
_NEEDS_SESSION: Final = re.compile(r"/api/(?:session|cases|archive)(?:/.*)?")


class Buckets:
    """Token buckets for many clients, in bounded memory: of the least recent ones, the oldest are forgotten.

    Args:
        per_minute: how many calls refill in a minute; also the most that can be saved up.
        most: number of clients remembered.
        clock: seconds that only grow; replaced in tests.
    """

    def __init__(
        self, per_minute: float, most: int = MOST_CLIENTS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._size, self._most, self._clock = per_minute / 60.0, max(per_minute, 1.0), most, clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def wait(self, client: str) -> float:
        """Seconds until the client may call; 0 if it may now."""
        return max(0.0, (1.0 - self._level(client)) / self._rate)

    def take(self, client: str) -> float:
        """Count a call if it may be made; returns as `wait` did before."""
        wait = self.wait(client)
        if wait <= 0.0:
            self._clients[client] = (self._level(client) - 1.0, self._clock())
            self._clients.move_to_end(client)
            while len(self._clients) > self._most:
                self._clients.popitem(last=False)
        return wait

    def _level(self, client: str) -> float:
        level, at = self._clients.get(client, (self._size, self._clock()))
        return min(self._size, level + (self._clock() - at) * self._rate)


@dataclass(frozen=True)
class Caller:
    """Who calls, as far as limits go: an address, and the keys of the tokens that came along (empty for none)."""

    peer: str
    session: str
    api: str

    @property
    def keys(self) -> tuple[str, ...]:
        """Those that are there. A bearer API token is no session's token, whatever a route makes of it."""
        session = "" if self.session.removeprefix("session ") == self.api.removeprefix("api ") else self.session
        return tuple(key for key in (session, self.api) if key)


class Limits:
    """Pure ASGI middleware: rate limit per client, harder for wrong tokens, calls at once, and what may be how long.

    A client is a session whose token has been seen to work, else a peer: an invented token must not buy a fresh
    allowance. Tokens are known here by their hash only. An upload counts as one call, however large.

    Args:
        app: what it protects.
        settings: what the environment chose.
        clock: seconds that only grow; replaced in tests.
    """

    def __init__(self, app: ASGIApp, settings: PlatformSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._settings = app, settings
        self._calls = Buckets(settings.requests_per_minute, clock=clock)
        self._failures = Buckets(FAILURES_PER_MINUTE, clock=clock)
        self._public = is_public(settings)
        self._openings = Buckets(settings.requests_per_minute / CALLS_PER_OPENING, clock=clock)
        self._slots = Slots(settings.requests_at_once, connection_limit(settings) // 2)
        self._working: OrderedDict[str, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 429 or 413, or pass on and learn from the answer whether the token works."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        if (long := too_long(scope)) is not None:
            await long(scope, receive, send)
            return
        headers = Headers(scope=scope)
        caller = Caller(client_address(scope, self._settings), session_key(headers), api_key(headers))
        refusal = self._refusal(caller, opens=_opens_session(scope))
        if refusal is None:
            with self._slots.taken(self._client(caller), body=has_body(headers)) as full:
                if full is None:
                    await self._pass_on(scope, headers, receive, self._learning(scope, caller, send))
                    return
            refusal = _full(full)
        await refusal(scope, receive, send)

    async def _pass_on(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        body = await capped(scope, headers, receive)
        if body is not None:
            await self._app(scope, body, send)
            return
        detail = f"the body is too long for this call; {LONGEST_JSON_BODY // 1024} KiB are the most"
        await problem(413, "too-large", detail, headers={"Connection": "close"})(scope, receive, send)

    def _client(self, caller: Caller) -> str:
        return caller.session if caller.session in self._working else f"peer {caller.peer}"

    def _refusal(self, caller: Caller, *, opens: bool) -> Response | None:
        uncertain = any(key not in self._working for key in caller.keys)
        if uncertain and (wait := self._failures.wait(caller.peer)) > 0:
            return _too_often("too many wrong tokens were sent from this address", wait)
        if opens and self._public and (wait := self._openings.take(caller.peer)) > 0:
            return _too_often("too many sessions were opened from this address", wait)
        if (wait := self._calls.take(self._client(caller))) > 0:
            return _too_often("too many calls", wait)
        return None

    def _learning(self, scope: Scope, caller: Caller, send: Send) -> Send:
        """A ``send`` that notes which tokens work and counts those that do not."""
        opens = _opens_session(scope)
        # Elsewhere a good answer says nothing about the token.
        checks_session = not opens and _NEEDS_SESSION.fullmatch(scope["path"]) and not _LEAVE.fullmatch(scope["path"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 401 and caller.keys:
                    for key in caller.keys:
                        self._working.pop(key, None)
                    self._failures.take(caller.peer)
                elif checks_session and status < 400:
                    self._remember(caller.session)
                elif opens and status == 201:
                    self._remember(caller.api)
                    self._remember(_new_session(Headers(raw=message.get("headers", []))))
            await send(message)

        return sending

    def _remember(self, key: str) -> None:
        if key:
            self._working[key] = None
            self._working.move_to_end(key)
            while len(self._working) > MOST_CLIENTS:
                self._working.popitem(last=False)


def install_limits(app: FastAPI, settings: Settings) -> None:
    """Limit what was installed before."""
    app.add_middleware(Limits, settings=settings.platform)


def client_address(scope: Scope, settings: PlatformSettings) -> str:
    """Whose allowance a call without a session uses: the peer's address, of IPv6 its /64 network.

    Behind a reverse proxy (HOPE_PUBLIC_URL set, and the peer in a private or loopback network) it is the last entry of
    X-Forwarded-For, the one that our own proxy wrote; earlier ones are whatever the client claimed.
    """
    address = (scope.get("client") or ("", 0))[0]
    if settings.public_url and _is_private(address):
        forwarded = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).rpartition(",")[2].strip()
        if _parsed(forwarded) is not None:
            address = forwarded
    parsed = _parsed(address)
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))
    return address


def session_key(headers: Headers) -> str:
    """Name, by hash, of the session token that a call brings along; empty if none. Bearer goes before cookie."""
    token = _bearer(headers) or _cookie(headers.get("cookie", ""))
    return f"session {token_hash(token)}" if token else ""


def api_key(headers: Headers) -> str:
    """Name, by hash, of the API token that a call brings along; empty if none."""
    bearer = _bearer(headers)
    token = headers.get("x-hope-token", "").strip() or (bearer if bearer.startswith(PREFIX) else "")
    return f"api {token_hash(token)}" if token else ""


def _bearer(headers: Headers) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _cookie(header: str) -> str:
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        if name == SESSION_COOKIE:
            return value.strip('"')
    return ""


def _new_session(headers: Headers) -> str:
    """Key of the session token that an answer sets as a cookie; empty if none."""
    for line in headers.getlist("set-cookie"):
        try:
            morsel = SimpleCookie(line).get(SESSION_COOKIE)
        except CookieError:
            continue
        if morsel is not None and morsel.value:
            return f"session {token_hash(morsel.value)}"
    return ""


def _opens_session(scope: Scope) -> bool:
    return bool(scope["method"] == "POST" and scope["path"].rstrip("/") == "/api/session")


def _too_often(what: str, wait: float) -> Response:
    seconds = max(1, math.ceil(wait))
    return problem(429, "too-often", f"{what}; try again in {seconds} s", headers={"Retry-After": str(seconds)})


def _full(reason: Full) -> Response:
    """The answer when there is no slot. Both end the connection: the body that follows is not read."""
    headers = {"Retry-After": "2", "Connection": "close"}
    status, name = (429, "too-often") if reason is Full.CLIENT else (503, "busy")
    return problem(status, name, f"{reason.value}; try again in a moment", headers=headers)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None


def _is_private(address: str) -> bool:
    parsed = _parsed(address)
    return parsed is not None and (parsed.is_private or parsed.is_loopback)

"""Where notifications may go, and how one gets there: no detour through a name that changes its address in between."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import smtplib
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from email.message import EmailMessage
from functools import cache, partial
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
from anyio import CapacityLimiter, to_thread

from hope.domain.errors import InputError
from hope.settings import PlatformSettings
from hope.web.middleware.security import is_public

TIMEOUT_SECONDS: Final = 5.0
LONGEST_TARGET: Final = 500

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Host and port -> its addresses; raises OSError."""

_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_TRANSLATED: Final = tuple(
    ipaddress.IPv6Network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")
)
"""IPv6 that carries an IPv4 address inside, which may be a private one."""


_LOOKUPS: Final = CapacityLimiter(64)


@cache
def _tls() -> ssl.SSLContext:
    """Certificate authorities, read once: that takes longer than a call."""
    return httpx.create_ssl_context(trust_env=False)


class RefusedTargetError(Exception):
    """The address is none that this server may call."""


def checked_targets(settings: PlatformSettings, targets: Mapping[str, str]) -> dict[str, str]:
    """What a user asks to be told by, checked; empty values are left out.

    Args:
        settings: what the environment chose.
        targets: ``webhook`` and ``email``, both optional.

    Raises:
        InputError: for a webhook that is no usable URL, an address that is none, or e-mail without a mail server.
    """
    webhook, email = targets.get("webhook", "").strip(), targets.get("email", "").strip()
    if webhook:
        _check_webhook(webhook, is_public(settings))
    if email:
        if not settings.smtp_url:
            raise InputError("this server sends no e-mail", fix="leave the address empty, or have HOPE_SMTP_URL set")
        if not _ADDRESS.fullmatch(email):
            raise InputError("the e-mail address is not usable", expected="one address such as name@example.org")
    return {name: value for name, value in (("webhook", webhook), ("email", email)) if value}


def _check_webhook(url: str, public: bool) -> None:
    schemes = ("https",) if public else ("https", "http")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        usable = host and parts.port != 0 and parts.username is None and parts.scheme in schemes
    except ValueError:
        usable, host = False, ""
    if not usable or len(url) > LONGEST_TARGET or not url.isascii() or any(c.isspace() for c in url):
        raise InputError(
            "the webhook is not usable",
            expected=f"a URL that starts with {schemes[0]}://, without a user name, up to {LONGEST_TARGET} characters",
        )
    if not _may_name(host, public):
        raise InputError(
            "the webhook's host is none that this server may call",
            expected="a host on the public internet" if public else "no link-local address",
        )


def _may_name(host: str, public: bool) -> bool:
    """Whether a host may stand in a webhook's URL, as its text tells; where a name leads is seen at each call."""
    try:
        return may_call(host, public)
    except ValueError:
        return not public or not (host == "localhost" or host.endswith(".localhost"))


def check_mail(settings: PlatformSettings) -> None:
    """Refuse a mail server or sender that cannot work, when the gateway starts and not at the first message.

    Raises:
        InputError: if HOPE_SMTP_URL is set and is no URL of a mail server, or HOPE_MAIL_FROM is no address.
    """
    if not settings.smtp_url:
        return
    try:
        parts = urlsplit(settings.smtp_url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    plain = not (parts.path.strip("/") or parts.query or parts.fragment) and bool(_HOST.fullmatch(host))
    whole = plain and port != 0 and bool(parts.username) == bool(parts.password)
    if parts.scheme not in ("smtp", "smtps") or not whole:
        # Not shown: it may hold a password.
        raise InputError(
            "HOPE_SMTP_URL is not usable",
            expected="smtp://host:port or smtps://user:password@host:port, nothing after it",
        )
    if not _ADDRESS.fullmatch(settings.mail_from):
        raise InputError(
            "HOPE_MAIL_FROM is not usable", expected="one address such as hope@example.org", got=settings.mail_from
        )


def may_call(address: str, public: bool) -> bool:
    """Whether a webhook may go to this IP address.

    A public server calls public addresses only: whoever may name a URL must not reach the inside of our network by it.
    Link-local addresses, where clouds keep their metadata services, are never called.
    """
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return may_call(str(parsed.ipv4_mapped), public)
        if any(parsed in network for network in _TRANSLATED):
            return False
    if parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        return False
    return parsed.is_global or not public


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host name, by the system's resolver."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    # A resolver that hangs keeps its thread; these are not the threads that others wait for.
    found = await to_thread.run_sync(look_up, abandon_on_cancel=True, limiter=_LOOKUPS)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def post(url: str, body: Mapping[str, Any], event_id: str, *, public: bool, resolver: Resolver = resolve) -> None:
    """Send one webhook. The name is looked up once, and the connection goes to the very address that was checked.

    Redirects are not followed and the answer's body is not read. Proxies of the environment are not used.

    Args:
        url: where to.
        body: JSON values.
        event_id: the same for every try of one event, so that receivers can drop doubles.
        public: whether the server is public, see `may_call`.
        resolver: replaced in tests.

    Raises:
        RefusedTargetError: if the address must not be called.
        httpx.HTTPError, OSError, TimeoutError: if it does not answer, or not with 2xx.
    """
    try:
        _check_webhook(url, public)
    except InputError as error:
        raise RefusedTargetError from error
    target = httpx.URL(url)
    host = target.raw_host.decode("ascii")
    addresses = await resolver(host, target.port or (443 if target.scheme == "https" else 80))
    if not addresses or not all(may_call(address, public) for address in addresses):
        raise RefusedTargetError
    headers = {"Host": target.netloc.decode("ascii"), "X-Hope-Event": event_id, "User-Agent": "hope-platform"}
    async with (
        asyncio.timeout(2 * TIMEOUT_SECONDS),
        httpx.AsyncClient(verify=_tls(), timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False) as client,
    ):
        for place, address in enumerate(addresses, 1):
            pinned = target.copy_with(host=address)
            try:
                async with client.stream(
                    "POST", pinned, json=dict(body), headers=headers, extensions={"sni_hostname": host}
                ) as response:
                    if not response.is_success:
                        # httpx would put the URL into its own exception's text.
                        raise httpx.HTTPError(f"status {response.status_code}")
                    return
            except httpx.ConnectError:
                # Such as a machine without IPv6: the next address may answer.
                if place == len(addresses):
                    raise


def send_mail(settings: PlatformSettings, to: str, subject: str, text: str, event_id: str) -> None:
    """Send one e-mail; blocks. A password goes over TLS only.

    Raises:
        OSError, smtplib.SMTPException: if the mail server does not take it.
    """
    server = urlsplit(settings.smtp_url)
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, to, subject
    message["Message-ID"] = f"<{event_id}@hope.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    host, tls = server.hostname or "localhost", ssl.create_default_context()
    with (
        smtplib.SMTP_SSL(host, server.port or 465, timeout=TIMEOUT_SECONDS, context=tls)
        if server.scheme == "smtps"
        else smtplib.SMTP(host, server.port or 25, timeout=TIMEOUT_SECONDS)
    ) as client:
        client.ehlo()
        if server.scheme != "smtps" and (client.has_extn("starttls") or server.password):
            client.starttls(context=tls)
        if server.username and server.password:
            client.login(unquote(server.username), unquote(server.password))
        client.send_message(message)

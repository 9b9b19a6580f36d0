"""Who may open a session: anybody on this machine's loopback, else holders of API tokens and people who sign in."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import Response

from hope.domain.errors import InputError
from hope.settings import PlatformSettings, Settings
from hope.web.auth.api_tokens import PREFIX, ApiTokens, read_tokens
from hope.web.middleware.security import LOOPBACK_NAMES, is_public
from hope.web.problems import problems
from hope.web.schemas import WhoAmIOut
from hope.web.webhooks import check_mail

if TYPE_CHECKING:
    from hope.web.auth.oidc import OpenIdSignIn

SHORTEST_SECRET: Final = 16
LOCAL = "local"
LOGIN = "/auth/login"


def check_may_serve(settings: Settings) -> None:
    """Refuse to serve in a way that would let strangers in.

    Raises:
        InputError: if others than this machine's users can reach the gateway and nobody has to sign in, or if what is
            configured for signing in or for e-mail cannot work.
    """
    platform = settings.platform
    if platform.public_url:
        _check_url("HOPE_PUBLIC_URL", platform.public_url, path=False, tls=False)
    if platform.docs_url:
        _check_url("HOPE_DOCS_URL", platform.docs_url, path=True, tls=False)
    if is_public(platform) and not platform.authentication:
        where = f"HOPE_HOST={platform.host}" if not platform.loopback else f"HOPE_PUBLIC_URL={platform.public_url}"
        raise InputError(
            "the gateway would be open to everybody who can reach it",
            expected="HOPE_API_TOKENS_FILE or HOPE_OIDC_ISSUER, so that users have to sign in",
            got=f"{where} and neither of them",
            fix="set one of them, or serve on 127.0.0.1 only",
        )
    if platform.oidc_issuer:
        _check_oidc(platform)
    if platform.api_tokens_file:
        read_tokens(Path(platform.api_tokens_file), may_be_empty=bool(platform.oidc_issuer))
    check_mail(platform)


def _check_oidc(platform: PlatformSettings) -> None:
    wanted = {
        "HOPE_OIDC_CLIENT_ID": platform.oidc_client_id,
        "HOPE_OIDC_CLIENT_SECRET": platform.oidc_client_secret,
        "HOPE_PUBLIC_URL": platform.public_url,
    }
    missing = [name for name, value in wanted.items() if not value.strip()]
    if missing:
        raise InputError(
            "sign-in by OpenID Connect is not complete",
            expected="HOPE_OIDC_ISSUER, HOPE_OIDC_CLIENT_ID, HOPE_OIDC_CLIENT_SECRET and HOPE_PUBLIC_URL together",
            got=f"no {' and no '.join(missing)}",
        )
    if len(platform.oidc_client_secret.strip()) < SHORTEST_SECRET:
        raise InputError(
            "HOPE_OIDC_CLIENT_SECRET is too short",
            expected=f"at least {SHORTEST_SECRET} characters: the login cookies' key is made from it",
            got=f"{len(platform.oidc_client_secret.strip())}",
            fix="have the issuer make a new one",
        )
    _check_url("HOPE_OIDC_ISSUER", platform.oidc_issuer, path=True, tls=True)
    _check_url("HOPE_PUBLIC_URL", platform.public_url, path=False, tls=True)


def _check_url(name: str, text: str, *, path: bool, tls: bool) -> None:
    """A URL with a host; with ``tls`` https, except on loopback."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    plain = parts.scheme == "http" and (not tls or host in LOOPBACK_NAMES)
    whole = host and not parts.query and not parts.fragment and parts.username is None
    if not whole or not (parts.scheme == "https" or plain) or (not path and parts.path not in ("", "/")):
        raise InputError(
            f"{name} is not usable",
            expected="a URL such as https://hope.example.org" + ("" if path else ", without a path"),
            got="something else" if "@" in text else text,
        )


class Authenticator:
    """Tells who calls. A session's own token is not its business: that is what a session is for.

    Args:
        settings: what the environment chose; `check_may_serve` has accepted it.

    Attributes:
        public: whether others than this machine's users can reach the gateway.
        required: whether one has to sign in.
        router: ``GET /api/whoami``, and with OpenID Connect ``/auth/login``, ``/auth/callback``, ``/auth/logout``.
    """

    def __init__(self, settings: Settings) -> None:
        platform = settings.platform
        self.public = is_public(platform)
        self.required = self.public or platform.authentication
        self._tokens = _tokens(platform) if platform.api_tokens_file else None
        self._oidc = _sign_in(platform) if platform.oidc_issuer else None
        self.router = self._routes()

    def principal(self, request: Request) -> str | None:
        """Who calls: ``local``, ``token:NAME``, ``oidc:HASH``; None if whoever it is has to sign in first.

        A wrong API token is refused even where a login would do.
        """
        if not self.required:
            return LOCAL
        if _api_token(request):
            name = self.token_name(request)
            return f"token:{name}" if name else None
        return self._oidc.owner(request) if self._oidc else None

    def token_name(self, request: Request) -> str | None:
        """Name of the API token that the call brings along; None without a known one."""
        token = _api_token(request)
        return self._tokens.name_of(token) if self._tokens is not None and token else None

    def _whoami(self, request: Request) -> WhoAmIOut:
        principal = self.principal(request)
        kinds = {LOCAL: "loopback", "token": "token", "oidc": "oidc"}
        response: dict[str, Any] = {
            "authenticated": principal is not None,
            "method": kinds[principal.partition(":")[0]] if principal else "none",
            "ways": [name for name, way in (("token", self._tokens), ("oidc", self._oidc)) if way],
        }
        if self._oidc:
            response["sign_in_url"] = LOGIN
        return WhoAmIOut(**response)

    def _routes(self) -> APIRouter:
        router = APIRouter()

        @router.get("/api/whoami", tags=["sign-in"], response_model_exclude_unset=True, responses=problems())
        def whoami(request: Request) -> WhoAmIOut:
            """Whether this caller may open a session, how it is known, and how one can sign in."""
            return self._whoami(request)

        oidc = self._oidc
        if oidc is None:
            return router

        @router.get(LOGIN, tags=["sign-in"], include_in_schema=False)
        async def login(request: Request) -> Response:
            """Go to the issuer."""
            return await oidc.begin(request)

        @router.get("/auth/callback", tags=["sign-in"], include_in_schema=False)
        async def callback(request: Request) -> Response:
            """Come back from the issuer."""
            return await oidc.finish(request)

        @router.post("/auth/logout", tags=["sign-in"], include_in_schema=False, status_code=204)
        def logout() -> Response:
            """Forget the login in this browser; sessions live on until they are deleted or idle for too long."""
            return oidc.sign_out()

        return router


def _tokens(platform: PlatformSettings) -> ApiTokens:
    """The API tokens; their file may hold none where people sign in by OpenID Connect."""
    return ApiTokens(Path(platform.api_tokens_file), may_be_empty=bool(platform.oidc_issuer))


def _sign_in(platform: PlatformSettings) -> OpenIdSignIn:
    """OpenID Connect, whose libraries are loaded only where it is used."""
    with warnings.catch_warnings():
        # Authlib announces, at every start, that it will change its HTTP client; that is nothing for an operator.
        from authlib.deprecate import AuthlibDeprecationWarning

        warnings.simplefilter("ignore", AuthlibDeprecationWarning)
        from hope.web.auth.oidc import OpenIdSignIn
    return OpenIdSignIn(platform)


def _api_token(request: Request) -> str:
    """X-Hope-Token, or a bearer token that says it is an API token; empty if there is none."""
    explicit = request.headers.get("x-hope-token", "").strip()
    if explicit:
        return explicit
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    value = value.strip()
    return value if scheme.lower() == "bearer" and value.startswith(PREFIX) else ""

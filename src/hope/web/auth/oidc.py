"""Sign-in by OpenID Connect: authorization code with PKCE, state and nonce. Keeps a salted hash of who it was."""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from itsdangerous import BadData, URLSafeTimedSerializer
from joserfc.errors import JoseError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from hope.settings import PlatformSettings
from hope.web.errors import ProblemError
from hope.web.middleware.logs import error_facts

LOGIN_SECONDS: Final = 8 * 3600
FLOW_SECONDS: Final = 600
TIMEOUT_SECONDS: Final = 10.0
ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"})
"""Signatures by a key that only the issuer has: never ``none``, nor one that the shared secret could make."""

CALLBACK: Final = "/auth/callback"

log = logging.getLogger(__name__)


class OpenIdSignIn:
    """Signs people in at one issuer.

    The key of its cookies is stretched from the client secret, so that all gateways of a fleet agree without sharing a
    file, and a new secret ends every login.

    Args:
        settings: what the environment chose; `hope.web.auth.auth.check_may_serve` has accepted it.
    """

    def __init__(self, settings: PlatformSettings) -> None:
        self._issuer, self._client_id = settings.oidc_issuer, settings.oidc_client_id
        self._callback = settings.public_url.rstrip("/") + CALLBACK
        self._secure = urlsplit(settings.public_url).scheme == "https"
        prefix = "__Host-" if self._secure else ""
        self._flow_cookie, self._login_cookie = f"{prefix}hope_flow", f"{prefix}hope_login"
        salt = f"hope-cookies:{self._issuer}:{self._client_id}".encode()
        key = hashlib.scrypt(settings.oidc_client_secret.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32)
        self._owner_key = hmac.digest(key, b"owner", "sha256")
        cookie_key = hmac.digest(key, b"cookie", "sha256")
        self._flows = URLSafeTimedSerializer(cookie_key, salt="hope-flow")
        self._logins = URLSafeTimedSerializer(cookie_key, salt="hope-login")
        oauth = OAuth()
        oauth.register(
            "hope",
            client_id=self._client_id,
            client_secret=settings.oidc_client_secret,
            server_metadata_url=self._issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid",
                "code_challenge_method": "S256",
                "timeout": TIMEOUT_SECONDS,
                "follow_redirects": False,
            },
        )
        self._client = oauth.create_client("hope")

    def owner(self, request: Request) -> str | None:
        """``oidc:HASH`` of whoever's login cookie this is; None without a valid one."""
        try:
            owner = self._logins.loads(request.cookies.get(self._login_cookie, ""), max_age=LOGIN_SECONDS)
        except BadData:
            return None
        return owner if isinstance(owner, str) and owner.startswith("oidc:") else None

    async def begin(self, request: Request) -> Response:
        """Send the browser to the issuer; what the way back needs goes into a signed cookie."""
        await self._metadata()
        flow: dict[str, Any] = {}
        request.scope["session"] = flow
        response: Response = await self._client.authorize_redirect(request, self._callback)
        self._set(response, self._flow_cookie, str(self._flows.dumps(flow)), FLOW_SECONDS, "lax")
        return response

    async def finish(self, request: Request) -> Response:
        """Take the browser back from the issuer, check everything, and sign in.

        Raises:
            ProblemError: 400 if state, code, nonce, issuer, audience or signature are not what they should be; 502 if
                the issuer does not answer.
        """
        try:
            flow = self._flows.loads(request.cookies.get(self._flow_cookie, ""), max_age=FLOW_SECONDS)
        except BadData:
            raise _refused("no sign-in is under way in this browser, or it took longer than ten minutes") from None
        request.scope["session"] = flow
        await self._metadata()
        options = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._client_id},
            "sub": {"essential": True},
            "nonce": {"essential": True},
        }
        try:
            issuer = request.query_params.get("iss")
            if issuer is not None and issuer != self._issuer:
                raise _refused("the answer comes from another issuer")
            token = await self._client.authorize_access_token(request, claims_options=options)
            subject = token["userinfo"]["sub"]
            if not isinstance(subject, str) or not subject:
                raise _refused("the issuer did not say who signed in")
        except httpx2.HTTPError as error:
            raise _unreachable(error) from None
        except (OAuthError, JoseError, KeyError, TypeError, ValueError) as error:
            kind, where = error_facts(error)
            log.warning("a sign-in was refused", extra={"error": kind, "where": where})
            raise _refused("the issuer's answer does not hold (state, code, nonce, issuer or signature)") from None
        response = RedirectResponse("/", status_code=303)
        self._set(
            response, self._login_cookie, str(self._logins.dumps(self._owner_of(subject))), LOGIN_SECONDS, "strict"
        )
        self._clear(response, self._flow_cookie)
        return response

    def sign_out(self) -> Response:
        """Forget the login in this browser."""
        response = Response(status_code=204)
        self._clear(response, self._login_cookie)
        return response

    def _owner_of(self, subject: str) -> str:
        """The same person at the same issuer gets the same hash; nobody without the secret can tell whose it is."""
        identity = f"{self._issuer}\0{subject}".encode()
        return "oidc:" + hmac.digest(self._owner_key, identity, "sha256").hex()[:32]

    async def _metadata(self) -> None:
        """Have the issuer's own description, and hold it to what was configured."""
        try:
            metadata = await self._client.load_server_metadata()
        except (httpx2.HTTPError, ValueError) as error:
            raise _unreachable(error) from None
        if metadata.get("issuer") != self._issuer:
            self._client.server_metadata.clear()
            log.error("the issuer calls itself otherwise than HOPE_OIDC_ISSUER does; both have to be the same text")
            raise ProblemError(502, "sign-in", "the sign-in service is set up wrongly; tell whoever runs this server")
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in ALGORITHMS] or [
            "RS256"
        ]

    def _set(self, response: Response, name: str, value: str, seconds: int, same_site: Any) -> None:
        response.set_cookie(name, value, seconds, path="/", secure=self._secure, httponly=True, samesite=same_site)

    def _clear(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True)


def _refused(reason: str) -> ProblemError:
    return ProblemError(400, "sign-in", f"signing in did not work: {reason}; start again at /auth/login")


def _unreachable(error: Exception) -> ProblemError:
    kind, where = error_facts(error)
    log.error("the sign-in service does not answer", extra={"error": kind, "where": where})
    return ProblemError(502, "sign-in", "the sign-in service does not answer; try again later")

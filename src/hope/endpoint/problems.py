"""What an invocation is answered: the manifest, or a problem in one sentence (RFC 9457)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from hope.contract.job import ConflictError
from hope.domain.errors import BundleError, HopeError, InputError, OutputError
from hope.endpoint.payload import PayloadError

_AWAY = "the object store does not answer; nothing is wrong with the call"
_OURS = "the endpoint failed; nothing is wrong with the call; the log says where"
_CALLERS_CODES = re.compile(r"refused: (NoSuchBucket|AccessDenied|403|InvalidBucketName|PermanentRedirect|NoSuchKey)$")


class UnknownModelError(InputError):
    """There is no model of that id."""


class BusyError(HopeError):
    """Nothing can be taken now; the same call may be made again."""


@dataclass(frozen=True)
class Problem:
    """Why there is no result.

    Attributes:
        status: HTTP status; 4xx if the caller can mend it.
        name: last part of the problem's type.
        detail: one sentence.
    """

    status: int
    name: str
    detail: str

    def to_json(self) -> dict[str, Any]:
        """An RFC 9457 body."""
        return {
            "type": f"/problems/{self.name}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    @property
    def again(self) -> bool:
        """Whether the same call may well succeed a little later."""
        return self.status == HTTPStatus.SERVICE_UNAVAILABLE


_TABLE: tuple[tuple[type[Exception], int, str], ...] = (
    (PayloadError, 400, "payload"),
    (UnknownModelError, 404, "model"),
    (ConflictError, 409, "conflict"),
    (InputError, 422, "input"),
    (BusyError, 503, "busy"),
    (OutputError, 507, "storage"),
    (BundleError, 500, "model"),
    (HopeError, 500, "stage"),
    (ConnectionError, 503, "away"),
    (TimeoutError, 504, "timeout"),
    (Exception, 500, "internal"),
)


def problem_of(error: Exception) -> Problem:
    """What to say about an error; foreign errors keep their own words to themselves."""
    status, name = next((status, name) for kind, status, name in _TABLE if isinstance(error, kind))
    if isinstance(error, HopeError):
        detail = " ".join(str(error).split()) or _OURS
    elif isinstance(error, ConnectionError):
        detail = _AWAY
    elif isinstance(error, TimeoutError):
        detail = "the case took longer than this endpoint allows and was stopped"
    else:
        detail = _OURS
    return Problem(status, name, detail)


def blamed_on(error: ConnectionError, what: str) -> InputError | None:
    """The caller's mistake behind a refusal of the store, such as a bucket that does not exist; None if it is ours."""
    if refused := _CALLERS_CODES.search(str(error)):
        return InputError(
            f"{what} cannot be used", expected="a bucket that the endpoint's role may list and read", got=refused[1]
        )
    return None

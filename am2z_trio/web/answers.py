"""What is answered where there is nothing to show: one clear sentence, and what to do about it."""

from __future__ import annotations

import secrets
from typing import Final

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from am2z_trio.admin import NotPermittedError
from am2z_trio.model.errors import (
    AM2ZError,
    ConfigurationError,
    JobNotFoundError,
    NetworkError,
    ProcessorNotFoundError,
    ScheduleNotFoundError,
    UnknownOutcomeError,
    ValidationError,
)
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import trace_of

logger: Final = Log("am2z_trio.web")

AWAY: Final = 503
TITLES: Final = {
    400: "That cannot be read",
    401: "Who asks?",
    403: "Not permitted",
    404: "There is no such thing here",
    405: "Not like this",
    413: "Too much",
    421: "Another name",
    429: "Too many at once",
    500: "That went wrong here",
    503: "Redis is away",
    504: "That took too long",
}

SENTENCES: Final = {
    "Not Found": "Nothing is at this address.",
    "Method Not Allowed": "This address is not asked for like this.",
}
"""Instead of what the framework says by itself."""


class Trouble(msgspec.Struct, frozen=True):
    """What is said."""

    status: int
    code: str
    text: str
    field: str = ""
    rule: str = ""

    @property
    def title(self) -> str:
        return TITLES.get(self.status, "That did not work")


def trouble_of(error: Exception) -> Trouble:
    """What is said of an error. One that nobody has thought of is logged, under a word that is said, too."""
    if isinstance(error, HTTPException):
        text = SENTENCES.get(str(error.detail), str(error.detail))
        return Trouble(error.status_code, "HTTP", text)
    if isinstance(error, TimeoutError):
        return Trouble(504, "TIMEOUT", "It took longer than anybody should wait: nothing more is known.")
    if isinstance(error, AM2ZError):
        status = _status(error)
        text = error.message
        if isinstance(error, UnknownOutcomeError):
            text = f"Redis was lost while this was under way: it may have been done, or not. {text}"
        elif status == AWAY:
            text = f"Redis cannot be reached, so nothing can be shown or done now: {text}"
        field, rule = (str(error.context.get(key, "")) for key in ("field", "rule"))
        if isinstance(error, NotPermittedError) and "permission" in error.context:
            rule = f"takes the permission {error.context['permission']!r}"
        return Trouble(status, error.code, text, field, rule)
    word = secrets.token_hex(4)
    logger.error("a request has failed (%s)", word, trace=trace_of(error))
    return Trouble(500, "INTERNAL", f"It was logged as {word}, with its place in the code.")


def _status(error: AM2ZError) -> int:
    if isinstance(error, NotPermittedError):
        return 403
    if isinstance(error, JobNotFoundError | ProcessorNotFoundError | ScheduleNotFoundError):
        return 404
    if isinstance(error, UnknownOutcomeError):
        return 504
    if isinstance(error, NetworkError):
        return AWAY
    if isinstance(error, ValidationError | ConfigurationError):
        return 400
    return 409


def wants_json(request: Request) -> bool:
    """Whether a program asks."""
    path = request.scope["path"].removeprefix(request.scope.get("am2z.root", ""))
    return str(path).startswith("/api/")


def as_json(trouble: Trouble) -> Response:
    """For programs."""
    said = {"code": trouble.code, "message": trouble.text, "field": trouble.field, "rule": trouble.rule}
    return JSONResponse(said, trouble.status)

"""What is answered where something is wrong: `application/problem+json` (RFC 9457), one clear sentence."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any, Final

from am2z_trio.model.as_json import encoded
from am2z_trio.model.errors import (
    AM2ZError,
    ConfigurationError,
    JobNotFoundError,
    NetworkError,
    NoWorkerError,
    PayloadTooLargeError,
    ProcessorNotFoundError,
    ResourceError,
    RuntimeStateError,
    UnknownOutcomeError,
    ValidationError,
)
from am2z_trio.model.evolution import StateVersionError
from am2z_trio.model.logs import Log
from am2z_trio.model.telling import cut, trace_of

from .types import Receive, Scope, Send

logger: Final = Log("am2z_trio.asgi")

REFUSED: Final = 1008
"""The code with which a WebSocket is closed that nobody may have."""

MOST_REASON: Final = 120
"""Bytes of the reason that is told with it."""

_STATUS: Final[tuple[tuple[type[AM2ZError], int], ...]] = (
    (JobNotFoundError, 404),
    (ProcessorNotFoundError, 404),
    (PayloadTooLargeError, 413),
    (UnknownOutcomeError, 504),
    (NetworkError, 503),
    (RuntimeStateError, 503),
    (NoWorkerError, 503),
    (ResourceError, 429),
    (ValidationError, 422),
    (ConfigurationError, 422),
    (StateVersionError, 422),
)


class Problem(Exception):
    """An answer that is none of what was asked for."""

    def __init__(self, status: int, detail: str, *, code: str = "", **headers: str) -> None:
        super().__init__(detail)
        self.status: Final = status
        self.detail: Final = detail
        self.code: Final = code
        self.headers: Final = headers


def problem_of(error: Exception) -> Problem:
    """What is said of an error. One that is nobody's to know is logged, under a word that is said."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, AM2ZError):
        for kind, status in _STATUS:
            if isinstance(error, kind):
                later = {"retry_after": "5"} if status in (429, 503) else {}
                detail = error.message if status < 500 else _AWAY
                return Problem(status, detail, code=error.code, **later)
    word = secrets.token_hex(4)
    logger.error("a request has failed (%s)", word, trace=trace_of(error))
    return Problem(500, f"It was logged as {word}.")


_AWAY: Final = "Jobs cannot be reached now: try again."


async def refuse(error: Exception, send: Send) -> None:
    """Answer with it."""
    problem = problem_of(error)
    said: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    if problem.code:
        said["code"] = problem.code
    await answer(send, said, problem.status, kind=b"application/problem+json", **problem.headers)


class _Refusal:
    """The answer of an error, as a response of Starlette's is called."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            told = cut(problem_of(self._error).detail, MOST_REASON)
            await send({"type": "websocket.close", "code": REFUSED, "reason": told})
        else:
            await refuse(self._error, send)


async def answer_error(connection: object, error: Exception) -> Any:
    """An exception handler of FastAPI and Starlette: `app.add_exception_handler(AM2ZError, answer_error)`.

    What the engine raises in a path operation is answered as `application/problem+json`, with the status that
    it has in the `jobs` application: 404 for a `JobNotFoundError`, 422 for a `ValidationError`, 429 for a
    `ResourceError`, 503 where Redis is away; 500 for others, which are logged under a word that is told. A
    WebSocket is closed (1008)."""
    return _Refusal(error)


async def answer(
    send: Send, said: object, status: int = 200, *, kind: bytes = b"application/json", **headers: str
) -> None:
    """Answer with an object in JSON."""
    body = encoded(said)
    fields = [
        (name.lower().replace("_", "-").encode("ascii"), value.encode("latin-1"))
        for name, value in headers.items()
    ]
    start = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*start, *fields]})
    await send({"type": "http.response.body", "body": body})

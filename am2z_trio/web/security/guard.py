"""All that stands between a request and the console's pages, in this order: the host's name, that a change
comes from a page of its own, the body's size, and who asks."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from am2z_trio.admin import Principal
from am2z_trio.model.limits import KIB
from am2z_trio.model.logs import Log

from .. import cookies
from .headers import ALWAYS, UNLESS_SAID
from .hosts import is_known
from .origin import refusal
from .who import Authenticate, LoopbackToken

logger: Final = Log("am2z_trio.web")

MOST_BYTES: Final = KIB * KIB
"""Of a request's body."""

WHO_WAIT: Final = 15.0
"""Seconds that it may take to find out who asks."""

Refuse = Callable[[Request, int, str], Awaitable[Response]]
"""Makes the answer to a request that is not let in: its status, and one sentence."""

Failed = Callable[[Request, Exception], Awaitable[Response]]
"""Makes the answer where it could not be found out."""


class Guard:
    """Lets requests in, with `scope["am2z.principal"]` to say who asks."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticate: Authenticate,
        hosts: Sequence[str],
        refuse: Refuse,
        failed: Failed,
    ) -> None:
        self._app: Final = app
        self._authenticate: Final = authenticate
        self._hosts: Final = tuple(hosts)
        self._refuse: Final = refuse
        self._failed: Final = failed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let it in."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Where the console itself is; what it mounts within itself is not.
        scope["am2z.root"] = scope.get("root_path", "")
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except Exception as error:
            # It may be a user's code that says who asks: what is answered then is as bounded as all else.
            answer = await self._failed(request, error)
        await (answer or self._app)(scope, receive, _with_headers(send))

    async def _answer(self, request: Request) -> Response | None:
        """What is answered instead of a page; `None`: it is let in."""
        headers = request.headers
        if not is_known(headers.get("host", ""), self._hosts):
            return await self._refuse(request, 421, "This console is not asked for by that name.")
        why = refusal(request.method, headers, scheme=request.scope.get("scheme", "http"))
        if why:
            return await self._refuse(request, 403, f"Nothing was changed: {why}.")
        if not _is_bounded(headers):
            return await self._refuse(request, 413, f"At most {MOST_BYTES:,} bytes can be sent.")
        if is_public(request):
            return None
        return await self._admit(request)

    async def _admit(self, request: Request) -> Response | None:
        principal = await self._who(request)
        token = request.query_params.get("token")
        if isinstance(self._authenticate, LoopbackToken) and token is not None and request.method == "GET":
            kept = None if principal else self._authenticate.admit(token)
            if principal is not None or kept is not None:
                # The link is not to stay in the browser's history.
                left = request.url.remove_query_params("token")
                # Two slashes in front would be another site's name.
                path = f"/{left.path.lstrip('/')}"
                response = RedirectResponse(path + (f"?{left.query}" if left.query else ""), 303)
                if kept is not None:
                    cookies.write(request, response, kept, seconds=None)
                return response
        if principal is not None:
            request.scope["am2z.principal"] = principal
            # For what lasts longer than a page.
            request.scope["am2z.who"] = partial(self._who, request)
            return None
        return await self._unknown(request)

    async def _who(self, request: Request) -> Principal | None:
        with anyio.fail_after(WHO_WAIT):
            found = self._authenticate(request)
            principal = await found if inspect.isawaitable(found) else found
        if principal is not None and not isinstance(principal, Principal):
            raise TypeError("authenticate must return a Principal or None")
        return principal

    async def _unknown(self, request: Request) -> Response:
        headers = request.headers
        comes = headers.get("sec-fetch-site"), headers.get("sec-fetch-dest")
        if request.method == "GET" and comes == ("cross-site", "document"):
            # By a link on another site: the browser has left the cookie out, and brings it when a page of
            # this one asks.
            response = await self._refuse(request, 401, "Opening …")
            response.headers["Refresh"] = "0"
            return response
        if isinstance(self._authenticate, LoopbackToken):
            text = "It is opened by the link that was printed where it was started; each opens it once."
            return await self._refuse(request, 401, text)
        response = await self._refuse(request, 401, "Nobody is known who asks like this.")
        challenge = getattr(self._authenticate, "challenge", None)
        if challenge:
            response.headers["WWW-Authenticate"] = challenge
        return response


def is_public(request: Request) -> bool:
    """Style and script are everybody's: the page that refuses needs them, too."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return request.method in ("GET", "HEAD") and path.startswith("/static/")


def _is_bounded(headers: Headers) -> bool:
    length = headers.get("content-length")
    return length is None or (length.isascii() and length.isdigit() and int(length[:20]) <= MOST_BYTES)


async def read_body(request: Request) -> bytes | None:
    """All of a request's body; `None` where it is larger than it may be, whatever was said of that."""
    parts, size = list[bytes](), 0
    async with aclosing(request.stream()) as stream:
        async for part in stream:
            size += len(part)
            if size > MOST_BYTES:
                return None
            parts.append(part)
    return b"".join(parts)


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in ALWAYS.items():
                headers[name] = value
            for name, value in UNLESS_SAID.items():
                headers.setdefault(name, value)
        await send(message)

    return sent

"""The console as an ASGI application: its routes behind the guard, and every way to fail answered."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Final

import anyio
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as ServedRoute

from am2z_trio.admin import Principal, Rules
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require
from am2z_trio.model.errors import AM2ZError, NetworkError
from am2z_trio.model.segments import id_of, segment

from .answers import AWAY, Trouble, as_json, trouble_of, wants_json
from .api.serving import ROUTES as API
from .live.hub import LOOK_WAIT, Hub, State
from .live.stream import Stream, is_wanted
from .pages import ROUTES
from .routes import Action, Endpoint, Page, Route
from .security.guard import Guard, read_body
from .security.hosts import LOOPBACK
from .security.who import Authenticate
from .statics import serve
from .view import Console, View

LATE: Final = 504
WAIT: Final = 15.0
"""Seconds after which a page is no longer waited for."""

NAVIGATION: Final = "nav"
"""The block of the frame that is live on every page that has live ones."""

NOBODY: Final = Principal(name="nobody", role="nobody", permissions=frozenset())
"""Whom a page is shown to that says who may not come in."""


class _Id(Convertor[str]):
    """A part of a path that stands for an id (`addresses`)."""

    regex = "[A-Za-z0-9_~-]+"

    def convert(self, value: str) -> str:
        found = id_of(value)
        if found is None:
            raise HTTPException(404, "The address names no id.")
        return found

    def to_string(self, value: str) -> str:
        return segment(value)


register_url_convertor("am2z_id", _Id())


def console(
    runtime: Runtime,
    *,
    authenticate: Authenticate,
    hosts: Sequence[str] = LOOPBACK,
    redaction: Rules | None = None,
    where: str = "",
) -> Starlette:
    """The console of an entered runtime, to be served alone or mounted under any prefix, on Trio or asyncio.

    `authenticate(request)` says who asks: a `Principal`, or `None` for nobody that is known; it may be async.
    `loopback_token()`, `proxy_header()`, `basic()` and `bearer()` are ready made; there is no default, as
    whoever is let in can stop what runs. `hosts`: the names by which it may be asked for, `*.example.com` for
    all below one, `*` where something before it sees to that; by default those of this machine. `redaction`:
    what is shown of payloads, as `Admin` has it. `where`: what the foot of each page says of where this is;
    by default `runtime.place`.

    It keeps no state but that of who looks, and does nothing while nobody does.
    """
    require(callable(authenticate), "authenticate", authenticate, "must be callable: it says who asks")
    rule = "must be names, or '*'"
    require(not isinstance(hosts, str) and bool(hosts), "hosts", hosts, rule)
    return application(
        Console(runtime, redaction=redaction, where=where), [*ROUTES, *API], authenticate, hosts
    )


def application(
    shared: Console, routes: Sequence[Route], authenticate: Authenticate, hosts: Sequence[str]
) -> Starlette:
    """One that serves these routes."""
    hub = Hub(_judged)
    shared.pages = frozenset(route.name for route in routes if isinstance(route, Page))
    served = [ServedRoute("/static/{name}", serve, methods=["GET"])]
    served += [_served(shared, hub, route) for route in routes]

    async def refuse(request: Request, status: int, text: str) -> Response:
        return answered(shared, request, Trouble(status, "REFUSED", text))

    async def failed(request: Request, error: Exception) -> Response:
        return answered(shared, request, trouble_of(error))

    app = Starlette(
        routes=served,
        middleware=[Middleware(Guard, authenticate=authenticate, hosts=hosts, refuse=refuse, failed=failed)],
        exception_handlers={HTTPException: failed, Exception: failed},
    )
    # For whoever wants to know how much is looked at.
    app.state.hub = hub
    return app


def _served(shared: Console, hub: Hub, route: Route) -> ServedRoute:
    method = "GET" if isinstance(route, Page) else "POST" if isinstance(route, Action) else route.method

    async def endpoint(request: Request) -> Response:
        key = _key(request, route) if isinstance(route, Page) and _is_live(shared, request, route) else None
        known = None if key is None else shared.last_known.get(key)
        try:
            with anyio.fail_after(WAIT if known is None else LOOK_WAIT):
                body = b"" if method == "GET" else await read_body(request)
                if body is None:
                    raise HTTPException(413, "More was sent than can be taken.")
                if isinstance(route, Page) and key is not None and is_wanted(request):
                    return _stream(shared, hub, request, route)
                view = _view(shared, request, route, body)
                if isinstance(route, Page):
                    await shared.counts.look(view.admin)
                response = await route.handler(view)
                if key is not None:
                    shared.last_known.saw(key, view.known)
                return response
        except Exception as error:
            if known is not None and isinstance(error, NetworkError | TimeoutError):
                return _asks_again(_view(shared, request, route, b"").render_again(known))
            return answered(shared, request, trouble_of(error))

    path = route.path.replace("}", ":am2z_id}") if not isinstance(route, Endpoint) else route.path
    return ServedRoute(path, endpoint, methods=[method])


def _is_live(shared: Console, request: Request, page: Page) -> bool:
    """Whether it is shown live, and kept for whoever asks for the same while Redis is away."""
    principal: Principal = request.scope["am2z.principal"]
    return bool(page.live) and page.follows(View(shared, request, principal, page=page.name))


def _stream(shared: Console, hub: Hub, request: Request, page: Page) -> Stream:
    """The page's live blocks, asked for as often as they may have changed."""

    async def look() -> Mapping[str, str]:
        view = _view(shared, request, page, b"")
        await shared.counts.look(view.admin)
        await page.handler(view)
        shared.last_known.saw(key, view.known)
        return {} if view.rendered is None else view.rendered.blocks

    key = _key(request, page)
    last_id = request.headers.get("last-event-id", "")
    return Stream(hub, key, look, every=page.every, last_id=last_id)


def _key(request: Request, page: Page) -> Hashable:
    """All who ask with the same key see the same."""
    principal: Principal = request.scope["am2z.principal"]
    ids = tuple(sorted(request.path_params.items()))
    # Who is limited sees what it has begun itself, which is nobody else's to see.
    name = "" if principal.sees_all else principal.name
    rights = principal.role, principal.may, principal.sessions, principal.queues, name
    return page.name, ids, str(request.url.query), request.scope["am2z.root"], rights


def _judged(error: Exception) -> tuple[State, str]:
    """What a page that is looked at says of an error."""
    if isinstance(error, NetworkError):
        return "away", error.message
    if isinstance(error, AM2ZError):
        return "trouble", error.message
    return "trouble", "the console has logged what is wrong"


def _view(shared: Console, request: Request, route: Route, body: bytes) -> View:
    principal: Principal = request.scope["am2z.principal"]
    if isinstance(route, Endpoint):
        return View(shared, request, principal, page=route.path, body=body, face="api")
    is_live = isinstance(route, Page) and _is_live(shared, request, route)
    live = (*route.live, NAVIGATION) if isinstance(route, Page) and is_live else ()
    return View(shared, request, principal, page=route.name, live=live, body=body)


def answered(shared: Console, request: Request, trouble: Trouble) -> Response:
    """The page, or the object, that says what is wrong."""
    if wants_json(request):
        response = as_json(trouble)
    else:
        principal = request.scope.get("am2z.principal", NOBODY)
        view = View(shared, request, principal, page="")
        response = view.render("trouble.html", status=trouble.status, trouble=trouble)
    if trouble.status in (AWAY, LATE):
        if request.method == "GET" and not wants_json(request):
            return _asks_again(response)
        response.headers["Retry-After"] = "3"
    return response


def _asks_again(response: Response) -> Response:
    """It is there again as soon as Redis is, with or without a script."""
    response.headers["Retry-After"] = response.headers["Refresh"] = "3"
    return response

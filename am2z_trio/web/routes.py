"""What a module of pages exports: records of its pages, of their actions, and of what programs ask for.

```python
async def show(view: View) -> Response:
    rows = await view.admin.queues()
    return view.render("queues/list.html", rows=rows)

async def pause(view: View) -> Response:
    answer = await view.admin.pause(view.id("queue"), reason=view.reason)
    return view.done(answer, view.url("queue", queue=view.id("queue")))

ROUTES = [
    Page("queues", show, live=["rows"]),     # GET /queues, an address of `addresses.PAGES`
    Action("queue.pause", pause),            # POST /queues/{queue}/pause
]
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

import msgspec
from starlette.responses import Response

from .addresses import path_of
from .view import View

Handler = Callable[[View], Awaitable[Response]]

EVERY: Final = 1.0
"""Seconds between two looks at what a page shows live."""


def _always(_: View) -> bool:
    return True


class Page(msgspec.Struct, frozen=True):
    """What can be looked at: `GET`, changes nothing, and has an address that can be kept.

    `name` is one of `addresses.PAGES`, or what belongs to one (`job.preview` is at `/jobs/{job}/preview`).
    `live` names blocks of its template (`{% block rows %}`) which stand alone in an element
    `<div data-live="rows">`: while somebody looks, the handler is asked again `every` so many seconds, once
    for all who look at the same address with the same rights, and what has changed is sent. A page needs
    nothing else for that, and no block may hold a form that is being filled in. `follows` says of what is
    asked for whether it may be shown so: it is no look that is written down.
    """

    name: str
    handler: Handler
    live: Sequence[str] = ()
    every: float = EVERY
    follows: Callable[[View], bool] = _always

    @property
    def path(self) -> str:
        return path_of(self.name)


class Action(msgspec.Struct, frozen=True):
    """What changes something: `POST` of a plain form, answered by `view.done(answer, to)`, or by a page.

    What the service refuses (`NotPermittedError`, a bad value, Redis away) need not be seen to: it becomes a
    page that says so. What has moved on is an `Answer`, which is told where `to` leads.
    """

    name: str
    handler: Handler

    @property
    def path(self) -> str:
        return path_of(self.name)


class Endpoint(msgspec.Struct, frozen=True):
    """What programs ask for: errors are JSON, `{"code", "message", "field", "rule"}`, and a bearer's token
    without a cookie needs no proof of where it comes from."""

    path: str
    handler: Handler
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"


Route = Page | Action | Endpoint

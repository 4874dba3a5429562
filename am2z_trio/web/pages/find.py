"""What somebody has typed, found: a job by its id, a queue by its name, or a search."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response

from am2z_trio.model.errors import AM2ZError, NetworkError

from ..routes import Page, Route
from ..view import View


async def show(view: View) -> Response:
    """Lead to what it names; to a search where it names nothing that is there."""
    typed = view.query("q").strip()
    if not typed:
        return view.render("find.html")
    return RedirectResponse(await _place_of(view, typed), 303)


async def _place_of(view: View, typed: str) -> str:
    try:
        shown = await view.admin.show(typed)
        return view.url("job", job=shown.row.id)
    except NetworkError:
        raise
    except AM2ZError:
        # No job of this id; perhaps no id at all.
        queues = (await view.admin.census()).queues
        return view.url("queue", queue=typed) if typed in queues else view.url("jobs", query={"q": typed})


ROUTES: list[Route] = [Page("find", show)]

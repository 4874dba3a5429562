"""Redis: how the server is, what of its memory the namespace takes, and whether it is fit for its work."""

from __future__ import annotations

from markupsafe import Markup
from starlette.responses import Response

from am2z_trio.model.records import ServerFigures
from am2z_trio.model.views.server import ServerShown

from ..charts import bar
from ..routes import Page, Route
from ..view import View
from ..words import number, percent, seconds, size
from .overview import Figure


async def show(view: View) -> Response:
    """All of it."""
    shown = await view.admin.server()
    return view.render(
        "redis/redis.html",
        shown=shown,
        server=shown.figures,
        prefix=view.console.runtime.options.prefix,
        figures=figures(shown),
        memory=_memory_bar(shown.figures),
        checks=await view.admin.examine(),
    )


def figures(shown: ServerShown) -> list[Figure]:
    """The six on top."""
    server, scripts = shown.figures, shown.scripts
    room = server.limit or server.system
    value, _, unit = size(server.used).partition(" ")
    each = scripts.seconds / scripts.calls * 1e6 if scripts.calls else None
    trip = server.round_trip
    trip_value, _, trip_unit = fine(trip).partition(" ")
    kept, mood = _persistence(server)
    return [
        Figure(
            label="Memory",
            page="redis",
            value=value,
            unit=f"{unit} of {size(room)}" if room else unit,
            said=server.policy or "",
            mood="good" if server.policy == "noeviction" else "bad" if server.policy else "",
        ),
        Figure(label="Round trip", page="redis", value=trip_value, unit=trip_unit, said="from this console"),
        Figure(
            label="Commands",
            page="redis",
            value=number(server.commands),
            unit="/s",
            said=f"{server.clients:,} connections, of everybody",
        ),
        Figure(
            label="Scripts",
            page="redis",
            value=number(None if each is None else round(each)),
            unit="µs" if each is not None else "",
            said=_scripts(shown),
        ),
        Figure(
            label="Persistence",
            page="redis",
            value="AOF" if server.aof else "Snapshots",
            said=kept,
            mood=mood,
        ),
        _clock(server),
    ]


def fine(value: float) -> str:
    """A time that may be far below a millisecond: `0.31 ms`, `42 µs`."""
    if value >= 0.001:
        return seconds(value)
    return f"{value * 1e3:.2f} ms" if value >= 0.0001 else f"{value * 1e6:.0f} µs"


def _scripts(shown: ServerShown) -> str:
    """How often they were called, and what all but one of a hundred calls have taken at most."""
    scripts = shown.scripts
    if not scripts.calls:
        return "it does not say"
    if scripts.p99 is not None:
        return f"a call, of {number(scripts.calls)}; p99 {fine(scripts.p99)}"
    old = shown.figures.kind == "redis" and shown.figures.version.startswith(("6.", "5."))
    why = "servers before 7.0 tell no p99" if old else "no p99, as its latency-tracking is off"
    return f"a call, of {number(scripts.calls)}; {why}"


def _clock(server: ServerFigures) -> Figure:
    """It is known no better than the question took."""
    ahead = server.ahead
    is_off = abs(ahead) > max(1.0, server.round_trip)
    return Figure(
        label="Clock",
        page="redis",
        value=f"{round(ahead * 1000):+,}".replace("-", "−"),
        unit="ms",
        said="against this console",
        mood="bad" if is_off else "good",
    )


def _persistence(server: ServerFigures) -> tuple[str, str]:
    if server.snapshot_failed:
        return "its last write to disk has failed", "bad"
    if server.aof:
        return "each change is written down", "good"
    return f"{server.unsaved:,} changes since the last one would be lost", "warn"


def _memory_bar(server: ServerFigures) -> Markup:
    room = server.limit or server.system
    share = server.used / room if room else 0.0
    kind = "bad" if share > 0.95 else "warn" if share > 0.8 else ""
    return bar((kind, share), whole=1, label=f"{percent(share)} of {size(room) if room else 'what there is'}")


ROUTES: list[Route] = [Page("redis", show, live=["figures", "holds", "checks"], every=5.0)]

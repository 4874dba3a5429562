"""What a runtime's user hears, and tells everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.events.filters import Filters, checked
from am2z_trio.engine.events.replay import Replay, read_history
from am2z_trio.engine.events.subscription import EventStream, Handler, Subscription
from am2z_trio.engine.node.node import Node
from am2z_trio.engine.submission.job import Job
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.callables import require_function
from am2z_trio.model.checks import require, require_count
from am2z_trio.model.ids import meant_id
from am2z_trio.model.records import EventPage, Place
from am2z_trio.model.runtime_options import RuntimeOptions

from .life import Life


class EventMethods(Life):
    """What a runtime's user may do with events."""

    def __init__(self, options: RuntimeOptions) -> None:
        super().__init__(options)
        self.events = Events(self._running, self._bus)
        """What happens on all nodes, and what has happened, where that is kept."""

    def on(
        self, pattern: str, handler: Handler, *, session: str | None = None, job: Job[Any] | str | None = None
    ) -> Handler:
        """Call `handler(event)` for events of any node that match (`job:completed`, `job:*`, `*`).

        `session` and `job` (a handle, an id in full, or with `session` a `job_id` of it) narrow them down to
        those of one. An event costs as much as the handlers that it is for, however many others there are.

        A plain or an async function; it runs in a task of its own, one event at a time, and what it
        raises is logged. Whatever this node causes after `on` has returned is heard. A handler that is more
        than 10,000 events behind, or 16 MiB of them, loses the oldest, which is logged once a second.
        """
        self._require_here()
        require_function("handler", handler, "(event)")
        self._bus.add(Subscription(_filters(pattern, session, job), handler))
        return handler

    def off(
        self,
        pattern: str,
        handler: Handler | None = None,
        *,
        session: str | None = None,
        job: Job[Any] | str | None = None,
    ) -> int:
        """Remove the handlers of a pattern, all of them or those of one function, session or job; returns how
        many.

        None of them is called again. A call that is under way is cancelled, unless it is the handler itself
        that calls this: then it goes on to its end.
        """
        self._require_here()
        filters = _filters(pattern, session, job)
        if handler is not None:
            require(callable(handler), "handler", handler, "must be a function")
        return self._bus.off(filters, handler)

    def emit(self, event: str, data: Any = None) -> None:
        """Publish an event to every node that listens. Does not wait; delivery is at most once.

        Handlers get the data as another process would: maps, lists, texts, numbers. `ConfigurationError` for
        a name that begins as the engine's own do (`job:`, `session:` …); `ValidationError` for what cannot
        be sent, and for more than `model.limits.MAX_EVENT_BYTES` of it.
        """
        node = self._running()
        node.emitter.emit_for_user(event, data)


class Events:
    """`runtime.events`: what happens, as a stream; and what has happened, where that is kept.

    A history is kept if `event_history` of the runtime's options says so, here or on another node: of all
    nodes' events the newest ones. Every event of a job is written down by the same atomic step that changes
    the job; what is emitted as it is sent, its data left out where that has more than 4 KiB.
    """

    def __init__(self, running: Callable[[], Node], bus: Bus) -> None:
        self._running = running
        self._bus = bus

    @asynccontextmanager
    async def __call__(
        self,
        pattern: str = "*",
        *,
        session: str | None = None,
        job: Job[Any] | str | None = None,
        since: str | None = None,
    ) -> AsyncIterator[EventStream]:
        """A stream of the events that match: `async with runtime.events("job:*", session="alice") as stream`.

        `session` and `job` are as for `on`. Everything that happens after entering is heard. Any number of
        tasks may read: each event goes to one of them. A reader that falls far behind loses the oldest
        events; `stream.dropped` counts them, and they are logged as those of a handler are.

        With `since`, the `id` of an event of the history or `last` of a page of it, the stream begins behind
        that one, and with the oldest there is for ''. Then none is lost, however slowly it is read and
        whatever connections break, as long as it is kept, and none comes twice; each has its `id`. Events of
        nodes that write no history are not among them. `ConfigurationError` where no history is kept.
        """
        node = self._running()
        filters = _filters(pattern, session, job)
        replay = None if since is None else await self._replay(node, filters, since)
        subscription = Subscription(filters)
        hung = (subscription,) if replay is None else replay.bells
        for one in hung:
            self._bus.add(one)
        try:
            await self._bus.watch()
            yield EventStream(replay or subscription, node.host, node.here)
        finally:
            for one in hung:
                self._bus.remove(one)
            if replay is not None:
                replay.close()

    async def history(
        self,
        pattern: str = "*",
        *,
        session: str | None = None,
        job: Job[Any] | str | None = None,
        since: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> EventPage:
        """Events that have happened and match, at most so many, in their order: the newest; those behind
        `since`, the `id` of an event or `last` of a page, or the oldest for ''; or the last ones before
        `before`.

        One call looks at 10,000 events at most: a page that has fewer than `limit` says by its `more` whether
        there are others, and goes on with its `last`. `gap`: what it was to go on from is not kept any more.
        Entries that cannot be read are passed over, and counted as `unreadable`. Where no history is kept it
        is empty, and not `kept`. `ConfigurationError` for a `since` that is none, `NetworkError` where the
        store cannot be reached.
        """
        node = self._running()
        filters = _filters(pattern, session, job)
        limit = require_count("limit", limit, most=1_000)
        both = since is not None and before is not None
        require(not both, "before", before, "goes without since: one of them says where to begin")
        if since is not None:
            return await read_history(node.store, filters, _place(since), limit)
        place = "" if before is None else _place(before, "before")
        return await read_history(node.store, filters, place, limit, backwards=True)

    async def _replay(self, node: Node, filters: Filters, since: object) -> Replay:
        place = _place(since)
        first = await node.store.chronicle.events(place, 1)
        require(first.kept, "since", place, "needs a history of events: give event_history to the runtimes")
        return Replay(lambda: self._running().store, node.host, filters, place)


def _place(text: object, field: str = "since") -> str:
    return "" if type(text) is str and not text else str(Place.of(text, field))


def _filters(pattern: str, session: str | None, job: Job[Any] | str | None) -> Filters:
    if isinstance(job, Job):
        return checked(pattern, session, job.id)
    if isinstance(job, str) and session is not None:
        return checked(pattern, session, meant_id(job, require_session(session)))
    return checked(pattern, session, job)

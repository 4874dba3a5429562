"""What a runtime's user hears, and tells everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from am2z_trio.engine.events.filters import Filters, checked
from am2z_trio.engine.events.subscription import EventStream, Handler, Subscription
from am2z_trio.engine.submission.job import Job
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.callables import require_function
from am2z_trio.model.checks import require
from am2z_trio.model.ids import meant_id

from .life import Life


class EventMethods(Life):
    """What a runtime's user may do with events."""

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

    @asynccontextmanager
    async def events(
        self, pattern: str = "*", *, session: str | None = None, job: Job[Any] | str | None = None
    ) -> AsyncIterator[EventStream]:
        """A stream of the events that match: `async with runtime.events("job:*", session="alice") as stream`.

        `session` and `job` are as for `on`. Everything that happens after entering is heard. Any number of
        tasks may read: each event goes to one of them. A reader that falls far behind loses the oldest
        events; `stream.dropped` counts them, and they are logged as those of a handler are.
        """
        node = self._running()
        subscription = Subscription(_filters(pattern, session, job))
        self._bus.add(subscription)
        try:
            await self._bus.watch()
            yield EventStream(subscription, node.host, node.here)
        finally:
            self._bus.remove(subscription)


def _filters(pattern: str, session: str | None, job: Job[Any] | str | None) -> Filters:
    if isinstance(job, Job):
        return checked(pattern, session, job.id)
    if isinstance(job, str) and session is not None:
        return checked(pattern, session, meant_id(job, require_session(session)))
    return checked(pattern, session, job)

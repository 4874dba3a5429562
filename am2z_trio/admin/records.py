"""What has happened, and who has done what: the history of events, and the audit."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import msgspec

from am2z_trio.engine.events.subscription import EventStream
from am2z_trio.model.checks import require_count, require_text
from am2z_trio.model.events import OWN, Event
from am2z_trio.model.limits import KIB, MAX_ANY_ID_BYTES
from am2z_trio.model.records import EventPage
from am2z_trio.model.views.audit import AuditEntry, AuditPage

from .asking import Asking
from .moments import moment_of
from .principals import NotPermittedError
from .redaction import HIDDEN, OF_EVENTS

MOST_SHOWN = 1_000
"""Entries, or events, of one page."""

MOST_LOOKED_AT = 5_000
"""Entries of the audit, for a page of those that contain something."""


class RecordDesk(Asking):
    """What an operator reads of what has happened."""

    async def audit(
        self, *, before: str = "", since: str | None = None, limit: int = 100, containing: str = ""
    ) -> AuditPage:
        """What operators have done and tried, at most so many entries, the newest first; `before` is the
        `next` of the page before. `since`: none that are older than that: how long ago (`2h`, `1d`), or a
        moment in UTC, as queries say it (`11:00`, `2026-11-27T11:00`). `containing`: those in which this text
        stands, in whatever case: one call looks at 5,000, and where it has found fewer than `limit` there may
        be more behind its `next` all the same. Raises `NotPermittedError` without the permission `audit`."""
        limit = require_count("limit", limit, most=MOST_SHOWN)
        oldest = None if since is None else moment_of("since", since, self.now())
        before = require_text("before", before, most=100, empty=True)
        wanted = require_text("containing", containing, most=KIB, empty=True).casefold()
        if not self.may("audit"):
            why = f"{self.principal.name} ({self.principal.role}) may not read the audit: it takes audit"
            await self._audit.refused("audit", why)
            raise NotPermittedError(why, context={"permission": "audit", "principal": self.principal.name})
        if not wanted:
            return _not_older(await self._store.chronicle.audit_page(before, limit), oldest)
        found, looked_at, unreadable = list[AuditEntry](), 0, 0
        while True:
            page = _not_older(await self._store.chronicle.audit_page(before, limit - len(found)), oldest)
            found += [entry for entry in page.entries if wanted in _said(entry)]
            looked_at, unreadable = looked_at + len(page.entries), unreadable + page.unreadable
            before = page.next
            if not before or len(found) >= limit or looked_at >= MOST_LOOKED_AT:
                return AuditPage(entries=found, next=before, unreadable=unreadable)

    async def events(
        self,
        pattern: str = "*",
        *,
        session: str | None = None,
        job: str | None = None,
        queue: str | None = None,
        node: str | None = None,
        since: str | None = None,
        before: str | None = None,
        oldest: str | None = None,
        limit: int = 100,
    ) -> EventPage:
        """A page of the history of events, as `runtime.events.history` gives it; for a principal that is
        limited to some sessions and queues, those of these. `queue`, `node`: those of these alone, of which
        a page may have fewer than `limit` although there are more. `oldest`: none that are older than that:
        how long ago (`2h`), or a moment in UTC, as `audit` has it. What programs have told with their own
        events (`ctx.emit`) is a payload: who may not reveal such sees what rules show, as
        `event.data.step`."""
        queue = None if queue is None else require_text("queue", queue, most=MAX_ANY_ID_BYTES)
        node = None if node is None else require_text("node", node, most=MAX_ANY_ID_BYTES)
        first = None if oldest is None else moment_of("oldest", oldest, self.now())
        await self._require_view("events")
        page = await self._runtime.events.history(
            pattern, session=session, job=job, since=since, before=before, limit=limit
        )
        events = [one for one in page.events if first is None or one.at >= first]
        if len(events) < len(page.events) and since is None:
            # Behind what is too old are only others.
            page = msgspec.structs.replace(page, more=False)
        fit = [
            self._told(one)
            for one in events
            if (queue is None or one.processor == queue)
            and (node is None or one.node == node)
            and self._hears(one)
        ]
        return msgspec.structs.replace(page, events=fit)

    @asynccontextmanager
    async def listen(
        self,
        pattern: str = "*",
        *,
        session: str | None = None,
        job: str | None = None,
        since: str | None = None,
    ) -> AsyncIterator[AsyncGenerator[Event, None]]:
        """The same as they come, as `runtime.events` streams them."""
        await self._require_view("events")
        async with (
            self._runtime.events(pattern, session=session, job=job, since=since) as stream,
            aclosing(self._heard(stream)) as heard,
        ):
            yield heard

    async def _heard(self, stream: EventStream) -> AsyncGenerator[Event, None]:
        async for event in stream:
            if self._hears(event):
                yield self._told(event)

    def _told(self, event: Event) -> Event:
        """As the principal sees it."""
        if event.data is None or event.name.startswith(OWN):
            return event
        seen = self._redaction.shown(event.data, revealed=self.may("reveal"), path=OF_EVENTS)
        nothing = seen.value is None and (seen.hidden > 0 or seen.cut)
        return msgspec.structs.replace(event, data=HIDDEN if nothing else seen.value)

    def _hears(self, event: Event) -> bool:
        return self.principal.is_for(queue=event.processor, session=event.session)


def _not_older(page: AuditPage, oldest: int | None) -> AuditPage:
    """The page without what was before that moment: behind the first such entry are only others."""
    entries = [one for one in page.entries if oldest is None or one.at >= oldest]
    is_whole = len(entries) == len(page.entries)
    return page if is_whole else AuditPage(entries=entries, unreadable=page.unreadable)


def _said(entry: AuditEntry) -> str:
    """All texts of an entry that are of interest, as they are looked through."""
    texts = entry.who, entry.role, entry.face, entry.action, entry.target, entry.query, entry.reason
    return "\n".join((*texts, entry.outcome)).casefold()

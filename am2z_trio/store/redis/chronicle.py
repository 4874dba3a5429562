"""What is written down, on Redis: streams that only grow, up to a number of entries."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec

from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.events import Event, EventGroup
from am2z_trio.model.logs import Log
from am2z_trio.model.records import EventPage, Place
from am2z_trio.model.views.audit import MAX_ENTRY_BYTES, AuditEntry, AuditPage, before_number

from . import arguments, messages, rows, scripts
from .agreed import POSTED_BYTES
from .link import RedisLink

logger: Final = Log("am2z_trio.store")

_decode_entry: Final = RecordDecoder[AuditEntry](AuditEntry)


class RedisChronicle:
    """`Chronicle` on a node's link. Every call is one script."""

    def __init__(self, link: RedisLink, event_history: int | None) -> None:
        self._link = link
        link.said_events, link.kept_events = event_history, event_history or 0
        self._calls = secrets.token_hex(4)
        """Names this object's calls, where a node of the same name was there before."""
        self._call = 0

    async def publish(self, events: Sequence[Event]) -> None:
        """Tell events, and write them down where there is a history: in as many calls as their bytes need."""
        told = arguments.of_events(events)
        if not self._link.kept_events:
            await self._link.publish([group for group, _ in told])
            return
        start = 0
        while start < len(told):
            end, size = start + 1, len(told[start][0])
            while end < len(told) and size + len(told[end][0]) <= POSTED_BYTES:
                size += len(told[end][0])
                end += 1
            self._call += 1
            head = (self._link.clock, self._link.node, self._calls, self._call)
            await self._link.eval(scripts.TELL, *head, *chain.from_iterable(told[start:end]))
            start = end

    async def events(self, place: str = "", limit: int = 1_000, *, backwards: bool = False) -> EventPage:
        # The entry of the place is one of them: some of it may be yet to be read.
        end = "+" if backwards else "-"
        first, most = (Place.of(place).entry, limit + 1) if place else (end, limit)
        back = 1 if backwards else ""
        length, more, *found = await self._link.eval(scripts.READ_EVENTS, first, most, back)
        pairs = zip(found[::2], found[1::2], strict=True)
        entries = [(entry.decode(), _group(group)) for entry, group in pairs]
        is_kept = bool(length or self._link.kept_events)
        page_of = EventPage.before if backwards else EventPage.behind
        page = page_of(entries, place, limit, more=bool(more), kept=is_kept)
        return msgspec.structs.replace(page, length=length)

    async def newest(self) -> str:
        return rows.text(await self._link.eval(scripts.NEWEST_EVENT))

    async def append_audit(self, entry: AuditEntry) -> None:
        refused = "1" if entry.outcome == "refused" else ""
        await self._link.eval(scripts.NOTE, self._link.clock, entry.id, refused, encode_record(entry))

    async def audit_page(self, before: str = "", limit: int = 100) -> AuditPage:
        first = "({}-{}".format(*before_number(before)) if before else "+"
        goes_on, *found = await self._link.eval(scripts.NOTES, first, limit)
        # The places of entries are told for whoever looks into what comes of the script.
        read = [_entry(at, said) for at, said in zip(found[1::3], found[2::3], strict=True)]
        entries = [entry for entry in read if entry is not None]
        return AuditPage(entries=entries, next=rows.text(goes_on), unreadable=len(read) - len(entries))


def _group(data: bytes) -> EventGroup | None:
    try:
        return messages.decode_group(data)
    except ValidationError as error:
        logger.warning("an entry of the history of events cannot be read: %s", error)
        return None


def _entry(at: bytes, said: bytes) -> AuditEntry | None:
    try:
        if len(said) > MAX_ENTRY_BYTES:
            raise ValidationError(f"it has {len(said):,} bytes")
        return msgspec.structs.replace(_decode_entry(said), at=int(at))
    except (ValidationError, ValueError) as error:
        logger.warning("an entry of the audit cannot be read: %s", error)
        return None

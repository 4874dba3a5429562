"""Session states and locks on Redis: records to script arguments, script answers to records."""

from __future__ import annotations

from math import inf
from typing import Final

from am2z_trio.model.integrity import verified
from am2z_trio.model.records import (
    NOBODY,
    Author,
    LockAnswer,
    LockPlace,
    LockStanding,
    StateRecord,
    StateWrite,
    WriteAnswer,
    plain_name,
)
from am2z_trio.model.records.states import job_of
from am2z_trio.store.ports import StoreSettings
from am2z_trio.wire.resp import Argument

from . import scripts
from .agreed import REPLY_BYTES
from .arguments import milliseconds, require_text
from .link import RedisLink
from .rows import count, state_record, text

HISTORY_PAGE: Final = 100
"""Most earlier states per call."""


class RedisStates:
    """`StateStore` on a node's link. Every call is one script."""

    def __init__(self, link: RedisLink, settings: StoreSettings) -> None:
        self._link = link
        self.commit_arguments: tuple[int, int] = (
            0 if settings.state_ttl is None else milliseconds(settings.state_ttl),
            settings.state_history,
        )
        """Default TTL and history, as every script that commits a state takes them."""

    async def read(self, session: str) -> StateRecord:
        row = await self._link.eval(scripts.READ_STATE, self._link.clock, _name(session))
        return verified(state_record(row), session)

    async def write(self, write: StateWrite) -> WriteAnswer:
        version, sha = ("", "") if write.expected is None else write.expected
        answer = await self._link.eval(
            scripts.WRITE_STATE,
            self._link.clock,
            self._link.node,
            _name(write.session),
            write.seq,
            version,
            sha,
            write.checksum,
            write.blob,
            "" if write.ttl is None else 0 if write.ttl == inf else milliseconds(write.ttl),
            *self.commit_arguments,
            write.lock,
        )
        status = answer[0]
        if status == b"applied":
            record = StateRecord(
                version=int(answer[1]),
                checksum=write.checksum,
                created=count(answer[2]),
                updated=count(answer[3]),
                by=Author(node=self._link.node) if write.blob else NOBODY,
            )
            return WriteAnswer(status="applied", current=record)
        if status == b"conflict":
            return WriteAnswer(status="conflict", current=verified(state_record(answer[1]), write.session))
        return WriteAnswer(status="fenced" if status == b"fenced" else "stale")

    async def set_ttl(self, session: str, ttl: float) -> None:
        milli = 0 if ttl == inf else milliseconds(ttl)
        await self._link.eval(scripts.SET_TTL, self._link.clock, _name(session), milli)

    async def history(self, session: str, *, spoilt: bool = False) -> list[StateRecord]:
        found: list[StateRecord] = []
        seen = 0
        while True:
            page = await self._link.eval(
                scripts.HISTORY, self._link.clock, _name(session), seen, HISTORY_PAGE
            )
            seen += len(page)
            for entry in page:
                record = state_record(_row(entry))
                if not spoilt:
                    verified(record, session)
                # A state that is written meanwhile moves the others on by one.
                if not found or record.version < found[-1].version:
                    found.append(record)
            if len(page) < HISTORY_PAGE and sum(map(len, page)) < REPLY_BYTES:
                return found

    async def acquire(self, session: str, token: str, lease: float) -> LockAnswer:
        answer = await self._link.eval(
            scripts.ACQUIRE_LOCK,
            self._link.clock,
            _name(session),
            token,
            self._link.node,
            milliseconds(lease),
        )
        if len(answer) == 1:
            return LockAnswer(fence=answer[0])
        return LockAnswer(fence=None, wait=answer[1] / 1000)

    async def renew(self, session: str, token: str, lease: float) -> bool:
        answer = await self._link.eval(
            scripts.RENEW_LOCK, self._link.clock, _name(session), token, milliseconds(lease)
        )
        return bool(answer)

    async def release(self, session: str, token: str, lease: float) -> bool:
        return bool(
            await self._link.eval(scripts.RELEASE_LOCK, *self._release_arguments(session, token, lease))
        )

    async def lock_standing(self, session: str) -> LockStanding:
        answer = await self._link.eval(scripts.LOOK_AT_LOCK, self._link.clock, _name(session))
        left, waiting, places, *holder = answer
        line = tuple(_place(text(place)) for place in places)
        if not holder:
            return LockStanding(waiting=waiting, line=line)
        fence, node, since, token = holder
        return LockStanding(
            left=left / 1000,
            waiting=waiting,
            fence=fence,
            node=text(node),
            since=since,
            job=job_of(text(token)),
            line=line,
        )

    def release_nowait(self, session: str, token: str, lease: float) -> None:
        self._link.send(scripts.RELEASE_LOCK, self._release_arguments(session, token, lease))

    def _release_arguments(self, session: str, token: str, lease: float) -> tuple[Argument, ...]:
        return self._link.clock, _name(session), token, self._link.node, milliseconds(lease)


def _row(entry: bytes) -> tuple[bytes, ...]:
    """An entry of the history, as `read` would answer it."""
    version, sha, created, updated, length, rest = [*entry.split(b" ", 5), b"", b"", b"", b"", b""][:6]
    end = int(length) if length.isdigit() else 0
    return version, updated, sha, rest[end:], created, rest[:end]


def _place(said: str) -> LockPlace:
    """Of the line of a lock: token, node and lease."""
    token, _, rest = said.partition(" ")
    return LockPlace(job_of(token), rest.rpartition(" ")[0])


def _name(session: str) -> str:
    require_text(session)
    return plain_name(session)

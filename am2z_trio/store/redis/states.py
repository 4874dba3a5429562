"""Session states and locks on Redis: records to script arguments, script answers to records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Final

from am2z_trio.model.errors import ValidationError
from am2z_trio.model.integrity import MISSING, verified
from am2z_trio.model.records import LockAnswer, StateRecord, StateWrite, WriteAnswer, plain_name
from am2z_trio.store.ports import StoreSettings
from am2z_trio.wire.resp import Argument
from am2z_trio.wire.scripts import Script

from . import scripts

HISTORY_PAGE: Final = 100
"""Most earlier states per call."""

Eval = Callable[..., Awaitable[Any]]
"""Runs a script with the namespace's anchor and these arguments."""


class RedisStates:
    """`StateStore` on the connection of a `RedisStore`. Every call is one script."""

    def __init__(
        self,
        node: str,
        settings: StoreSettings,
        *,
        eval: Eval,
        send: Callable[[Script, Sequence[Argument]], None],
        clock: Callable[[], int | str],
    ) -> None:
        self._node = node
        self._eval = eval
        self._send = send
        self._clock = clock
        self.commit_arguments: tuple[int, int] = (
            0 if settings.state_ttl is None else milliseconds(settings.state_ttl),
            settings.state_history,
        )
        """Default TTL and history, as every script that commits a state takes them."""

    async def read(self, session: str) -> StateRecord:
        row = await self._eval(scripts.READ_STATE, self._clock(), _name(session))
        return verified(state_record(row), session)

    async def write(self, write: StateWrite) -> WriteAnswer:
        version, sha = ("", "") if write.expected is None else write.expected
        answer = await self._eval(
            scripts.WRITE_STATE,
            self._clock(),
            self._node,
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
                created=int(answer[2]),
                updated=int(answer[3]),
            )
            return WriteAnswer(status="applied", current=record)
        if status == b"conflict":
            return WriteAnswer(status="conflict", current=verified(state_record(answer[1]), write.session))
        return WriteAnswer(status="fenced" if status == b"fenced" else "stale")

    async def set_ttl(self, session: str, ttl: float) -> None:
        milli = 0 if ttl == inf else milliseconds(ttl)
        await self._eval(scripts.SET_TTL, self._clock(), _name(session), milli)

    async def history(self, session: str) -> list[StateRecord]:
        found: list[StateRecord] = []
        seen = 0
        while True:
            page = await self._eval(scripts.HISTORY, self._clock(), _name(session), seen, HISTORY_PAGE)
            seen += len(page)
            for entry in page:
                version, sha, created, updated, blob = [*entry.split(b" ", 4), b"", b"", b"", b""][:5]
                record = verified(state_record((version, updated, sha, blob, created)), session)
                # A state that is written meanwhile moves the others on by one.
                if not found or record.version < found[-1].version:
                    found.append(record)
            if len(page) < HISTORY_PAGE and sum(map(len, page)) < scripts.REPLY_BYTES:
                return found

    async def acquire(self, session: str, token: str, lease: float) -> LockAnswer:
        answer = await self._eval(
            scripts.ACQUIRE_LOCK, self._clock(), _name(session), token, self._node, milliseconds(lease)
        )
        if len(answer) == 1:
            return LockAnswer(fence=answer[0])
        return LockAnswer(fence=None, wait=answer[1] / 1000)

    async def renew(self, session: str, token: str, lease: float) -> bool:
        answer = await self._eval(
            scripts.RENEW_LOCK, self._clock(), _name(session), token, milliseconds(lease)
        )
        return bool(answer)

    async def release(self, session: str, token: str, lease: float) -> bool:
        return bool(await self._eval(scripts.RELEASE_LOCK, *self._release_arguments(session, token, lease)))

    def release_nowait(self, session: str, token: str, lease: float) -> None:
        self._send(scripts.RELEASE_LOCK, self._release_arguments(session, token, lease))

    def _release_arguments(self, session: str, token: str, lease: float) -> tuple[Argument, ...]:
        return self._clock(), _name(session), token, self._node, milliseconds(lease)


def state_record(row: Sequence[bytes]) -> StateRecord:
    """Read a row of `read_state.lua`. Not verified: one that was tampered with fails its reader alone."""
    if not row:
        return StateRecord()
    try:
        if len(row) == 2:
            return StateRecord(version=int(row[0]), updated=int(row[1]))
        version, updated, sha, blob, created = row
        return StateRecord(
            version=int(version),
            checksum=sha.decode("ascii", "replace") or MISSING,
            blob=blob,
            created=int(created),
            updated=int(updated),
        )
    except ValueError:
        return StateRecord(checksum=MISSING)


def milliseconds(seconds: float) -> int:
    """Upwards: nothing must come due before its time."""
    return -int(-seconds * 1000 // 1)


def require_text(name: str) -> None:
    """Half a surrogate pair is no text; say so instead of failing inside the wire."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(f"{name!r} is not valid Unicode text: {error.reason}") from error


def _name(session: str) -> str:
    require_text(session)
    return plain_name(session)

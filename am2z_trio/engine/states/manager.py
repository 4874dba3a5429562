"""`runtime.state`: the sessions' states as users see them, versioned and compared on every write."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from datetime import datetime
from inspect import isawaitable
from math import inf
from typing import Any, Final, Generic, Protocol, TypeVar, cast, overload

import msgspec

from am2z_trio.concurrency.stack import require_stack
from am2z_trio.model.callables import called
from am2z_trio.model.checks import require, require_count, require_seconds, require_text
from am2z_trio.model.codec import StateCodec, would_lose
from am2z_trio.model.errors import RuntimeStateError, StateConflictError, ValidationError
from am2z_trio.model.limits import MAX_SESSION_BYTES
from am2z_trio.model.moments import time_or_epoch
from am2z_trio.model.records import NOBODY, Author, StateRecord, WriteAnswer
from am2z_trio.model.telling import class_of

from .access import NodeStates, require_unchanged
from .locks import Locks, SessionLock

T = TypeVar("T")

FIRST_PAUSE: Final = 0.001
LONGEST_PAUSE: Final = 0.1
"""Seconds an update waits after a conflict: doubling between the two, at random below."""

_updating: ContextVar[tuple[str, ...]] = ContextVar("am2z_trio_updating", default=())
"""Sessions whose `update` is running around the current code."""


class Versioned(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A session's state at one point of its history."""

    state: T
    version: int
    """Grows by one with every write and deletion, and never goes back."""
    checksum: str
    """SHA-256 of the encoded state, hex: equal states have equal checksums."""
    created: datetime
    """When this state was first written, UTC, by the store's clock."""
    updated: datetime
    """When it was last written."""
    by: Author = NOBODY
    """Who wrote it: a job (`by.job`, under its claim's token), or a node (`by.node`) by `runtime.state`."""
    unknown: tuple[str, ...] = ()
    """Fields that are stored and that the type it was read as does not know, by their paths (`$.gift`): what
    is made of it would lose them, and `set(expected=)` refuses to write that."""


class Running(Protocol):
    """What of a running node the manager uses."""

    @property
    def states(self) -> NodeStates: ...

    @property
    def locks(self) -> Locks: ...


class StateManager:
    """The states of all sessions. Every method is one atomic step unless it says otherwise.

    A state is read as the type that is asked for, as processors do with their annotation; without one
    it is what msgpack knows: dicts, lists, numbers, text, bytes. Reading verifies the checksum: a state
    that was changed by anything else is a `StateIntegrityError`, never data. A cancelled or failed
    write may have been applied; it never is twice. All raise `NetworkError` where Redis cannot be reached.
    """

    def __init__(self, running: Callable[[], Running]) -> None:
        self._running = running

    @overload
    async def get(self, session: str) -> Versioned[Any] | None: ...
    @overload
    async def get(self, session: str, type: type[T]) -> Versioned[T] | None: ...
    async def get(self, session: str, type: Any = Any) -> Versioned[Any] | None:
        """The session's state, or `None` if it has none: never written, deleted or expired."""
        states, session = self._states(session)
        codec = states.codec(type)
        record = await states.store.read(session)
        return _read(record, codec) if record.exists else None

    async def set(
        self,
        session: str,
        state: T,
        *,
        expected: Versioned[Any] | None = None,
        type: Any = None,
        ttl: float | None = None,
    ) -> Versioned[T]:
        """Write a state, whatever was there; with `expected`, only if that is still what is there,
        or else raise `StateConflictError`; and `UnknownFieldsError` where that has fields which the type it
        was read as does not know (`expected.unknown`), as they would be lost.

        What would not be read back as it is (as `type`, by default the state's own) is a
        `ValidationError`. `ttl`: seconds after its last write at which this session's state expires,
        from now on; `inf` for never; by default it stays as it was.
        """
        states, session = self._states(session)
        if ttl is not None and ttl != inf:
            ttl = require_seconds("ttl", ttl, zero=False)
        require(
            expected is None or isinstance(expected, Versioned),
            "expected",
            expected,
            "must be what `get`, `set` or `update` returned, or None",
        )
        if expected is not None and expected.unknown:
            raise would_lose(expected.unknown, class_of(expected.state), session)
        blob = states.encode(state, type)
        mark = None if expected is None else (expected.version, expected.checksum)
        answer = await states.write(session, blob, expected=mark, ttl=ttl)
        if answer.status != "applied":
            raise _conflict(session, f"is not version {0 if mark is None else mark[0]} any more", answer)
        return versioned(answer.current, state)

    @overload
    async def update(
        self,
        session: str,
        fn: Callable[[Any], Awaitable[T | None]],
        *,
        type: Any = None,
        max_conflicts: int | None = None,
    ) -> Versioned[T]: ...

    @overload
    async def update(
        self,
        session: str,
        fn: Callable[[Any], T | None],
        *,
        type: Any = None,
        max_conflicts: int | None = None,
    ) -> Versioned[T]: ...

    async def update(
        self,
        session: str,
        fn: Callable[[Any], Any],
        *,
        type: Any = None,
        max_conflicts: int | None = None,
    ) -> Versioned[Any]:
        """Replace the state by `fn(state)`, as if nobody else had touched it meanwhile.

        `fn`, plain or async, gets the state, or `None` if there is none, and returns the next one;
        `None` leaves it as it is, and is refused of one that has changed the state in place. If somebody else
        has written meanwhile, `fn` is called again with what
        is there now, after a short random pause, until it succeeds; with `max_conflicts`, so often and
        then `StateConflictError`. Updates of one session on this node wait in line, so they do not
        disturb each other; fields that `type` does not know are an `UnknownFieldsError`; to update the same
        session inside of `fn` is a `RuntimeStateError`. What `fn` raises goes on and nothing is written.
        """
        states, session = self._states(session)
        if max_conflicts is not None:
            max_conflicts = require_count("max_conflicts", max_conflicts, least=0)
        if session in _updating.get():
            raise RuntimeStateError(
                f"an update of session {session!r} inside an update of it would wait for itself"
            )
        codec = states.codec(Any if type is None else type)
        async with states.updates.hold(session):
            record = await states.store.read(session)
            conflicts = 0
            while True:
                before = _whole(record, codec, session)
                after = await _apply(fn, before, session)
                if after is None:
                    return _as_it_was(record, before, codec, session)
                answer = await states.write(
                    session, states.encode(after, type, before=record.blob), expected=record.mark
                )
                if answer.status == "applied":
                    return versioned(answer.current, after)
                conflicts += 1
                if max_conflicts is not None and conflicts > max_conflicts:
                    raise _conflict(
                        session, f"moved {conflicts} times while it was updated (max_conflicts)", answer
                    )
                record = answer.current or StateRecord()
                if conflicts > 1:
                    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(conflicts, 20))
                    await states.host.sleep(pause * random.random())
                    record = await states.store.read(session)

    async def delete(self, session: str) -> bool:
        """Take the state away; returns whether there was one. Versions go on from where they were."""
        states, session = self._states(session)
        while True:
            record = await states.store.read(session)
            if not record.exists:
                return False
            if (await states.write(session, b"", expected=record.mark)).status == "applied":
                return True

    async def exists(self, session: str) -> bool:
        """Whether the session has a state."""
        states, session = self._states(session)
        return (await states.store.read(session)).exists

    async def get_version(self, session: str) -> int:
        """The newest version's number; 0 before the first write. A deletion has a number, too."""
        states, session = self._states(session)
        return (await states.store.read(session)).version

    async def history(self, session: str, type: Any = Any) -> list[Versioned[Any]]:
        """The newest states, newest first, as many as the option `state_history` keeps."""
        states, session = self._states(session)
        codec = states.codec(type)
        return [_read(record, codec) for record in await states.store.history(session)]

    def lock(self, session: str, *, lease: float = 10.0) -> AbstractAsyncContextManager[SessionLock]:
        """Hold the session's lock around a block: `async with runtime.state.lock("alice") as lock`.

        Waits in line for it; bound the wait by a cancel scope. The engine renews the lease (seconds)
        while the block runs. If the lock is lost (this node was frozen or cut off for a lease), the block
        is cancelled and `LockLostError` raised; whatever `lock.write` was still to write is refused.

        The task that enters the block owns the lock, as with `trio.Lock`: tasks that are started within it
        wait in line, and the same task asking for it again is a `RuntimeStateError`.

        The lock excludes other holders. It does not stop `set`, `update` and jobs of the session.
        """
        _, session = self._states(session)
        lease = require_seconds("lease", lease, zero=False)
        return self._running().locks.hold(session, lease)

    def _states(self, session: str) -> tuple[NodeStates, str]:
        require_stack()
        id = require_text("session", session, most=MAX_SESSION_BYTES)
        return self._running().states, id


def _read(record: StateRecord, codec: StateCodec[Any]) -> Versioned[Any]:
    """The state, and what its type would lose of it."""
    state = codec.decode(record.blob)
    unknown = codec.unknown_in(record.blob, state)
    found = versioned(record, state)
    return msgspec.structs.replace(found, unknown=unknown) if unknown else found


def _whole(record: StateRecord, codec: StateCodec[Any], session: str) -> Any:
    """The state, or `None`; refused where writing it again would lose something."""
    if not record.exists:
        return None
    state = codec.decode(record.blob)
    codec.require_whole(record.blob, state, session)
    return state


def _as_it_was(record: StateRecord, before: Any, codec: StateCodec[Any], session: str) -> Versioned[Any]:
    """The state that an update has left alone, as it must have."""
    if not record.exists:
        raise ValidationError(f"session {session!r} has no state and the update made none")
    require_unchanged(codec, before, record.blob, session)
    return versioned(record, before)


async def _apply(fn: Callable[[Any], T | Awaitable[T] | None], before: Any, session: str) -> T | None:
    after = called("fn", fn, before)
    if not isawaitable(after):
        return cast(T, after)
    token = _updating.set((*_updating.get(), session))
    try:
        return await cast("Awaitable[T]", after)
    finally:
        _updating.reset(token)


def versioned(record: StateRecord | None, state: T) -> Versioned[T]:
    """Put a state and its record together."""
    assert record is not None
    return Versioned(
        state=state,
        version=record.version,
        checksum=record.checksum,
        created=time_or_epoch(record.created),
        updated=time_or_epoch(record.updated),
        by=record.by,
    )


def _conflict(session: str, what: str, answer: WriteAnswer) -> StateConflictError:
    found = 0 if answer.current is None else answer.current.version
    return StateConflictError(
        f"the state of session {session!r} {what}: it is version {found}",
        context={"session": session, "version": found},
    )

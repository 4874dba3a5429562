"""Locks on sessions: who waits, who holds, and what happens when a lock is lost.

The store decides; its record is the truth. A holder also keeps its own, earlier end of the lease,
counted from before each renewal was sent, and gives up by itself when that has passed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from am2z_trio.concurrency import CancelScope, Host, Spot
from am2z_trio.concurrency.groups import Block, unwrapped
from am2z_trio.model.errors import AM2ZError, LockLostError, RuntimeStateError, StateConflictError
from am2z_trio.model.evolution import UnknownFieldsError
from am2z_trio.model.logs import Log
from am2z_trio.model.records import LockGranted, StateRecord
from am2z_trio.model.records.states import lock_token

from ..claim import running
from .access import NodeStates

logger: Final = Log("am2z_trio.locks")

RENEWALS: Final = 3
"""Per lease: one may fail, and there is still time."""

RENEWAL_SLACK: Final = 0.005
"""Seconds after a holder's lease at which those in line ask again."""

_owners: Final = set[tuple[object, str]]()
"""Tasks, and the sessions whose locks they hold. No context variable: what a task starts within the block
inherits those, and is to wait like anybody else; a job that is run inline does not, and would wait for
itself."""


class SessionLock:
    """A lock that is held: what the block of `async with runtime.state.lock(...)` works with."""

    def __init__(self, states: NodeStates, session: str, token: str, *, fencing: int, ends: float) -> None:
        self.session = session
        self.fencing = fencing
        """Greater than that of every earlier holder: give it to services that can compare it."""
        self.lost = ""
        """Why the lock was lost; empty while it is held."""
        self.ends = ends
        """Until when it is surely held unless it is renewed, by the host's clock."""
        self.released = False
        self._states = states
        self._token = token
        self._seen: StateRecord | None = None
        self._before = b""
        self._unknown: UnknownFieldsError | None = None
        """What it was read as does not know all that is there."""
        self._scope: CancelScope | None = None

    async def read(self, type: Any = Any) -> Any:
        """The session's state, as `type`, or `None`; `write` then compares with it."""
        self._states.here.require()
        codec = self._states.codec(type)
        record = await self._states.store.read(self.session)
        self._seen, self._before = record, record.blob
        if not record.exists:
            return None
        state = codec.decode(record.blob)
        try:
            codec.require_whole(record.blob, state, self.session)
            self._unknown = None
        except UnknownFieldsError as unknown:
            self._unknown = unknown
        return state

    async def write(self, state: object, *, type: Any = None) -> int:
        """Write the session's state and return its version.

        Refused with `LockLostError` once the lock is lost, whatever this process believes: the store
        looks in the same step. After a `read`, a state that was written without the lock meanwhile is
        a `StateConflictError`, and one that has fields which it was not read with an `UnknownFieldsError`;
        without one, it is overwritten.
        """
        self._states.here.require()
        if self._unknown is not None:
            raise self._unknown
        blob = self._states.encode(state, type, before=self._before)
        if self.released:
            raise LockLostError(f"the lock on session {self.session!r} has been released")
        expected = None if self._seen is None else self._seen.mark
        answer = await self._states.write(self.session, blob, expected=expected, lock=self._token)
        if answer.status == "conflict":
            raise StateConflictError(
                f"the state of session {self.session!r} was written without the lock since it was read",
                context={"session": self.session},
            )
        if answer.status != "applied":
            self.lose("the store refused a write under it")
            raise lock_lost(self)
        assert answer.current is not None
        if self._seen is not None:
            self._seen = answer.current
        return answer.current.version

    def lose(self, why: str) -> None:
        """Cancel the block: the lock is not ours any more."""
        if not self.lost:
            self.lost = why
        if self._scope is not None:
            self._scope.cancel()

    def guard(self, scope: CancelScope) -> None:
        """What to cancel when the lock is lost."""
        self._scope = scope


def lock_lost(lock: SessionLock) -> LockLostError:
    """The error of a lock that was lost."""
    return LockLostError(
        f"the lock on session {lock.session!r} was lost: {lock.lost}",
        context={"session": lock.session, "fencing": lock.fencing},
    )


class Locks:
    """The locks this node's tasks hold or wait for."""

    def __init__(self, host: Host, states: NodeStates) -> None:
        self._host = host
        self._store = states.store
        self._states = states
        self._waiting: dict[str, Spot] = {}

    def on_granted(self, message: LockGranted) -> None:
        spot = self._waiting.get(message.token)
        if spot is not None:
            spot.wake()

    def on_reconnect(self) -> None:
        """A grant may have been missed: ask again."""
        for spot in self._waiting.values():
            spot.wake()

    @asynccontextmanager
    async def hold(self, session: str, lease: float) -> AsyncIterator[SessionLock]:
        """Hold the session's lock around a block; the task that enters it owns the lock."""
        owner = self._host.current_task(), session
        if owner in _owners:
            raise RuntimeStateError(
                f"this task holds the lock on session {session!r} already: it would wait for itself",
                context={"session": session},
            )
        claim = running.get()
        token = lock_token("" if claim is None else claim.grant.spec.id)
        fencing, ends = await self._acquire(session, token, lease)
        lock = SessionLock(self._states, session, token, fencing=fencing, ends=ends)
        _owners.add(owner)
        block = Block()
        try:
            with unwrapped(block):
                async with self._host.open_nursery() as nursery:
                    lock.guard(nursery.cancel_scope)
                    nursery.start_soon(self._keep, lock, token, lease)
                    with block.watched():
                        yield lock
                    if self._host.now() >= lock.ends:
                        # The block kept the event loop to itself for so long that nobody could renew.
                        lock.lose("its lease ran out")
                    nursery.cancel_scope.cancel()
        except Exception as error:
            if lock.lost and not isinstance(error, LockLostError):
                raise lock_lost(lock) from error
            raise
        finally:
            lock.released = True
            _owners.discard(owner)
            # Without waiting: also a cancelled task gives its lock back, and what this node sends next
            # arrives after it.
            self._store.release_nowait(session, token, lease)
        if lock.lost:
            raise lock_lost(lock)

    async def _acquire(self, session: str, token: str, lease: float) -> tuple[int, float]:
        """Wait for the lock. Returns the fencing number and until when it surely is ours."""
        spot = self._host.spot()
        self._waiting[token] = spot
        first = True
        try:
            while True:
                asked = self._host.now()
                answer = await self._store.acquire(session, token, lease)
                if answer.fence is not None:
                    if first:
                        return answer.fence, asked + lease
                    # Handed on at some time in between; only a renewal says for how long it is ours.
                    asked = self._host.now()
                    if await self._store.renew(session, token, lease):
                        return answer.fence, asked + lease
                    continue
                first = False
                with self._host.cancel_scope(deadline=self._host.now() + answer.wait + RENEWAL_SLACK):
                    await spot.park()
        except BaseException:
            self._store.release_nowait(session, token, lease)
            raise
        finally:
            del self._waiting[token]

    async def _keep(self, lock: SessionLock, token: str, lease: float) -> None:
        """Renew the lease until cancelled; give up when it may have passed."""
        host = self._host
        pause = lease / RENEWALS
        while not lock.lost:
            await host.sleep(pause)
            asked = host.now()
            with host.cancel_scope(deadline=lock.ends) as patience:
                try:
                    if await self._store.renew(lock.session, token, lease):
                        lock.ends = asked + lease
                        pause = lease / RENEWALS
                    else:
                        lock.lose("its lease ran out before it was renewed")
                except AM2ZError as error:
                    logger.warning("the lock on session %r is renewed again soon: %s", lock.session, error)
                    pause = lease / RENEWALS / 10
            if patience.cancelled_caught:
                lock.lose("its lease ran out while the store did not answer")

"""What the engine asks of a store about session states, and the locks on sessions."""

from __future__ import annotations

from typing import Protocol

from am2z_trio.model.records import LockAnswer, LockStanding, StateRecord, StateWrite, WriteAnswer


class StateStore(Protocol):
    """Session states and the locks on sessions."""

    async def read(self, session: str) -> StateRecord:
        """The session's state; version 0 if there never was one. An expired state is as if deleted.

        Raises `StateIntegrityError` if the bytes do not match the checksum, or one of them is missing.
        """
        ...

    async def write(self, write: StateWrite) -> WriteAnswer:
        """Compare and write, in one step; jobs that complete in the session do the same.

        Checked in this order, before anything is written: this number seen before → the earlier
        answer, or `stale`; not the lock's holder, or its lease has passed → `fenced`; not the
        expected mark → `conflict`. Deleting where there is no state is `applied` and changes nothing.

        Linearization point: the version is in the session's record.
        """
        ...

    async def set_ttl(self, session: str, ttl: float) -> None:
        """Let the session's state expire `ttl` seconds after its last write; `inf`: never."""
        ...

    async def history(self, session: str, *, spoilt: bool = False) -> list[StateRecord]:
        """The newest states, newest first, as many as `state_history` says; none once it is deleted.

        Raises `StateIntegrityError` where one is not what was written; not where `spoilt` ones are wanted."""
        ...

    async def acquire(self, session: str, token: str, lease: float) -> LockAnswer:
        """Take the session's lock for `lease` seconds, or a place in line for it.

        The line is first come, first served; who waits hears `LockGranted`, and asks again when the
        present holder's lease has passed (the same token keeps its place, or its lock).

        Linearization point: token and fencing number are in the lock's record.
        """
        ...

    async def renew(self, session: str, token: str, lease: float) -> bool:
        """Let the lock's lease run for `lease` seconds from now; `False` if it is lost."""
        ...

    async def release(self, session: str, token: str, lease: float) -> bool:
        """Give the lock, or the place in line, back; the next in line gets it and hears of it.

        `lease` is what it was acquired with. Returns whether the lock was still held.
        """
        ...

    async def lock_standing(self, session: str) -> LockStanding:
        """Look at the session's lock. Changes nothing, and is no place in line."""
        ...

    def release_nowait(self, session: str, token: str, lease: float) -> None:
        """`release` without waiting for the answer: what a cancelled task can still do."""
        ...

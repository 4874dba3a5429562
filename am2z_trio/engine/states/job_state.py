"""`ctx.state`: the session's stored state inside a processor, as part of the job's transaction.

Nothing is written while the processor runs. What it has read and what it wants written goes into the
job's one settlement: if the state moved since it was read, the processor is run again on what is there
then; if the job fails, is cancelled or is taken away, nothing has happened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

from am2z_trio.concurrency.stack import require_stack
from am2z_trio.model.callables import called
from am2z_trio.model.codec import StateCodec, checksum
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.integrity import verified
from am2z_trio.model.records import Commit, Grant, StateRecord, turn_of

from .access import NodeStates, require_unchanged

T = TypeVar("T")


class JobState:
    """The stored state of the job's session, as the job sees it."""

    __slots__ = ("_blob", "_codec", "_commits", "_record", "_session", "_states", "_turn")

    def __init__(self, states: NodeStates, grant: Grant, codec: StateCodec[Any]) -> None:
        """`codec`: of the states of the job's processor."""
        self._states = states
        self._session = grant.spec.session
        self._commits = grant.spec.commits
        self._turn = turn_of(grant.spec)
        self._codec = codec
        self._record: StateRecord | None = grant.stored
        self._blob: bytes | None = None

    async def read(self, type: Any = None) -> Any:
        """The session's state, or `None` if it has none; what `update` has made of it, if it was called.

        Read as the processor's own state type, or as `type`. All reads of one run see one state: if
        another one was committed before this job settles, the processor is run again.
        """
        codec = self._codec if type is None else self._states.codec(type)
        if self._blob is not None:
            return codec.decode(self._blob)
        record = await self.record()
        return codec.decode(record.blob) if record.exists else None

    @overload
    async def update(self, fn: Callable[[Any], Awaitable[T | None]], type: Any = None) -> T | None: ...

    @overload
    async def update(self, fn: Callable[[Any], T | None], type: Any = None) -> T | None: ...

    async def update(self, fn: Callable[[Any], Any], type: Any = None) -> Any:
        """Replace the session's state by `fn(state)` when this job completes; returns the new state.

        `fn` gets what `read` gives; `None` from it leaves the state as it is, and is refused of one that has
        changed it in place. Once a processor has
        called this, what it returns is its result alone and is not stored.
        """
        before = await self.read(type)
        codec = self._codec if type is None else self._states.codec(type)
        if self._blob is None and before is not None and self._record is not None:
            codec.require_whole(self._record.blob, before, self._session)
        after = called("fn", fn, before)
        if isawaitable(after):
            after = await after
        if after is None:
            if before is not None and self._record is not None:
                blob = self._record.blob if self._blob is None else self._blob
                require_unchanged(codec, before, blob, self._session)
            return before
        self._blob = self._encode(after, type)
        return after

    def _encode(self, state: object, kind: Any) -> bytes:
        codec = self._codec if kind is None else self._states.codec(kind)
        before = self._blob if self._blob is not None else b"" if self._record is None else self._record.blob
        return codec.encode_over(state, before)

    @property
    def updated(self) -> bytes | None:
        """What `update` has made of it, encoded; set by whoever has run the job's code elsewhere."""
        return self._blob

    @updated.setter
    def updated(self, blob: bytes | None) -> None:
        self._blob = blob

    async def record(self) -> StateRecord:
        """What the session has stored, as this run sees it."""
        require_stack()
        if not self._session:
            raise RuntimeStateError("the job has no session, so it has no stored state")
        if self._record is None:
            self._record = await self._states.store.read(self._session)
        return verified(self._record, self._session)

    def commit(self, blob: bytes) -> Commit | None:
        """What the job's settlement commits, given its encoded output; nothing without a session.

        What a job returns is committed if its spec says so; what it `update`d itself always is.
        """
        if not self._session:
            return None
        if self._blob is not None:
            blob = self._blob
        elif not self._commits:
            return None
        expected = None if self._record is None else self._record.mark
        return Commit(blob=blob, checksum=checksum(blob), expected=expected, turn=self._turn)

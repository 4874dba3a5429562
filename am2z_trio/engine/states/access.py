"""A running node's way to the session states: one order of its writes, one codec per type."""

from __future__ import annotations

import itertools
from typing import Any

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.keyed_lock import KeyedLock
from am2z_trio.engine.here import Here
from am2z_trio.model.codec import StateCodec, checksum
from am2z_trio.model.errors import ValidationError
from am2z_trio.model.evolution import known_of
from am2z_trio.model.records import StateWrite, WriteAnswer
from am2z_trio.model.types import has_hash
from am2z_trio.store.ports import StateStore


class NodeStates:
    """Session states as one node reads and writes them."""

    def __init__(self, host: Host, store: StateStore, *, max_bytes: int) -> None:
        self.host = host
        self.here = Here(host)
        self.store = store
        self.updates = KeyedLock(host)
        self._writes = KeyedLock(host)
        self._numbers = itertools.count(1)
        self._codecs: dict[Any, StateCodec[Any]] = {}
        self._max_bytes = max_bytes

    async def write(
        self,
        session: str,
        blob: bytes,
        *,
        expected: tuple[int, str] | None = None,
        ttl: float | None = None,
        lock: str = "",
    ) -> WriteAnswer:
        """Write, or delete with no bytes. One write per session is on its way at a time, so that
        their numbers arrive in order even where the store asks for one of them again."""
        async with self._writes.hold(session):
            return await self.store.write(
                StateWrite(
                    session=session,
                    seq=next(self._numbers),
                    blob=blob,
                    checksum=checksum(blob) if blob else "",
                    expected=expected,
                    ttl=ttl,
                    lock=lock,
                )
            )

    def codec(self, kind: Any) -> StateCodec[Any]:
        """The codec of a type, made once."""
        hashable = has_hash(kind)
        codec = self._codecs.get(kind) if hashable else None
        if codec is None or codec.evolution is not known_of(kind):
            codec = StateCodec(kind, max_bytes=self._max_bytes, takes_any=True)
            if hashable and len(self._codecs) < 1000:
                self._codecs[kind] = codec
        return codec

    def encode(self, state: object, kind: Any, *, before: bytes = b"") -> bytes:
        """Encode what is to be stored, in the place of what was read `before`; refuse what would not be read
        back as it is."""
        if state is None:
            raise ValidationError("None is no state; to take a state away, delete it")
        return self.codec(type(state) if kind is None else kind).encode_over(state, before)


def require_unchanged(codec: StateCodec[Any], state: object, blob: bytes, session: str) -> None:
    """A function that updates a state has returned `None`, which says that nothing changes."""
    if codec.encode(state) != codec.encode(codec.decode(blob)):
        raise ValidationError(
            f"what updates the state of session {session!r} has changed it in place and returned None, which "
            "says that nothing changes: return the state, or leave it as it is",
            context={"session": session},
        )

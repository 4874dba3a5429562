"""Findings that are silenced for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from am2z_trio.model.records import Silence
from am2z_trio.store.agreed import MOST_SILENCES


class Silences:
    def __init__(self) -> None:
        self._silences: dict[tuple[str, str], Silence] = {}

    def put(self, silence: Silence, now: float) -> bool:
        """Returns whether there was room for it."""
        key = silence.code, silence.target
        self._silences = {other: one for other, one in self._silences.items() if one.until > now}
        if len(self._silences.keys() - {key}) >= MOST_SILENCES:
            return False
        self._silences[key] = silence
        return True

    def lift(self, code: str, target: str, now: float) -> bool:
        silence = self._silences.pop((code, target), None)
        return silence is not None and silence.until > now

    def all(self, now: float) -> list[Silence]:
        in_force = (one for one in self._silences.values() if one.until > now)
        return sorted(in_force, key=lambda one: (one.code, one.target))


class MemorySilences:
    """`SilenceStore` on a server, seen from one node."""

    def __init__(
        self, silences: Silences, checkpoint: Callable[[], Awaitable[None]], now: Callable[[], float]
    ) -> None:
        self._silences = silences
        self._checkpoint = checkpoint
        self._now = now

    async def put(self, code: str, target: str, seconds: float, *, by: str, reason: str) -> Silence | None:
        await self._checkpoint()
        now = self._now()
        silence = Silence(code=code, target=target, until=int(now + seconds * 1000), by=by, reason=reason)
        return silence if self._silences.put(silence, now) else None

    async def lift(self, code: str, target: str) -> bool:
        await self._checkpoint()
        return self._silences.lift(code, target, self._now())

    async def all(self) -> list[Silence]:
        await self._checkpoint()
        return self._silences.all(self._now())

"""Silences on Redis: every call is one script."""

from __future__ import annotations

from am2z_trio.model.records import Silence

from . import scripts
from .arguments import milliseconds, require_text
from .link import RedisLink
from .rows import text


class RedisSilences:
    """`SilenceStore` on a node's link."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def put(self, code: str, target: str, seconds: float, *, by: str, reason: str) -> Silence | None:
        for told in (code, target, by, reason):
            require_text(told)
        until = await self._link.eval(
            scripts.SILENCE, self._link.clock, _name(code, target), milliseconds(seconds), by, reason
        )
        if int(until) < 0:
            return None
        return Silence(code=code, target=target, until=int(until), by=by, reason=reason)

    async def lift(self, code: str, target: str) -> bool:
        require_text(target)
        return bool(await self._link.eval(scripts.LIFT_SILENCE, self._link.clock, _name(code, target)))

    async def all(self) -> list[Silence]:
        rows = await self._link.eval(scripts.SILENCES, self._link.clock)
        found = [_silence(*map(text, row)) for row in rows]
        return sorted(found, key=lambda one: (one.code, one.target))


def _name(code: str, target: str) -> str:
    return f"{code}\0{target}"


def _silence(name: str, until: str, by: str, reason: str) -> Silence:
    code, _, target = name.partition("\0")
    return Silence(code=code, target=target, until=int(until), by=by, reason=reason)

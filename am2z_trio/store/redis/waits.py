"""What jobs wait for beside other jobs, on Redis: every call is one script."""

from __future__ import annotations

from collections.abc import Sequence

from am2z_trio.model.records import Signal, SignalAnswer, Wait, WaitAnswer, plain_name

from . import scripts
from .arguments import as_argument, milliseconds, require_text
from .link import RedisLink
from .rows import text


class RedisWaits:
    """`WaitStore` on a node's link."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def wait(self, job: str, token: str, wait: Wait) -> WaitAnswer:
        require_text(wait.name)
        ms = -1 if wait.seconds is None else milliseconds(wait.seconds)
        answer = await self._link.eval(
            scripts.WAIT, self._link.clock, as_argument(job), token, wait.key, wait.name, ms
        )
        status = answer[0].decode()
        if status == "open":
            left = None if answer[1] < 0 else answer[1] / 1000
            return WaitAnswer(status="open", left=left, many=bool(answer[2]))
        if status == "signalled":
            return WaitAnswer(status="signalled", value=answer[1])
        return WaitAnswer(status=status, name=text(answer[1]) if status == "other" else "")

    async def pack(self, job: str, token: str, keys: Sequence[str]) -> None:
        await self._link.eval(scripts.PACK, as_argument(job), token, "\n".join(keys))

    async def signal(self, job: str, signal: Signal) -> SignalAnswer:
        require_text(signal.name)
        args = (as_argument(job), signal.op, signal.name, signal.value)
        return (await self._link.eval(scripts.SIGNAL, *args)).decode()  # type: ignore[no-any-return]

    async def signal_session(self, session: str, signal: Signal) -> SignalAnswer:
        require_text(session)
        require_text(signal.name)
        args = (self._link.clock, plain_name(session), signal.op, signal.name, signal.value)
        return (await self._link.eval(scripts.SIGNAL_SESSION, *args)).decode()  # type: ignore[no-any-return]

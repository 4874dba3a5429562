"""What other nodes may ask of this one: a fixed list of verbs, no code, and no more than a page at a time.

One task answers, one question after the other. Whatever arrives that is no such question is refused, and is
nobody else's affair; an asker that asks more than it waits for is not heard.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec

from am2z_trio.engine.claim import Stop
from am2z_trio.model.codec import RecordDecoder, encode_record
from am2z_trio.model.errors import AM2ZError, ValidationError
from am2z_trio.model.limits import KIB
from am2z_trio.model.logs import Log
from am2z_trio.model.records import (
    Ask,
    CancelTask,
    Drain,
    Nothing,
    StackQuestion,
    StopWorker,
    Told,
    TreeQuestion,
    queue_name,
)
from am2z_trio.model.records.questions import ARGUMENTS, MAX_ARGUMENTS_BYTES
from am2z_trio.model.telling import cut, trace_of
from am2z_trio.store.lasting import lasting

from .asking import Asking
from .draining import Draining
from .health import HealthCheck
from .inside import Inside
from .introduction import Introduction
from .pulse import Pulse
from .stacks import Stacks
from .tree import NodeTree

logger: Final = Log("am2z_trio.node")

MOST_IN_LINE: Final = 64
"""Questions that wait to be answered."""

MOST_OF_ONE: Final = 16
"""Of these, those of one node; it waits for half as many at most (`asking.MOST_UNDER_WAY`)."""

MAX_ANSWER_BYTES: Final = 512 * KIB
"""No answer is larger. A page of rows is a quarter of it."""

_DECODERS: Final[dict[str, RecordDecoder[Any]]] = {
    verb: RecordDecoder(kind) for verb, kind in ARGUMENTS.items()
}


class Control:
    """Answers for one node, and asks for it."""

    def __init__(self, inside: Inside) -> None:
        host = inside.host
        self.inside = inside
        self.draining = Draining(host, inside.claims, inside.fleet)
        self.introduction = Introduction(inside, self.draining)
        inside.fleet.on_change = self.introduction.say_soon
        self.pulse = Pulse(host, inside.fleet.figures.loop_lag)
        self.health = HealthCheck(inside, self.draining, self.pulse)
        self.asking = Asking(host, inside.id, inside.store, self.answer)
        self._tree = NodeTree(inside, self.draining)
        self._stacks = Stacks(inside)
        self._line: deque[Ask] = deque()
        self._of: Counter[str] = Counter()
        self._dropped = 0
        self._bell = host.spot()
        self._verbs: Mapping[str, Callable[[Any], Awaitable[Any]]] = {
            "tree": self._show_tree,
            "stack": self._show_stack,
            "figures": self._show_health,
            "cancel_task": self._cancel_task,
            "drain": self._drain,
            "undrain": self._undrain,
            "stop_worker": self._stop_worker,
        }

    # --- what arrives -------------------------------------------------------------------------

    def on_ask(self, ask: Ask) -> None:
        """A question has come; it is answered soon, or dropped where there are too many."""
        if len(self._line) >= MOST_IN_LINE or self._of[ask.inbox] >= MOST_OF_ONE:
            if not self._dropped:
                logger.warning("node %s asks more than it can wait for: some of it is dropped", ask.inbox)
            self._dropped += 1
            return
        self._line.append(ask)
        self._of[ask.inbox] += 1
        self._bell.wake()

    async def run(self) -> None:
        """Answer, and ask, until cancelled."""
        host = self.inside.host
        async with host.open_nursery() as nursery:
            nursery.start_soon(lasting, host, "the task that asks", self.asking.run)
            nursery.start_soon(lasting, host, "the task that drains", self.draining.run)
            nursery.start_soon(lasting, host, "the watch over the loop's pulse", self.pulse.run)
            if self.inside.options.workers:
                nursery.start_soon(lasting, host, "the task that introduces", self.introduction.run)
            await lasting(host, "the task that answers", self._answer_forever)

    async def _answer_forever(self) -> None:
        while True:
            while self._line:
                ask = self._line.popleft()
                self._of[ask.inbox] -= 1
                if not self._of[ask.inbox]:
                    del self._of[ask.inbox]
                told = await self.answer(ask)
                try:
                    await self.inside.store.control.post(ask.inbox, told)
                except AM2ZError as error:
                    logger.debug("node %s could not be answered: %s", ask.inbox, error)
            self._dropped = 0
            await self._bell.park()

    async def answer(self, ask: Ask) -> Told:
        """What this node says to a question."""
        try:
            payload = encode_record(await self._carry_out(ask))
            if len(payload) > MAX_ANSWER_BYTES:
                raise ValidationError(f"the answer has {len(payload):,} bytes: ask for less at a time")
        except AM2ZError as error:
            return Told(ask.id, self.inside.id, refusal=cut(error.message, KIB))
        except Exception as error:
            logger.error("a question of node %s was not answered", ask.inbox, trace=trace_of(error))
            return Told(ask.id, self.inside.id, refusal="it has failed to answer; its log says how")
        return Told(ask.id, self.inside.id, msgspec.Raw(payload))

    async def _carry_out(self, ask: Ask) -> Any:
        verb, read = self._verbs.get(ask.verb), _DECODERS.get(ask.verb)
        if verb is None or read is None:
            raise ValidationError(f"it does not know how to {ask.verb!r}: it is of another version")
        size = memoryview(ask.arguments).nbytes
        if size > MAX_ARGUMENTS_BYTES:
            raise ValidationError(f"the question has {size:,} bytes, the limit is {MAX_ARGUMENTS_BYTES:,}")
        return await verb(read(ask.arguments))

    # --- what is asked ------------------------------------------------------------------------

    async def _show_tree(self, asked: TreeQuestion) -> Any:
        return await self._tree.page(asked)

    async def _show_stack(self, asked: StackQuestion) -> Any:
        return await self._stacks.of(asked.job)

    async def _show_health(self, asked: Nothing) -> Any:
        return await self.health.look()

    # --- what is ordered ----------------------------------------------------------------------

    async def _cancel_task(self, asked: CancelTask) -> bool:
        claim = self.inside.claims.get(asked.job)
        if claim is None or claim.grant.token != asked.token:
            return False
        for path, nursery in self.inside.nurseries().get(claim, ()):
            for number, task in nursery.tasks.items():
                if f"{path}{number}" == asked.path:
                    task.scope.cancel()
                    return True
        return False

    async def _drain(self, asked: Drain) -> bool:
        changed = self.draining.begin(asked.grace)
        self.introduction.say_soon()
        return changed

    async def _undrain(self, asked: Nothing) -> bool:
        changed = self.draining.end()
        self.introduction.say_soon()
        return changed

    async def _stop_worker(self, asked: StopWorker) -> bool:
        inside, queue = self.inside, queue_name(asked.processor)
        if asked.session is None:
            worker = inside.fleet.workers.get(queue)
            if worker is None or worker.closing:
                return False
            inside.fleet.stop_serving(queue)
            return True
        hosted = inside.sessions.get(asked.session)
        if hosted is None or hosted.take_worker(queue) is None:
            return False
        inside.claims.cancel_all(asked.session, queue, Stop("cancelled", "its worker was stopped"))
        return True

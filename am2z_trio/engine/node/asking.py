"""What this node asks others, and who has not answered.

A question goes to each node's inbox, and its answer comes to this one's. Nothing is sent while nobody asks,
who asks the same while it is under way shares the answer, and so many questions are under way at a time.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from am2z_trio.concurrency import Event, Host, Nursery
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import AM2ZError, RuntimeStateError
from am2z_trio.model.records import Ask, Told
from am2z_trio.store.ports import Store

PATIENCE: Final = 1.0
"""Seconds after which a node that has not answered is silent."""

MOST_UNDER_WAY: Final = 8
"""Questions of one node at a time; each may go to all others."""

Answers = Mapping[str, Told | None]
"""By node; `None`: it is silent."""
Key = tuple[tuple[str, ...], str, bytes]


class _Question:
    """One that is under way."""

    def __init__(self, key: Key, host: Host) -> None:
        self.nodes, self.verb, self.arguments = key
        self.id = secrets.token_hex(8)
        self.answers: dict[str, Told | None] = dict.fromkeys(self.nodes)
        self.waiting = set(self.nodes)
        self.all_in: Event = host.event()
        self.over: Event = host.event()
        self.error: AM2ZError | None = None

    def note(self, node: str, told: Told | None) -> None:
        if node in self.waiting:
            self.waiting.remove(node)
            self.answers[node] = told
            if not self.waiting:
                self.all_in.set()


class Asking:
    """The questions of one node."""

    def __init__(self, host: Host, node: str, store: Store, answer: Callable[[Ask], Awaitable[Told]]) -> None:
        """`answer` is what this node itself says to a question."""
        self._host = host
        self._node = node
        self._store = store
        self._answer = answer
        self._nursery: Nursery | None = None
        self._room = Capacity(host, MOST_UNDER_WAY)
        self._by_id: dict[str, _Question] = {}
        self._by_key: dict[Key, _Question] = {}

    async def ask(
        self, nodes: Sequence[str], verb: str, arguments: msgspec.Struct, *, patience: float = PATIENCE
    ) -> Answers:
        """Ask these nodes, and wait for their answers for `patience` seconds.

        Of a verb that changes something, a silent node may have done it, or do it yet. Cancelled, the
        question runs out by itself. Raises the error of a store that cannot be reached or refuses.
        """
        key: Key = tuple(dict.fromkeys(nodes)), verb, encode_record(arguments)
        question = self._by_key.get(key)
        while question is None:
            await self._room.acquire()
            # Somebody may have asked it meanwhile.
            question = self._by_key.get(key)
            if question is not None or self._nursery is None:
                self._room.release()
            if question is None:
                question = self._pose(key, patience)
        await question.over.wait()
        if question.error is not None:
            raise question.error
        return question.answers

    def _pose(self, key: Key, patience: float) -> _Question:
        if self._nursery is None:
            raise RuntimeStateError("the runtime is being left, and asks no other node any more")
        question = self._by_key[key] = _Question(key, self._host)
        self._by_id[question.id] = question
        self._nursery.start_soon(self._see_to, key, question, patience, name=f"ask {question.verb}")
        return question

    def on_told(self, told: Told) -> None:
        """A node has answered. What nobody waits for is dropped."""
        question = self._by_id.get(told.id)
        if question is not None:
            question.note(told.node, told)

    async def run(self) -> None:
        """Ask what there is to ask, until cancelled."""
        try:
            async with self._host.open_nursery() as self._nursery:
                await self._host.event().wait()
        finally:
            self._nursery = None

    async def _see_to(self, key: Key, question: _Question, patience: float) -> None:
        host = self._host
        try:
            with host.cancel_scope(deadline=host.now() + patience):
                async with host.open_nursery() as nursery:
                    for node in question.nodes:
                        nursery.start_soon(self._send, question, node)
                    if question.waiting:
                        await question.all_in.wait()
                    nursery.cancel_scope.cancel()
        except BaseException:
            question.error = RuntimeStateError("the runtime was left while others were asked")
            raise
        finally:
            self._room.release()
            del self._by_id[question.id], self._by_key[key]
            question.over.set()

    async def _send(self, question: _Question, node: str) -> None:
        ask = Ask(question.id, self._node, question.verb, msgspec.Raw(question.arguments))
        try:
            if node == self._node:
                question.note(node, await self._answer(ask))
            elif not await self._store.control.post(node, ask):
                question.note(node, None)
        except AM2ZError as error:
            question.error = error
            question.all_in.set()

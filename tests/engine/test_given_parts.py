"""A composition's parts are given to its node by the answer to the call that sends them, and a node is not
told what it knows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import anyio
import pytest

from am2z_trio import QueueRuntime, chain, parallel, processor
from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.engine.submission import looking
from am2z_trio.engine.submission.waiter import Waiter
from am2z_trio.engine.work import settler
from am2z_trio.model.errors import AM2ZError, ServerReplyError, UnknownOutcomeError
from am2z_trio.model.records import (
    Enqueue,
    EnqueueAnswer,
    Handed,
    InboxMessage,
    SettleAnswer,
    Settled,
    Settlement,
)
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance.builders import job

pytestmark = pytest.mark.anyio


@processor(name="a")
async def a(n: int) -> int:
    return n + 1


@processor(name="b")
async def b(n: int) -> int:
    return n + 10


CHAIN = chain("chained", [a, b])
SIDE_BY_SIDE = parallel("side by side", [a, b], merge=lambda _, results: sum(results))
NESTED = chain("nested", [CHAIN, b])


def heard_by(runtime: QueueRuntime) -> list[InboxMessage]:
    """What the node is told from now on."""
    heard: list[InboxMessage] = []
    inbox = runtime.node.inbox
    on_message = inbox.on_message

    def listen(message: InboxMessage) -> None:
        heard.append(message)
        on_message(message)

    inbox.on_message = listen  # type: ignore[method-assign]
    return heard


def names_of(messages: Sequence[InboxMessage]) -> list[str]:
    """Of those that tell of jobs: what, and whether it is a call."""
    told: list[str] = []
    for message in messages:
        if isinstance(message, Handed):
            told += [f"handed {'call' if grant.spec.parent else 'job'}" for grant in message.answer.grants]
        elif isinstance(message, Settled):
            told.append(f"settled {'call' if '/' in message.id else 'job'}")
    return told


@pytest.mark.parametrize("made", [CHAIN, NESTED], ids=lambda made: made.name)
async def test_a_node_is_told_of_a_chain_and_nothing_of_its_parts(made: Any, redis_url: str) -> None:
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(made)
        heard = heard_by(runtime)
        told: list[str] = []
        with anyio.fail_after(20):
            # Where a worker looks for more just then, a job waits for it.
            while told != ["handed job", "settled job"] + ["settled call"] * (made is NESTED):
                heard.clear()
                (await runtime.execute(made, 1)).unwrap()
                told = sorted(names_of(heard), key=["handed job", "settled job", "settled call"].index)


async def test_a_users_code_is_told_recorded_outcomes_and_parts_side_by_side_are_given_together(
    redis_url: str,
) -> None:
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(SIDE_BY_SIDE)
        heard = heard_by(runtime)
        with anyio.fail_after(20):
            while "handed call" in names_of(heard) or not heard:
                heard.clear()
                assert (await runtime.execute(SIDE_BY_SIDE, 1)).unwrap() == 13
        assert names_of(heard).count("settled call") == 2


class Settling:
    """Stands between a node and its store."""

    def __init__(self, runtime: QueueRuntime) -> None:
        self.told: list[bool] = []
        """Of what parts have come to, as it was sent: whether the node was told."""
        self.refuse = False
        """Refuse the next one."""
        self.waiters: list[Waiter] = []
        """Of who asks right behind each."""
        self._submissions = runtime.node.submissions
        store = runtime.node.store
        assert isinstance(store, RedisStore)
        self._link = store.link
        self._begin, self._settle = store.begin_settle, store.settle
        store.begin_settle, store.settle = self.begin, self.settle  # type: ignore[method-assign]

    def _sees(self, settlements: Sequence[Settlement]) -> None:
        self.told += [one.told for one in settlements if "/" in one.id]

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        self._sees(settlements)
        return await self._settle(settlements)

    def begin(self, settlements: Sequence[Settlement], told: Told) -> GiveUp | None:
        self._sees(settlements)
        if self.refuse:
            self.refuse = False
            error = ServerReplyError("Redis answered: OOM", context={"reply": "OOM"})

            async def tell() -> None:
                told(error)

            assert self._link.start_soon(tell)
            return lambda: None
        begun = self._begin(settlements, told)
        if begun is not None and settlements[0].told:
            self.waiters.append(self._submissions.join(settlements[0].id, "a", None))
        return begun


async def test_who_asks_right_behind_it_for_what_a_node_was_told_finds_it(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOK_AFTER", 1000.0)
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(chain("of one", [a]))
        settling = Settling(runtime)
        with anyio.fail_after(20):
            while not settling.waiters:
                assert (await runtime.execute("of one", 1)).unwrap() == 2
            for waiter in settling.waiters:
                found = await waiter.wait()
                assert isinstance(found, Settled)
                assert found.status == "completed"


async def test_what_is_sent_again_does_not_say_that_the_node_was_told(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have asked for it between."""
    monkeypatch.setattr(settler, "RETRY_AFTER", 0.001)
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(CHAIN)
        settling = Settling(runtime)
        with anyio.fail_after(20):
            while True not in settling.told:
                (await runtime.execute(CHAIN, 1)).unwrap()
            settling.told.clear()
            settling.refuse = True
            while True not in settling.told[:1]:
                settling.told.clear()
                assert (await runtime.execute(CHAIN, 1)).unwrap() == 12
    # The chain was told too much, and was run again: nothing is told early then.
    assert settling.told[0]
    assert not any(settling.told[1:])


# --- a call that may bring jobs ------------------------------------------------------------------


class Enqueuing:
    """A store's call under way, whose answer a test decides."""

    def __init__(self, runtime: QueueRuntime, *, may_begin: bool = True) -> None:
        self.told: Told | None = None
        self.at_rest: set[str] = set()
        self.is_dropped = False
        self._may_begin = may_begin
        runtime.node.store.begin_enqueue = self.begin  # type: ignore[method-assign]

    def begin(self, jobs: Sequence[Enqueue], told: Told, at_rest: Collection[str] = ()) -> GiveUp | None:
        self.told, self.at_rest = told, {*at_rest}
        return self._drop if self._may_begin else None

    def _drop(self) -> None:
        self.is_dropped = True


async def wait_at_rest(runtime: QueueRuntime) -> None:
    with anyio.fail_after(20):
        while not all(worker.is_at_rest for worker in runtime.node.fleet.workers.values()):
            await anyio.sleep(0.001)


def is_over(runtime: QueueRuntime) -> bool:
    """Whether no call is under way that could bring a claim."""
    stray = ("nobody knows it", "1:x")
    runtime.node.claims.note_holdings([stray])
    return runtime.node.claims.take_strays() == [stray]


async def test_a_call_that_may_bring_jobs_and_is_not_begun_leaves_nothing_behind(redis_url: str) -> None:
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(a)
        await wait_at_rest(runtime)
        enqueuing = Enqueuing(runtime, may_begin=False)
        assert runtime.node.fleet.sending.begin_send([job("j", "a")], lambda _: None) is None
        assert enqueuing.at_rest == {"a"}
        assert is_over(runtime)
        assert not runtime.node.claims.has_strays


@pytest.mark.parametrize("ending", ["an error", "given up", "one that nobody serves"])
async def test_what_a_call_may_have_brought_unheard_is_looked_for(ending: str, redis_url: str) -> None:
    told: list[Any] = []
    async with QueueRuntime(redis_url) as runtime:
        runtime.register(a)
        await wait_at_rest(runtime)
        enqueuing, claims = Enqueuing(runtime), runtime.node.claims
        give_up = runtime.node.fleet.sending.begin_send([job("j", "a"), job("k", "c")], told.append)
        assert give_up is not None
        assert enqueuing.told is not None
        assert not is_over(runtime)
        claims.has_strays = False
        error: AM2ZError = UnknownOutcomeError("lost")
        answers = [EnqueueAnswer(status="queued"), EnqueueAnswer(status="queued", token="1:x")]
        if ending == "given up":
            give_up()
            assert enqueuing.is_dropped
        else:
            enqueuing.told(error if ending == "an error" else answers)
            assert told == [error if ending == "an error" else answers]
        assert is_over(runtime)
        assert claims.has_strays

"""What gathers goes together, in calls of bounded size, and nothing is lost, doubled or made to suffer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
import trio
import trio.testing
from anyio.abc import TaskGroup
from hypothesis import example, given
from hypothesis import strategies as st

from am2z_trio.concurrency import Event, Host, current_host
from am2z_trio.concurrency.batching import AGAIN_AFTER, LONGEST_PAUSE, Batching, Fifo, Verdict
from am2z_trio.concurrency.groups import unwrapped
from am2z_trio.concurrency.told import GiveUp, Told

MOST = 4


class RefusedError(Exception):
    """The other side does not take it."""


class BusyError(RefusedError):
    """It takes nothing for now."""


class Peer:
    """Takes batches; refuses those with a bad item, and some whatever they hold."""

    def __init__(
        self,
        host: Host,
        *,
        bad: Iterable[int] = (),
        busy: Iterable[bool] = (),
        slow: Iterable[int] = (),
        begun: Iterable[bool] = (),
    ) -> None:
        self.host = host
        self.line = Fifo[int]()
        self.calls: list[list[int]] = []
        self.at: list[float] = []
        self.taken: list[int] = []
        self.over: list[int] = []
        self.hold: Event | None = None
        """While it is not set, a call is under way."""
        self._bad = frozenset(bad)
        self._busy = iter(busy)
        self._slow = iter(slow)
        self._begun = iter(begun)
        self.tasks: TaskGroup | None = None
        """Where calls are made for which nobody waits."""
        self._under_way = False
        self.batching = Batching(
            host,
            self.line,
            self._send,
            self._judge,
            self._taken,
            refusal=RefusedError,
            most=MOST,
        )
        self.batching.begin = self._begin

    def add(self, *items: int) -> None:
        self.line.extend(items)
        self.batching.ring(alone=len(items) == 1)

    def _begin(self, batch: list[int], told: Told) -> GiveUp | None:
        if self.tasks is None or not next(self._begun, False):
            return None
        wanted = [told]

        async def call() -> None:
            answer: str | RefusedError
            try:
                answer = await self._answer(batch)
            except RefusedError as error:
                answer = error
            for tell in wanted:
                tell(answer)

        self._note(batch)
        self.tasks.start_soon(call)
        return wanted.clear

    async def _send(self, batch: list[int]) -> str:
        self._note(batch)
        return await self._answer(batch)

    def _note(self, batch: list[int]) -> None:
        assert not self._under_way, "two calls at a time"
        assert 1 <= len(batch) <= MOST
        self._under_way = True
        self.calls.append(batch)
        self.at.append(self.host.now())

    async def _answer(self, batch: list[int]) -> str:
        try:
            await self.host.sleep(next(self._slow, 0) * AGAIN_AFTER / 2)
            if self.hold is not None:
                await self.hold.wait()
            if next(self._busy, False):
                raise BusyError
            if self._bad.intersection(batch):
                raise RefusedError
            return "yes"
        finally:
            self._under_way = False

    def _taken(self, batch: Sequence[int], answer: str) -> None:
        assert answer == "yes"
        self.taken += batch

    async def _judge(self, batch: Sequence[int], error: RefusedError) -> Verdict:
        if isinstance(error, BusyError):
            return "later"
        if len(batch) > 1:
            return "each"
        self.over += batch
        return "over"


@asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Peer]:
    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            peer.tasks = tasks
            tasks.start_soon(peer.batching.run)
            await anyio.wait_all_tasks_blocked()
            yield peer
            tasks.cancel_scope.cancel()


ITEMS = 40

STEPS = st.lists(
    st.one_of(
        st.integers(1, 2 * MOST).map(lambda count: ("add", count)),
        st.integers(0, 3).map(lambda count: ("pass", count)),
        st.integers(1, 12).map(lambda count: ("sleep", count)),
    ),
    max_size=12,
)


# Some are put off again while others of the same round have yet to be sent, which takes a while.
@example([("add", 3 * MOST)], frozenset(), [True] * 4, [0, 0, 0, 0, 6], [])
@given(
    STEPS,
    st.frozensets(st.integers(0, ITEMS)),
    st.lists(st.booleans(), max_size=12),
    st.lists(st.integers(0, 6), max_size=12),
    st.lists(st.booleans(), max_size=24) | st.just([True] * 100),
)
def test_every_item_is_taken_once_or_refused_alone(steps, bad, busy, slow, begun):
    async def main() -> None:
        async with running(Peer(current_host(), bad=bad, busy=busy, slow=slow, begun=begun)) as peer:
            count = 0
            for step, size in steps:
                if step == "add":
                    peer.add(*range(count, count + size))
                    count += size
                elif step == "sleep":
                    await trio.sleep(size * AGAIN_AFTER / 2)
                for _ in range(size if step == "pass" else 0):
                    await trio.lowlevel.checkpoint()
            await peer.batching.wait_idle()
            assert peer.batching.is_idle
            everything = set(range(count))
            assert sorted(peer.taken) == sorted(everything - bad)
            assert sorted(peer.over) == sorted(everything & bad)
            if not everything & bad and not any(busy):
                assert peer.taken == list(range(count))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.anyio
async def test_one_alone_is_sent_at_once_and_what_gathers_meanwhile_together() -> None:
    async with running(Peer(current_host())) as peer:
        peer.hold = peer.host.event()
        peer.add(0)
        await anyio.wait_all_tasks_blocked()
        assert peer.calls == [[0]]
        for item in range(1, 7):
            peer.add(item)
        await anyio.wait_all_tasks_blocked()
        assert len(peer.calls) == 1
        peer.hold.set()
        await peer.batching.wait_idle()
        assert peer.calls == [[0], [1, 2, 3, 4], [5, 6]]


@pytest.mark.anyio
async def test_what_comes_alone_again_and_again_is_sent_by_whoever_adds_it() -> None:
    async with running(Peer(current_host(), begun=[True] * 9)) as peer:
        for item in range(4):
            peer.add(item)
            # The first one does not know that it comes alone.
            assert len(peer.calls) == (item if item == 0 else item + 1)
            await peer.batching.wait_idle()
        assert peer.calls == [[0], [1], [2], [3]]
        peer.add(4)
        for item in range(5, 9):
            peer.add(item)
        await peer.batching.wait_idle()
        assert peer.calls[4:] == [[4], [5, 6, 7, 8]]
        # Now they come in masses, and are waited for.
        for item in range(9, 12):
            peer.add(item)
        assert len(peer.calls) == 6
        await peer.batching.wait_idle()
        assert peer.calls[6:] == [[9, 10, 11]]
        assert peer.taken == list(range(12))


@pytest.mark.anyio
async def test_nobody_is_told_of_a_call_when_sending_has_ended() -> None:
    peer = Peer(current_host(), begun=[True])
    async with anyio.create_task_group() as tasks:
        peer.hold = peer.host.event()
        async with running(peer):
            peer.tasks = tasks
            peer.add(1)
            await anyio.wait_all_tasks_blocked()
        peer.hold.set()
        await anyio.wait_all_tasks_blocked()
        assert peer.calls == [[1]]
        assert peer.taken == []
        peer.add(2)
        await anyio.wait_all_tasks_blocked()
        assert peer.calls == [[1]]


@pytest.mark.anyio
async def test_an_error_of_a_begun_call_ends_it_and_so_does_any_of_what_hears_the_answer() -> None:
    host, line, tellers = current_host(), Fifo[int](), list[Told]()

    def begin(_: list[int], told: Told) -> GiveUp:
        tellers.append(told)
        return tellers.clear

    async def never(*_: object) -> Verdict:
        raise AssertionError("nothing is refused")

    def bug(_: Sequence[int], answer: str) -> None:
        raise BusyError(answer)

    for answer, error in ((LookupError("a bug"), LookupError), ("taken", BusyError)):
        line.append(1)
        batching = Batching(host, line, never, never, bug, refusal=RefusedError, most=MOST)
        batching.begin = begin
        with pytest.raises(error), unwrapped():
            async with host.open_nursery() as nursery:
                nursery.start_soon(batching.run)
                await anyio.wait_all_tasks_blocked()
                tellers[-1](answer)
        tellers.clear()


def test_what_comes_later_passes_what_was_put_off() -> None:
    async def main() -> None:
        async with running(Peer(current_host(), busy=[True])) as peer:
            peer.add(1, 2)
            await trio.sleep(AGAIN_AFTER / 2)
            assert not peer.batching.is_idle
            peer.add(3)
            await peer.batching.wait_idle()
            assert peer.calls == [[1, 2], [3], [1, 2]]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_pause_doubles_up_to_a_bound_and_starts_small_again() -> None:
    async def main() -> None:
        async with running(Peer(current_host(), busy=[True] * 9 + [False, True, True])) as peer:
            peer.add(1)
            await peer.batching.wait_idle()
            pauses = [after - before for before, after in zip(peer.at, peer.at[1:], strict=False)]
            assert pauses == pytest.approx([min(AGAIN_AFTER * 2**n, LONGEST_PAUSE) for n in range(9)])
            # One pause, however many calls are refused meanwhile.
            peer.add(*range(2, 2 + 2 * MOST))
            await peer.batching.wait_idle()
            assert peer.at[-1] - peer.at[-4] == pytest.approx(AGAIN_AFTER)
            assert peer.taken == [*range(1, 2 + 2 * MOST)]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_was_put_off_is_sent_when_due_although_the_line_never_ends() -> None:
    async def main() -> None:
        async with running(Peer(current_host(), busy=[True])) as peer:
            peer.hold = trio.Event()

            async def answer_slowly() -> None:
                while True:
                    # Before a call is answered, there is something in line again.
                    peer.add(1)
                    before, peer.hold = peer.hold, trio.Event()
                    await trio.sleep(AGAIN_AFTER / 10)
                    assert before is not None
                    before.set()

            async with trio.open_nursery() as nursery:
                peer.add(0)
                nursery.start_soon(answer_slowly)
                while 0 not in peer.taken:
                    assert trio.current_time() < 2 * AGAIN_AFTER
                    await trio.sleep(AGAIN_AFTER / 10)
                nursery.cancel_scope.cancel()
            peer.hold.set()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@pytest.mark.anyio
async def test_a_line_of_which_nobody_wants_anything_any_more_costs_no_call() -> None:
    class Unwanted(Fifo[int]):
        def take(self, most: int) -> list[int]:
            return [item for item in super().take(most) if item > 2]

    peer = Peer(current_host())
    peer.line = Unwanted()
    peer.batching = Batching(
        peer.host, peer.line, peer._send, peer._judge, peer._taken, refusal=RefusedError, most=MOST
    )
    async with running(peer):
        peer.add(1, 2)
        await peer.batching.wait_idle()
        assert peer.calls == []
        peer.add(1, 2, 3, 4, 5)
        await peer.batching.wait_idle()
        assert peer.calls == [[3, 4], [5]]


@pytest.mark.anyio
async def test_an_error_that_is_no_refusal_ends_it_and_so_does_any_of_what_hears_the_answer() -> None:
    peer = Peer(current_host())

    async def fail(_: list[int]) -> None:
        raise LookupError("a bug")

    async def send(_: list[int]) -> None:
        await anyio.lowlevel.checkpoint()

    def refuse(_: Sequence[int], __: None) -> None:
        raise BusyError

    peer.line.append(1)
    with pytest.raises(LookupError, match="a bug"):
        await Batching(peer.host, peer.line, fail, peer._judge, refusal=RefusedError, most=MOST).run()
    peer.line.append(2)
    with pytest.raises(BusyError):
        await Batching(peer.host, peer.line, send, peer._judge, refuse, refusal=RefusedError, most=MOST).run()


@pytest.mark.anyio
async def test_who_waits_for_idleness_sleeps_until_all_was_taken() -> None:
    async with running(Peer(current_host())) as peer, anyio.create_task_group() as tasks:
        await peer.batching.wait_idle()
        for item in range(5):
            peer.hold = peer.host.event()
            peer.add(item)
            assert not peer.batching.is_idle
            tasks.start_soon(peer.batching.wait_idle)
            await anyio.wait_all_tasks_blocked()
            assert peer.calls[-1] == [item]
            assert item not in peer.taken
            peer.hold.set()
            await peer.batching.wait_idle()
            assert peer.taken[-1] == item


@pytest.mark.anyio
async def test_who_waits_for_the_end_of_what_stood_in_line_before_it_ran_sleeps_meanwhile() -> None:
    peer = Peer(current_host())
    peer.line.extend(range(3))
    peer.hold = peer.host.event()
    async with running(peer):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.batching.wait_idle)
            with anyio.fail_after(5):
                await anyio.wait_all_tasks_blocked()
            peer.hold.set()
        assert peer.taken == [0, 1, 2]

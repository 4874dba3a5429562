"""However much there is to send, to answer or to tell, it goes in pieces that have a bound."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio.model.codec import NIL
from am2z_trio.model.events import Event
from am2z_trio.model.records import (
    MAX_LINES_BYTES,
    Commit,
    Grant,
    KeptLines,
    LogLine,
    Settled,
    Settlement,
    written,
)
from am2z_trio.store.redis import scripts
from am2z_trio.store.redis import states as redis_states
from am2z_trio.store.redis.agreed import POSTED_BYTES, REPLY_BYTES
from am2z_trio.store.redis.link import REQUEST_BYTES, RedisLink
from am2z_trio.testing.conformance import Bench, commit, job
from am2z_trio.wire.scripts import Script
from tests.support.servers import RedisProcess

from .test_redis_store import key, open_bench

pytestmark = pytest.mark.anyio

LARGE = 900_000


def payload(size: int = LARGE) -> bytes:
    """Something encoded."""
    return b"\xc6" + size.to_bytes(4) + bytes(size)


async def settled(bench: Bench, count: int, result: bytes, outcome: Any = "completed") -> Any:
    """A node that has settled so many jobs at once, which it had submitted."""
    a = await bench.node()
    await a.store.enqueue([job(f"j{n}", origin="a") for n in range(count)])
    grants = await a.claim(count)
    answers = await a.store.settle(
        [Settlement(id=g.spec.id, token=g.token, outcome=outcome, result=result) for g in grants]
    )
    assert {answer.status for answer in answers} == {"applied"}
    return a


async def test_a_large_result_is_not_sent_but_can_be_fetched(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await settled(bench, 1, payload())
        ends = [message for message in await a.heard() if isinstance(message, Settled)]
        assert ends == [Settled("j0", "completed", "", NIL, True)]
        (view,) = await a.store.view(["j0"])
        assert bytes(view.settled.result) == payload()
        assert not view.settled.omitted


async def test_what_jobs_log_goes_in_pieces_and_no_more_of_it_than_is_kept(
    redis_url, redis_server, monkeypatch
):
    sent, evaluated = list[int](), RedisLink.eval

    async def counted(self: RedisLink, script: Script, *args: Any) -> Any:
        if script is scripts.KEEP_LOGS:
            sent.append(sum(len(one) for one in args if isinstance(one, bytes)))
        return await evaluated(self, script, *args)

    monkeypatch.setattr(RedisLink, "eval", counted)
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job(f"j{n}", origin="a") for n in range(40)])
        grants = await a.claim(40)
        lines = [LogLine.of(n, "INFO", f"{n} {'é' * 1000}") for n in range(60)]
        told = [KeptLines(id=grant.spec.id, token=grant.token, lines=lines) for grant in grants]
        for _ in range(2):
            # The second time as if the answer had been lost.
            assert await a.store.logs.keep(told, 1000) == [True] * 40
            kept = await a.store.logs.read("j7")
            assert kept is not None
            assert kept == lines[-len(kept) :]
            assert MAX_LINES_BYTES - 2100 < len(written(kept).encode()) <= MAX_LINES_BYTES
    assert len(sent) > 4
    assert max(sent) <= REQUEST_BYTES + MAX_LINES_BYTES


async def test_many_results_are_not_sent_at_once(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await settled(bench, 100, payload(10_000))
        ends = [message for message in await a.heard() if isinstance(message, Settled)]
        sent = [message for message in ends if not message.omitted]
        assert len(ends) == 100
        assert sent
        assert sum(len(bytes(message.result)) for message in sent) <= POSTED_BYTES
        # They all fit where they are small.
        assert not any(message.omitted for message in await small_results(a))


async def small_results(a: Any) -> list[Settled]:
    await a.store.enqueue([job(f"s{n}", origin="a") for n in range(100)])
    grants = await a.claim(100)
    await a.store.settle(
        [Settlement(id=g.spec.id, token=g.token, outcome="completed", result=b"\x01") for g in grants]
    )
    ends = [message for message in await a.heard() if isinstance(message, Settled)]
    assert len(ends) == 100
    return ends


async def test_one_message_has_a_bound_where_many_are_told_something_long(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.enqueue([job(f"j{n}", session="s", origin="a") for n in range(100)])
        await a.claim(100)
        with redis_server.client() as admin:
            inbox = admin.pubsub()
            inbox.subscribe(key("inbox", "a"))
            for n in range(100):
                await a.store.cancel(f"j{n}", "x" * 10_000)
            await a.store.leave()
            inbox.unsubscribe()
            sizes = [len(message["data"]) for message in inbox.listen() if message["type"] == "message"]
            assert max(sizes) <= POSTED_BYTES + 1000
        assert len([message for message in await a.heard() if isinstance(message, Settled)]) == 100


@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_large_records_are_looked_at_in_pieces(outcome, redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await settled(bench, 20, payload(), outcome)
        ids = [f"j{n}" for n in range(20)]
        assert len(await a.store.link.eval(scripts.VIEW, *ids)) == 5
        assert len(await a.store.link.eval(scripts.VIEW, *ids[:4], "unknown")) == 5
        views = await a.store.view([*ids, "unknown", *ids])
        assert [view and view.id for view in views] == [*ids, None, *ids]
        assert {len(bytes(view.settled.result)) for view in views if view} == {LARGE + 5}
        letters = await a.store.dead_jobs(["unknown", *ids])
        found = [letter and letter.spec.id for letter in letters]
        assert found == ([None, *ids] if outcome == "failed" else [None] * 21)


async def test_a_large_history_is_read_in_pieces(redis_url, redis_server, monkeypatch):
    monkeypatch.setattr(redis_states, "HISTORY_PAGE", 5)
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        store: Any = a.store
        store._states.commit_arguments = (0, 1000)
        large = "x" * LARGE
        for number in range(6):
            await a.store.enqueue([job(f"j{number}", session="s")])
            await a.settle(await a.claim_one(), commit=commit(large, expected=None))
        states = await a.store.states.history("s")
        assert [state.version for state in states] == [*range(6, 0, -1)]
        for number in range(12):
            await a.store.enqueue([job(f"s{number}", session="t")])
            await a.settle(await a.claim_one(), commit=commit("small", expected=None))
        assert [state.version for state in await a.store.states.history("t")] == [*range(12, 0, -1)]
        assert await a.store.states.history("never") == []


async def test_a_state_that_is_written_while_a_history_is_read_repeats_none(
    redis_url, redis_server, monkeypatch
):
    monkeypatch.setattr(redis_states, "HISTORY_PAGE", 5)
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        store: Any = a.store
        store._states.commit_arguments = (0, 1000)
        ask = store.link.eval

        async def write() -> None:
            await a.store.enqueue([job(f"j{redis_server.call('DBSIZE')}", session="s")])
            await a.settle(await a.claim_one(), commit=commit("small", expected=None))

        async def ask_and_write(script: Script, *arguments: Any) -> Any:
            page = await ask(script, *arguments)
            if script is scripts.HISTORY:
                await write()
            return page

        for _ in range(12):
            await write()
        store.link.eval = ask_and_write
        assert [state.version for state in await a.store.states.history("s")] == [*range(12, 0, -1)]


async def test_large_submissions_and_outcomes_leave_in_pieces(redis_url, redis_server):
    """Sent, sent again (the results are the answer), settled in conflict, and settled."""
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        requests = [job(f"j{n}", state=payload(), session=f"s{n}") for n in range(12)]
        with Longest(a.store) as sent:
            assert {answer.status for answer in await a.store.enqueue(requests)} == {"queued"}
            grants = [await a.claim_one() for _ in requests]
            large = "x" * LARGE
            wrong, right = commit(large, (7, "")), commit(large)
            answers = await a.store.settle([ended(grant, wrong) for grant in grants])
            assert {answer.status for answer in answers} == {"conflict"}
            answers = await a.store.settle([ended(grant, right) for grant in grants])
            assert {answer.status for answer in answers} == {"applied"}
            again = await a.store.enqueue(requests)
            assert {answer.status for answer in again} == {"dup"}
            assert {len(bytes(answer.settled.result)) for answer in again if answer.settled} == {LARGE + 5}
        assert LARGE < max(sent.requests) < REQUEST_BYTES + 2.5 * LARGE
        assert LARGE < max(sent.answers) < REPLY_BYTES + 1.5 * LARGE


def ended(grant: Grant, commit: Commit) -> Settlement:
    return Settlement(
        id=grant.spec.id, token=grant.token, outcome="completed", result=payload(), commit=commit
    )


class Longest:
    """Notes how long the requests of a store's scripts are, and their answers."""

    def __init__(self, store: Any) -> None:
        self._client = store.link.commands
        self._eval = self._client.eval
        self.requests: list[int] = []
        self.answers: list[int] = []

    def __enter__(self) -> Longest:
        self._client.eval = self._ask
        return self

    def __exit__(self, *_: object) -> None:
        self._client.eval = self._eval

    async def _ask(self, script: Any, keys: Any, args: Any) -> Any:
        self.requests.append(sum(_size(value) for value in args))
        answer = await self._eval(script, keys, args)
        self.answers.append(_size(answer))
        return answer


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value) if isinstance(value, bytes | str | msgspec.Raw) else 1


async def test_large_events_go_in_several_messages(redis_url, redis_server):
    async with open_bench(redis_server) as bench:
        a = await bench.node()
        await a.store.watch_events(True)
        published = count_of_publish(redis_server)
        await a.store.publish([Event("e", n, "a", data="x" * 50_000) for n in range(1, 41)])
        with anyio.fail_after(20):
            assert [event.at for event in await a.events()] == [*range(1, 41)]
        assert count_of_publish(redis_server) - published == 8


def count_of_publish(server: RedisProcess) -> int:
    return int(server.call("INFO", "commandstats").get("cmdstat_publish", {"calls": 0})["calls"])

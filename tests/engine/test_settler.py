"""What an error reply of the store does to a job that has run: nothing. Only the store's answer settles."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio
import pytest

from am2z_trio import PayloadTooLargeError, QueueOptions, QueueRuntime, processor
from am2z_trio.engine.submission import looking
from am2z_trio.engine.work import settler
from am2z_trio.model.errors import ServerReplyError, UnknownOutcomeError
from am2z_trio.model.records import SettleAnswer, Settlement
from tests.engine.answering import answer_with
from tests.engine.conftest import MakeRuntime
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

RUNS: list[int] = []


@processor(queue=QueueOptions(concurrency=50))
async def double(text: str) -> str:
    RUNS.append(len(text))
    return text * 2


def replied(reply: str) -> ServerReplyError:
    return ServerReplyError(f"Redis answered: {reply}", context={"reply": reply})


def lost_three_times() -> UnknownOutcomeError:
    return UnknownOutcomeError("lost three times", context={"breaks": 3})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settler, "RETRY_AFTER", 0.001)
    RUNS.clear()


@pytest.mark.parametrize(
    "reply",
    ["MOVED 5798 10.0.0.1:6379", "ASK 5798 10.0.0.1:6379", "NOPERM this user has no permissions", "OOM full"],
)
async def test_a_settlement_that_is_refused_for_now_is_sent_again_and_told_once(
    reply: str, make_runtime: MakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    async with make_runtime() as runtime:
        runtime.register(double)
        assert (await runtime.execute(double, "")).unwrap() == ""
        store, refusals = runtime.node.store, 0
        settle = store.settle

        async def refuse(settlements: Sequence[Settlement]) -> list[SettleAnswer]:
            nonlocal refusals
            refusals += 1
            if refusals <= 6:
                raise replied(reply)
            return await settle(settlements)

        answer_with(store, "settle", refuse)
        caplog.set_level(logging.WARNING, "am2z_trio.settler")
        with anyio.fail_after(20):
            found = await runtime.execute_many(double, ["a", "b", "c"] * 20)
        assert [result.unwrap() for result in found] == ["aa", "bb", "cc"] * 20
        assert sum(RUNS) == 60
        assert refusals > 6
    told = [record.message for record in caplog.records if record.name == "am2z_trio.settler"]
    assert len(told) == 2
    assert reply in told[0]


@pytest.mark.parametrize(
    "error",
    [replied("ERR Protocol error: invalid bulk length"), lost_three_times()],
    ids=["refused", "cut off"],
)
async def test_an_outcome_that_the_store_never_takes_fails_its_job_alone(
    error: Exception, make_runtime: MakeRuntime
) -> None:
    async with make_runtime() as runtime:
        runtime.register(double)
        store = runtime.node.store
        settle = store.settle

        async def refuse(settlements: Sequence[Settlement]) -> list[SettleAnswer]:
            if any(len(settlement.result) > 5000 for settlement in settlements):
                raise error
            return await settle(settlements)

        answer_with(store, "settle", refuse)
        with anyio.fail_after(20):
            found = await runtime.execute_many(double, ["x", "y" * 5000, "z"])
            assert [result.success for result in found] == [True, False, True]
            assert isinstance(found[1].error, PayloadTooLargeError)
            assert str(error.args[0]) in found[1].error.message
            assert found[1].metadata.attempt == 1
            assert sorted(RUNS) == [1, 1, 5000]
            assert (await runtime.execute(double, "after")).unwrap() == "afterafter"


async def test_an_outcome_that_may_have_been_taken_before_the_memory_was_full_is_sent_again(
    make_runtime: MakeRuntime,
) -> None:
    async with make_runtime() as runtime:
        runtime.register(double)
        store = runtime.node.store
        settle, tries = store.settle, 0

        async def refuse(settlements: Sequence[Settlement]) -> list[SettleAnswer]:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise UnknownOutcomeError("it may have been applied, or not; since then the memory is full")
            return await settle(settlements)

        answer_with(store, "settle", refuse)
        with anyio.fail_after(20):
            assert (await runtime.execute(double, "x")).unwrap() == "xx"
        assert (RUNS, tries) == ([1], 2)


async def test_an_outcome_that_was_taken_although_the_answer_was_lost_stands(
    make_runtime: MakeRuntime,
) -> None:
    async with make_runtime() as runtime:
        runtime.register(double)
        store = runtime.node.store
        settle = store.settle

        async def lose_answer(settlements: Sequence[Settlement]) -> list[SettleAnswer]:
            answers = await settle(settlements)
            if any(settlement.outcome == "completed" for settlement in settlements):
                raise lost_three_times()
            return answers

        answer_with(store, "settle", lose_answer)
        with anyio.fail_after(20):
            assert (await runtime.execute(double, "x")).unwrap() == "xx"
            await until(lambda: not runtime.get_stats().claimed)


async def test_jobs_end_once_the_access_rules_allow_it_again(spawn_redis) -> None:
    server = spawn_redis()
    begun, go_on = anyio.Event(), anyio.Event()

    @processor
    async def wait(n: int) -> int:
        RUNS.append(n)
        begun.set()
        await go_on.wait()
        return n

    async with QueueRuntime(server.url) as runtime, anyio.create_task_group() as tasks:
        runtime.register(wait)
        heard: list[int] = []

        async def call() -> None:
            heard.append((await runtime.execute(wait, 7)).unwrap())

        with anyio.fail_after(30):
            tasks.start_soon(call)
            await begun.wait()
            scripting = ["evalsha", "eval", *(["fcall"] if server.version >= "7" else [])]
            server.call("ACL", "SETUSER", "default", *(f"-{command}" for command in scripting))
            go_on.set()
            await until(lambda: runtime.node.settler.refusal)
            assert not heard
            server.call("ACL", "SETUSER", "default", *(f"+{command}" for command in scripting))
            await until(lambda: heard)
    assert (heard, RUNS) == ([7], [7])


async def test_callers_hear_of_outcomes_where_the_tick_is_refused(
    spawn_redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "LOOK_AFTER", 0.01)
    server = spawn_redis()
    server.call("ACL", "SETUSER", "app", "on", ">pw", "~*", "&*", "+@all")
    async with (
        QueueRuntime(server.url) as worker,
        QueueRuntime(server.url.replace("unix://", "unix://app:pw@")) as other,
    ):
        worker.register(double)
        await worker.sync_processors()
        # Its own messages do not reach it, and its lease is refused.
        other.node.inbox.on_message = lambda message: None  # type: ignore[method-assign]
        server.call("ACL", "SETUSER", "app", "-hdel")
        with anyio.fail_after(30):
            assert (await other.execute("double", "x")).unwrap() == "xx"
        server.call("ACL", "SETUSER", "app", "+hdel")


async def test_a_result_beyond_the_servers_limit_fails_its_job_after_one_run(spawn_redis) -> None:
    server = spawn_redis({"proto-max-bulk-len": "1mb"})

    @processor(queue=QueueOptions(concurrency=5))
    async def grow(text: str) -> str:
        RUNS.append(len(text))
        return text * 100

    async with QueueRuntime(server.url, max_state_bytes=8_000_000) as runtime:
        runtime.register(grow)
        with anyio.fail_after(60):
            found = await runtime.execute_many(grow, ["a", "b" * 30_000, "c"])
            assert [result.success for result in found] == [True, False, True]
            error = found[1].error
            assert isinstance(error, PayloadTooLargeError)
            assert "3,000" in error.message
            assert RUNS.count(30_000) == 1
            assert (await runtime.execute(grow, "d")).success

"""Nodes that ask each other: what is there, where it waits, and what is to be done with it."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import msgspec
import pytest
import trio

from am2z_trio import (
    Context,
    JobCancelledError,
    LocalRuntime,
    Processor,
    QueueOptions,
    RuntimeStateError,
    UnknownOutcomeError,
    chain,
    processor,
)
from am2z_trio.engine.node import asking, control, stacks, tree
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.records import Ask, Nothing, Told, TreeQuestion
from am2z_trio.model.records.questions import ARGUMENTS, MAX_ARGUMENTS_BYTES
from am2z_trio.model.views.tree import NodeTree, TreeRow
from tests.support.gates import Gate
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

MakeRuntime = Callable[..., Runtime]


class Unspeakable:
    """Has no text."""

    def __str__(self) -> str:
        raise ValueError("no")


def beside(make_runtime: MakeRuntime, other: Runtime, **options: Any) -> Runtime:
    """Another node over the same store."""
    made = make_runtime(**options)
    if isinstance(made, LocalRuntime):
        assert isinstance(other, LocalRuntime)
        made._server = other._server
    return made


@asynccontextmanager
async def pair(make_runtime: MakeRuntime) -> AsyncIterator[tuple[Runtime, Runtime]]:
    first = make_runtime(node="first")
    second = beside(make_runtime, first, node="second")
    first._shared = second._shared = True
    async with first, second:
        yield first, second


async def serve(runtime: Runtime, *processors: Processor[Any]) -> None:
    """Register them, and have other nodes know it."""
    runtime.register(*processors)
    await runtime.sync_processors()


def of(found: list[NodeTree], node: str) -> NodeTree:
    (one,) = (one for one in found if one.node == node)
    return one


def outline(rows: list[TreeRow]) -> list[tuple[int, str, str, str]]:
    """Level, scope, name (a job's: its processor) and state of each row."""
    named = [(row, row.processor if row.scope == "job" else row.name) for row in rows]
    return [(row.level, row.scope, name, row.state) for row, name in named]


async def rows_of(runtime: Runtime, **asked: Any) -> list[TreeRow]:
    (found,) = (await runtime.control.tree(node=runtime.node_id, **asked)).nodes
    assert not found.silent
    assert not found.refusal
    return found.rows


# --- the tree -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\udcff", "x" * 2_000_000, Unspeakable()], ids=["half", "long", "raises"])
async def test_a_task_of_any_name_hides_no_node_from_the_tree(make_runtime, name: Any):
    @processor
    async def names(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(anyio.sleep_forever, name=name)
        return n

    async with make_runtime(shutdown_grace=0) as runtime:
        runtime.register(names)
        await runtime.submit(names, 1)
        nurseries = runtime.node.fleet.executor.invoker.nurseries
        await until(lambda: any(one.tasks for one in nurseries.values()))
        rows = await rows_of(runtime)
        (task,) = (row for row in rows if row.scope == "task")
        assert 0 < len(task.name.encode()) <= 200
        assert await runtime.control.stack(task.job) is not None


async def test_the_tree_of_one_node_shows_sessions_workers_jobs_and_their_tasks(make_runtime):
    gate = Gate(timeout=50)
    began = anyio.Event()

    async def in_the_background() -> None:
        await anyio.sleep_forever()

    @processor
    async def parent(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(in_the_background, name="watch")
        began.set()
        n = await ctx.call(gate.processor, n)
        ctx.nursery.cancel_scope.cancel()
        return n

    async with make_runtime() as runtime:
        runtime.register(parent, gate.processor)
        job = await runtime.submit(parent, 1, session="alice")
        alone = await runtime.submit(gate.processor, 2)
        await until(lambda: gate.running == 2 and began.is_set())
        await until(lambda: any(one.calls for one in runtime.node.claims.all()))
        rows = await rows_of(runtime)
        node = runtime.node_id
        found = outline(rows)
        assert found[:5] == [
            (0, "node", node, "open"),
            (1, "session", "", "open"),
            (2, "worker", "gated", "open"),
            (3, "job", "gated", "running"),
            (1, "session", "alice", "open"),
        ]
        calls = [
            (2, "worker", "parent", "open"),
            (3, "job", "parent", "calling"),
            (4, "task", "watch", "running"),
        ]
        called = [(2, "worker", "gated", "open"), (3, "job", "gated", "running")]
        assert found[5:] in (calls + called, called + calls)
        by_job = {row.job: row for row in rows if row.scope == "job"}
        calling, lone = by_job[job.id], by_job[alone.id]
        (child,) = (row for id, row in by_job.items() if id not in (job.id, alone.id))
        assert (calling.session, calling.jobs, calling.waits_for) == ("alice", 1, (child.job,))
        assert (lone.session, lone.timeout, lone.attempt) == ("", 50, 1)
        assert lone.left is not None
        assert 0 < lone.left <= 50
        assert lone.ran is not None
        assert lone.age is not None
        assert 0 <= lone.ran <= lone.age
        claim = runtime.node.claims.get(alone.id)
        assert claim is not None
        assert lone.token == claim.grant.token
        gate.go.set()
        await job.result()
        await alone.result()


async def test_a_page_is_bounded_and_leads_to_the_next(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=10))
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        jobs = [await runtime.submit(gate.processor, n, session=f"s{n}") for n in range(7)]
        await until(lambda: gate.running == 7)
        whole = await rows_of(runtime)
        found: list[TreeRow] = []
        offset: int | None = 0
        while offset is not None:
            (page,) = (await runtime.control.tree(node=runtime.node_id, offset=offset, limit=4)).nodes
            assert len(page.rows) <= 4
            found += page.rows
            offset = page.next
        assert [(row.scope, row.name) for row in found] == [(row.scope, row.name) for row in whole]
        assert len(whole) == 1 + 7 * 3
        gate.go.set()
        for job in jobs:
            await job.result()


async def test_a_page_ends_where_it_has_enough_bytes(make_runtime, monkeypatch):
    monkeypatch.setattr(tree, "PAGE_BYTES", 500)
    gate = Gate(queue=QueueOptions(concurrency=10))
    async with make_runtime() as runtime:
        runtime.register(gate.processor)
        jobs = [await runtime.submit(gate.processor, n, session="s" * 400 + str(n)) for n in range(3)]
        await until(lambda: gate.running == 3)
        (page,) = (await runtime.control.tree(node=runtime.node_id)).nodes
        assert page.next is not None
        assert len(page.rows) == page.next < 10
        gate.go.set()
        for job in jobs:
            await job.result()


async def test_it_is_narrowed_down_to_a_session_a_processor_a_job_and_a_depth(make_runtime):
    one, other = Gate("one"), Gate("other")
    async with make_runtime() as runtime:
        runtime.register(one.processor, other.processor)
        jobs = [
            await runtime.submit(one.processor, 1, session="alice"),
            await runtime.submit(other.processor, 2, session="alice"),
            await runtime.submit(one.processor, 3, session="bob"),
            await runtime.submit(one.processor, 4),
        ]
        await until(lambda: one.running + other.running == 4)

        async def names(**asked: Any) -> list[str]:
            return [
                row.name if row.scope != "job" else row.processor for row in await rows_of(runtime, **asked)
            ][1:]

        assert sorted(await names(session="alice")) == ["alice", "one", "one", "other", "other"]
        assert await names(session="") == ["", "one", "one"]
        assert await names(processor=other.processor) == ["alice", "other", "other"]
        assert await names(job=jobs[2]) == ["bob", "one", "one"]
        assert await names(job="no such job") == []
        assert await names(depth=0) == []
        assert await names(depth=1) == ["", "alice", "bob"]
        assert await names(depth=2, session="bob") == ["bob", "one"]
        one.go.set()
        other.go.set()
        for job in jobs:
            await job.result()


async def test_the_tree_of_all_nodes_has_a_part_of_each(make_runtime):
    gate = Gate()
    async with pair(make_runtime) as (first, second):
        await serve(second, gate.processor)
        job = await first.submit(gate.processor.name, 1)
        await until(lambda: gate.running)
        found = (await first.control.tree()).nodes
        assert [one.node for one in found] == sorted([first.node_id, second.node_id])
        assert not any(one.silent or one.refusal for one in found)
        assert outline(of(found, first.node_id).rows) == [(0, "node", first.node_id, "open")]
        assert [row.job for row in of(found, second.node_id).rows if row.scope == "job"] == [job.id]
        gate.go.set()
        await job.result()


@pytest.mark.trio
async def test_a_node_that_does_not_answer_is_silent_after_a_second_of_any_clock(autojump_clock):
    async with pair(LocalRuntime) as (first, second):
        second.node.inbox.on_message = lambda message: None  # type: ignore[method-assign]
        began = trio.current_time()
        found = (await first.control.tree()).nodes
        assert trio.current_time() - began == pytest.approx(asking.PATIENCE)
        assert (of(found, second.node_id).silent, of(found, first.node_id).silent) == (True, False)
        assert await first.control.stack("no such job") is None
        with pytest.raises(UnknownOutcomeError, match="is silent"):
            await first.control.drain_node(second.node_id)


# --- how questions are asked ----------------------------------------------------------------------


async def test_nothing_is_sent_while_nobody_asks_and_those_who_ask_the_same_share_it(make_runtime):
    async with pair(make_runtime) as (first, second):
        asked: list[Ask] = []
        real = second.node.control.on_ask

        def counted(ask: Ask) -> None:
            asked.append(ask)
            real(ask)

        second.node.control.on_ask = counted  # type: ignore[method-assign]
        await second.node.store.ping()
        assert asked == []
        found: list[list[NodeTree]] = []

        async def look() -> None:
            found.append((await first.control.tree()).nodes)

        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(look)
        assert len(found) == 20
        assert not any(one.silent for one in found[-1])
        assert len(asked) < 20
        before = len(asked)
        await first.control.tree()
        assert len(asked) == before + 1


async def test_who_asks_and_goes_away_does_not_spoil_it_for_the_others(make_runtime):
    async with make_runtime() as runtime:
        found: list[list[NodeTree]] = []
        async with anyio.create_task_group() as tasks:

            async def look() -> None:
                found.append((await runtime.control.tree()).nodes)

            async with anyio.create_task_group() as impatient:
                impatient.start_soon(look)
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(look)
                impatient.cancel_scope.cancel()
        assert not found[-1][0].silent


async def test_very_many_questions_wait_for_each_other(make_runtime, monkeypatch):
    monkeypatch.setattr(control, "MOST_OF_ONE", asking.MOST_UNDER_WAY)
    async with pair(make_runtime) as (first, second):
        silent: list[bool] = []

        async def look(n: int) -> None:
            (one,) = (await first.control.tree(node=second.node_id, offset=n)).nodes
            silent.append(one.silent)

        async with anyio.create_task_group() as tasks:
            for n in range(60):
                tasks.start_soon(look, n)
        assert silent == [False] * 60


async def test_an_asker_that_does_not_wait_is_not_heard_beyond_its_share(make_runtime, monkeypatch, caplog):
    async with pair(make_runtime) as (first, second):
        told: list[Told] = []
        monkeypatch.setattr(first.node.control.asking, "on_told", told.append)
        answering = second.node.control
        for n in range(200):
            answering.on_ask(Ask(str(n), first.node_id, "undrain"))
        answering.on_ask(Ask("another", "somebody", "undrain"))
        await until(lambda: len(told) == control.MOST_OF_ONE and not answering._line)
        assert [one.id for one in told] == [str(n) for n in range(control.MOST_OF_ONE)]
        assert caplog.text.count("asks more than it can wait for") == 1
        assert not answering._of
        assert not (await second.control.tree(node=first.node_id)).nodes[0].silent


@pytest.mark.parametrize(
    ("verb", "arguments", "why"),
    [
        ("no such verb", Nothing(), "does not know how to 'no such verb'"),
        ("", Nothing(), "does not know how to ''"),
        ("__init__", Nothing(), "does not know how to"),
        ("tree", ["x", None, None, 9], "not a TreeQuestion"),
        ("tree", {"session": "x"}, "not a TreeQuestion"),
        ("tree", [None, None, None, 4, -1], "not a TreeQuestion"),
        ("tree", [None, None, None, 4, 0, 201], "not a TreeQuestion"),
        ("tree", [None, None, None, True], "not a TreeQuestion"),
        ("stack", [], "not a StackQuestion"),
        ("stack", [5], "not a StackQuestion"),
        ("stack", ["x" * 5000], "not a StackQuestion"),
        ("drain", [-1.0], "not a Drain"),
        ("drain", ["now"], "not a Drain"),
        ("stop_worker", ["work", ""], "not a StopWorker"),
        ("cancel_task", ["j", "t"], "not a CancelTask"),
        ("tree", ["s" * MAX_ARGUMENTS_BYTES], "bytes, the limit is"),
        ("figures", 5, "not a Nothing"),
    ],
)
async def test_a_question_that_is_none_is_refused_with_why(make_runtime, verb, arguments, why):
    async with make_runtime() as runtime:
        ask = Ask("1", runtime.node_id, verb, msgspec.Raw(msgspec.msgpack.encode(arguments)))
        told = await runtime.node.control.answer(ask)
        assert why in told.refusal
        assert told.payload == msgspec.Raw(b"\xc0")
        assert len(told.refusal.encode()) <= 1024
        assert not runtime.node.control.draining.is_on


async def test_every_verb_that_is_listed_is_answered(make_runtime):
    async with make_runtime() as runtime:
        answering = runtime.node.control
        assert {*answering._verbs} == {*ARGUMENTS}


async def test_a_bug_in_an_answer_is_that_answers_alone(make_runtime, monkeypatch, caplog):
    async def fails(self: Any, asked: TreeQuestion) -> Any:
        raise ZeroDivisionError("in the walk")

    monkeypatch.setattr(tree.NodeTree, "page", fails)
    async with pair(make_runtime) as (first, second):
        (found,) = (await first.control.tree(node=second.node_id)).nodes
        assert found.refusal == "it has failed to answer; its log says how"
        assert "in the walk" in caplog.text
        assert await first.control.drain_node(second.node_id)


async def test_an_answer_that_is_too_large_is_a_refusal(make_runtime, monkeypatch):
    monkeypatch.setattr(control, "MAX_ANSWER_BYTES", 10)
    async with make_runtime() as runtime:
        (found,) = (await runtime.control.tree()).nodes
        assert "ask for less at a time" in found.refusal


async def test_there_is_no_such_node(make_runtime):
    async with make_runtime() as runtime:
        with pytest.raises(RuntimeStateError, match="there is no node 'nobody'"):
            await runtime.control.drain_node("nobody")
        assert (await runtime.control.tree(node="nobody")).nodes == [NodeTree(node="nobody", silent=True)]


# --- stacks ---------------------------------------------------------------------------------------


async def deep_down(secret: str, event: anyio.Event) -> None:
    await event.wait()  # here it waits


async def test_the_stack_of_a_job_names_the_lines_where_its_tasks_wait(make_runtime):
    go, waiting = anyio.Event(), anyio.Event()

    async def beside_it() -> None:
        await deep_down("a secret", go)

    @processor
    async def inner(n: int, ctx: Context) -> int:
        waiting.set()
        await deep_down("a secret", go)
        return n

    @processor
    async def outer(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(beside_it, name="beside")
        return await ctx.call(inner, n, inline=True)

    async with pair(make_runtime) as (first, second):
        await serve(second, outer, inner)
        job = await first.submit("outer", 1, session="alice")
        await waiting.wait()
        await anyio.lowlevel.checkpoint()
        stack = await first.control.stack(job)
        assert stack is not None
        assert (stack.node, stack.processor, stack.session) == (second.node_id, "outer", "alice")
        assert (stack.state, stack.more) == ("running", 0)
        own, task = stack.tasks
        assert [frame.function.rpartition(".")[2] for frame in own.frames] == ["outer", "inner", "deep_down"]
        assert [frame.function.rpartition(".")[2] for frame in task.frames] == ["beside_it", "deep_down"]
        assert (own.name, own.path, task.name, task.path) == ("outer", "", "beside", "1")
        assert {frame.file for frame in own.frames} == {__file__}
        assert own.frames[-1].text == "await event.wait()  # here it waits"
        assert own.frames[-1].line == task.frames[-1].line > 0
        assert "a secret" not in str(stack).replace('deep_down("a secret", go)', "")
        go.set()
        assert (await job.result()).unwrap() == 1
        assert await first.control.stack(job) is None


async def test_the_stack_of_a_plain_function_is_that_of_its_thread(make_runtime):
    go, waiting = threading.Event(), threading.Event()

    @processor
    def blocks(n: int) -> int:
        waiting.set()
        assert go.wait(20)  # in the thread
        return n

    async with make_runtime() as runtime:
        runtime.register(blocks)
        job = await runtime.submit(blocks, 1)
        await until(waiting.is_set)
        stack = await runtime.control.stack(job.id)
        assert stack is not None
        own, thread = stack.tasks
        assert own.frames == []
        assert (thread.kind, thread.name) == ("thread", "blocks")
        assert "assert go.wait(20)  # in the thread" in [frame.text for frame in thread.frames]
        go.set()
        await job.result()


async def test_the_stack_of_a_generator_in_the_midst_is_followed(make_runtime):
    go, waiting = anyio.Event(), anyio.Event()

    async def items() -> AsyncIterator[int]:
        waiting.set()
        await deep_down("", go)
        yield 1

    @processor
    async def collects(n: int) -> int:
        async for one in items():
            n += one
        return n

    async with make_runtime() as runtime:
        runtime.register(collects)
        job = await runtime.submit(collects, 1)
        await waiting.wait()
        await anyio.lowlevel.checkpoint()
        stack = await runtime.control.stack(job)
        assert stack is not None
        names = [frame.function.rpartition(".")[2] for frame in stack.tasks[0].frames]
        assert names == ["collects", "items", "deep_down"]
        go.set()
        assert (await job.result()).unwrap() == 2


async def test_very_many_tasks_are_counted_and_not_all_shown(make_runtime, monkeypatch):
    monkeypatch.setattr(stacks, "MOST_BYTES", 2000)
    go, waiting = anyio.Event(), anyio.Event()

    @processor
    async def many(n: int, ctx: Context) -> int:
        for _ in range(n):
            ctx.nursery.start_soon(deep_down, "", go)
        await anyio.lowlevel.checkpoint()
        waiting.set()
        return n

    async with make_runtime() as runtime:
        runtime.register(many)
        job = await runtime.submit(many, 150)
        await waiting.wait()
        stack = await runtime.control.stack(job)
        assert stack is not None
        assert stack.more > 0
        assert len(stack.tasks) + stack.more == 151
        go.set()
        await job.result()


# --- what is ordered ------------------------------------------------------------------------------


async def test_one_task_of_a_job_is_cancelled_and_the_job_goes_on(make_runtime):
    go, waiting = anyio.Event(), anyio.Event()
    ended: list[str] = []

    async def hangs(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append(name)

    @processor
    async def works(n: int, ctx: Context) -> int:
        ctx.nursery.start_soon(hangs, "a")
        ctx.nursery.start_soon(hangs, "b", name="the other")
        await anyio.lowlevel.checkpoint()
        waiting.set()
        await go.wait()
        ctx.nursery.cancel_scope.cancel()
        return n

    async with pair(make_runtime) as (first, second):
        await serve(second, works)
        job = await first.submit("works", 1)
        await waiting.wait()
        await anyio.lowlevel.checkpoint()
        (found,) = (await first.control.tree(node=second.node_id, job=job)).nodes
        row = next(row for row in found.rows if row.name == "the other")
        cancel = first.control.cancel_task
        assert not await cancel(second.node_id, job, "0000-stale", row.path)
        assert not await cancel(second.node_id, job, row.token, "99")
        assert not await cancel(first.node_id, job, row.token, row.path)
        assert ended == []
        assert await cancel(second.node_id, job, row.token, row.path)
        await until(lambda: ended == ["b"])
        assert not await cancel(second.node_id, job, row.token, row.path)
        go.set()
        assert (await job.result()).unwrap() == 1
        assert sorted(ended) == ["a", "b"]


async def test_a_sessions_worker_is_stopped_from_another_node(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=10))
    async with pair(make_runtime) as (first, second):
        await serve(second, gate.processor)
        hit = await first.submit("gated", 1, session="alice")
        spared = await first.submit("gated", 2, session="bob")
        await until(lambda: gate.running == 2)
        assert not await first.control.stop_worker(second.node_id, "gated", "carol")
        assert await first.control.stop_worker(second.node_id, gate.processor, "alice")
        result = await hit.result()
        assert type(result.error) is JobCancelledError
        assert "its worker was stopped" in str(result.error)
        assert gate.running == 1
        assert await first.control.stop_worker(second.node_id, "gated")
        assert not await first.control.stop_worker(second.node_id, "gated")
        gate.go.set()
        assert (await spared.result()).unwrap() == 2
        await until(lambda: not second.workers.has_worker("gated"))


async def test_a_drained_node_claims_nothing_and_lets_what_runs_end(make_runtime):
    gate = Gate(queue=QueueOptions(concurrency=1))
    async with pair(make_runtime) as (first, second):
        await serve(first, gate.processor)
        running = await second.submit("gated", 1)
        await until(lambda: gate.running == 1)
        assert await second.control.drain_node(first.node_id)
        assert not await second.control.drain_node(first.node_id)
        waiting = await second.submit("gated", 2)
        late = Gate("late")
        await serve(first, late.processor)
        also = await second.submit("late", 3)
        gate.go.set()
        late.go.set()
        assert (await running.result()).unwrap() == 1
        row, *_ = of((await second.control.tree()).nodes, first.node_id).rows
        assert (row.state, row.jobs, row.left) == ("draining", 0, None)
        await until_status(second, first.node_id, "draining")
        health = await second.control.health(first.node_id)
        assert (health.live, health.ready, [one.code for one in health.reasons]) == (
            True,
            False,
            ["draining"],
        )
        assert gate.runs == [1]
        assert late.runs == []
        # Another one that serves it takes what waits.
        await serve(second, gate.processor)
        assert (await waiting.result()).unwrap() == 2
        assert await second.control.undrain_node(first.node_id)
        assert not await second.control.undrain_node(first.node_id)
        assert (await also.result()).unwrap() == 3
        await until_status(second, first.node_id, "serving")


async def until_status(runtime: Runtime, node: str, status: str) -> None:
    with anyio.fail_after(30):
        while {one.id: one.status for one in await runtime.control.nodes()}.get(node) != status:
            await anyio.sleep(0.01)


async def test_a_grace_that_is_over_sends_what_runs_back_to_its_queue(make_runtime):
    gate = Gate()
    async with pair(make_runtime) as (first, second):
        await serve(first, gate.processor)
        job = await second.submit("gated", 1)
        await until(lambda: gate.running == 1)
        await second.control.drain_node(first.node_id, 0.01)
        await until(lambda: gate.cancelled == [1])
        await serve(second, gate.processor)
        gate.go.set()
        result = await job.result()
        assert result.unwrap() == 1
        assert result.metadata.attempt == 1
        assert gate.runs == [1, 1]


async def test_nodes_say_who_they_are(make_runtime):
    gate, other = Gate(queue=QueueOptions(concurrency=7)), Gate("other {x}/é")
    async with pair(make_runtime) as (first, second):
        await serve(second, gate.processor, other.processor)

        async def told() -> bool:
            found = {one.id: one for one in await first.control.nodes()}
            return found[second.node_id].served == 2

        with anyio.fail_after(30):
            while not await told():
                await anyio.sleep(0.01)
        found = {one.id: one for one in await first.control.nodes()}
        assert [*found] == sorted([first.node_id, second.node_id])
        one = found[second.node_id]
        assert (one.status, one.pid, one.claims, one.max_running) == ("serving", os.getpid(), 0, None)
        assert one.concurrency == {"gated": 7, other.name: other.processor.queue.concurrency}
        assert one.library in ("trio", "asyncio")
        assert one.host
        assert one.lease > 0
        left = second.node_id
    async with make_runtime() as runtime:
        assert left not in {one.id for one in await runtime.control.nodes()}


async def test_a_composition_is_seen_as_calling(make_runtime):
    gate = Gate()

    @processor
    async def step(n: int) -> int:
        return n

    composed = chain("composed", [step, gate.processor])
    async with make_runtime() as runtime:
        runtime.register(composed)
        job = await runtime.submit(composed, 1)
        await until(lambda: gate.running == 1)
        await until(lambda: any(one.calls for one in runtime.node.claims.all()))
        stack = await runtime.control.stack(job)
        assert stack is not None
        assert stack.state == "calling"
        (row,) = (row for row in await rows_of(runtime, job=job) if row.scope == "job")
        assert len(row.waits_for) == 1
        gate.go.set()
        await job.result()

"""Sessions as a state machine: opened, used, cancelled, stopped and opened anew on nodes that crash.

Hypothesis draws what happens next and on which node. In memory the clock is virtual and nothing else
moves, so a failure shrinks to a few steps; on Redis each node has a network of its own, which ends
when the node crashes. Two processors add one to the session's state, so at the end it says how many
effects there were: each that a caller was told of, and none twice. What was running when a session
was stopped does not run when the stop has returned; in the end nothing is left but the states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import trio
import trio.testing
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from am2z_trio import (
    Context,
    JobCancelledError,
    LocalRuntime,
    Processor,
    QueueOptions,
    QueueRuntime,
    RuntimeStateError,
    SessionStoppedError,
    processor,
)
from am2z_trio.engine.node import node as node_module
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.ids import chosen_id
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.memory.store import MemoryStore
from am2z_trio.store.ports import Store
from am2z_trio.store.redis.keys import anchor
from tests.chaos.faults import FaultProxy, Refuse, open_fault_proxy
from tests.support.servers import RedisProcess

SESSIONS = ["a", "a_b"]
NODES = ["n0", "n1", "n2"]


KINDS = [
    "execute",
    "execute long",
    "submit",
    "open",
    "close",
    "fail",
    "cancel a caller",
    "cancel a job",
    "let go",
    "stop",
    "stop with grace",
    "begin to stop",
    "time passes",
    "start",
    "crash",
]
"""Such as need somebody to happen to are left out where there is nobody."""

Step = tuple[str, int, str, bool]
"""What, to whom of those there are, in which session, and whether all goes on before the next."""

PROGRAMS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 3), st.sampled_from(SESSIONS), st.booleans()),
    min_size=3,
    max_size=40,
)


IDLE = st.sampled_from([0, 0.07])
"""Seconds for which a session stays that has nothing to do."""


class BoomError(Exception):
    """What fails a session's block."""


# --- two kinds of clusters ------------------------------------------------------------------------


class MortalStore(MemoryStore):
    """A memory store whose node can die: from then on it answers nothing and nothing reaches it."""

    dead = False

    async def _checkpoint(self) -> None:
        if self.dead:
            await trio.sleep_forever()
        await super()._checkpoint()

    def cancel_nowait(self, job: str, reason: str) -> None:
        if not self.dead:
            super().cancel_nowait(job, reason)

    def die(self) -> None:
        self.dead = True
        self._server.outbox.disconnect(self._node)


class MortalRuntime(LocalRuntime):
    def __init__(self, server: MemoryServer, idle: float) -> None:
        super().__init__(shutdown_grace=0.1, session_idle=idle)
        self._server = server
        self.store: MortalStore | None = None

    @asynccontextmanager
    async def _open_store(self, node: str) -> AsyncIterator[Store]:
        self.store = MortalStore(node, self._server)
        yield self.store


class Memory:
    """Nodes on one server in memory; time is virtual."""

    def __init__(self, idle: float) -> None:
        self.server = MemoryServer()
        self.idle = idle

    @asynccontextmanager
    async def node(self, ruin: list[Callable[[], Any]]) -> AsyncIterator[Runtime]:
        runtime = MortalRuntime(self.server, self.idle)
        async with runtime:
            assert runtime.store is not None
            ruin.append(runtime.store.die)
            yield runtime

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        await trio.testing.wait_all_tasks_blocked()
        assert condition(), what

    def left(self) -> list[str]:
        return [
            *self.server.ledger.live,
            *self.server.ledger.stopping,
            *self.server.held.nodes(),
        ]


class Real:
    """Nodes on Redis, each behind a proxy of its own."""

    def __init__(self, server: RedisProcess, idle: float) -> None:
        self.server = server
        self.idle = idle

    @asynccontextmanager
    async def node(self, ruin: list[Callable[[], Any]]) -> AsyncIterator[Runtime]:
        async with AsyncExitStack() as stack:
            proxy: FaultProxy = await stack.enter_async_context(open_fault_proxy(self.server.url))

            async def cut_off() -> None:
                proxy.set(Refuse())
                await proxy.reset_all()

            ruin.append(cut_off)
            runtime = QueueRuntime(proxy.url, shutdown_grace=0.1, session_idle=self.idle)
            yield await stack.enter_async_context(runtime)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        with trio.move_on_after(10):
            while not condition():
                await trio.sleep(0.002)
        assert condition(), what

    def left(self) -> list[str]:
        with self.server.client() as admin:
            found = [key.decode() for key in admin.scan_iter(match="*")]
        base = f"{anchor('am2z')}:"
        states = {f"{base}session:{session}{of}" for session in SESSIONS for of in ("", ":receipts")}
        of_sessions = [
            key
            for key in found
            # Records of jobs that have ended are there for whoever asks for their ids.
            if not key.startswith(f"{base}job:")
            and ("session" in key or ":lock:" in key or "@" in key or ":ready" in key)
        ]
        return [key for key in of_sessions if key not in states] + [key for key in found if ":active" in key]


# --- the machine ----------------------------------------------------------------------------------


class Node:
    """One node, as a task that can be killed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.runtime: Runtime | None = None
        self.scope = trio.CancelScope()
        self.tasks: trio.Nursery | None = None
        self.ruin: list[Callable[[], Any]] = []


class Block:
    """A session that is held open by a block."""

    def __init__(self, node: Node, session: str) -> None:
        self.node = node
        self.session = session
        self.leave = trio.Event()
        self.fails = False
        self.open = False


class Caller:
    """Somebody who waits for a job."""

    def __init__(self, node: Node, job: str, scope: trio.CancelScope) -> None:
        self.node = node
        self.job = job
        self.scope = scope


class Body:
    """A processor's code, running."""

    def __init__(self, ctx: Context) -> None:
        self.node = ctx.meta.node
        self.session = ctx.session_id or ""
        self.job = ctx.execution_id


class Machine:
    def __init__(self, cluster: Memory | Real) -> None:
        self.cluster = cluster
        self.nodes: dict[str, Node] = {}
        self.blocks: list[Block] = []
        self.callers: list[Caller] = []
        self.jobs: list[Any] = []
        self.bodies: set[Body] = set()
        self.sure, self.maybe = Counter[str](), Counter[str]()
        self.busy = 0
        self.calls = 0
        self.gate = trio.Event()
        self.processors: list[Processor[int]] = [*self._processors()]

    def _processors(self) -> Iterator[Processor[int]]:
        @processor(queue=QueueOptions(concurrency=4))
        async def add(n: int) -> int:
            await trio.lowlevel.checkpoint()
            return n + 1

        @processor(queue=QueueOptions(concurrency=4))
        async def hold(n: int, ctx: Context) -> int:
            body = Body(ctx)
            self.bodies.add(body)
            try:
                await self.gate.wait()
            finally:
                self.bodies.discard(body)
            return n + 1

        yield from (add, hold)

    async def run(self, program: list[Step]) -> None:
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            await self._start("n0")
            await self._start("n1")
            for session in SESSIONS:
                await self._some_runtime().state.set(session, 0)
            for step in program:
                await self._next(*step)
            await self._end()
            nursery.cancel_scope.cancel()

    async def _next(self, kind: str, index: int, session: str, all_goes_on: bool) -> None:
        alive = list(self.nodes.values())
        whom: dict[str, list[Any]] = {
            "close": self.blocks,
            "fail": self.blocks,
            "cancel a caller": self.callers,
            "cancel a job": self.jobs,
            "let go": [None],
            "time passes": [None],
            "start": [name for name in NODES if name not in self.nodes],
            "crash": alive if len(alive) > 1 else [],
        }
        among = whom.get(kind, alive)
        if among:
            await getattr(self, "_" + kind.replace(" ", "_"))(among[index % len(among)], session)
        if all_goes_on:
            await trio.testing.wait_all_tasks_blocked()

    # --- what may happen --------------------------------------------------------------------

    async def _start(self, name: str, _: str = "") -> None:
        node = self.nodes[name] = Node(name)
        await self.nursery.start(self._live, node)

    async def _live(self, node: Node, *, task_status: Any) -> None:
        with node.scope:
            async with self.cluster.node(node.ruin) as runtime, trio.open_nursery() as node.tasks:
                runtime.register(*self.processors)
                node.runtime = runtime
                task_status.started()
                await trio.sleep_forever()

    async def _crash(self, node: Node, _: str) -> None:
        del self.nodes[node.name]
        self.blocks = [block for block in self.blocks if block.node is not node]
        self.callers = [caller for caller in self.callers if caller.node is not node]
        for ruin in node.ruin:
            if (answer := ruin()) is not None:
                await answer
        node.scope.cancel()

    @contextmanager
    def _task(self) -> Iterator[None]:
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1

    async def _execute(self, node: Node, session: str) -> None:
        assert node.tasks is not None
        node.tasks.start_soon(self._call, node, session, self.processors[0])

    async def _execute_long(self, node: Node, session: str) -> None:
        assert node.tasks is not None
        node.tasks.start_soon(self._call, node, session, self.processors[1])

    async def _call(self, node: Node, session: str, which: Processor[int]) -> None:
        assert node.runtime is not None
        self.maybe[session] += 1
        self.calls += 1
        job = f"call {self.calls}"
        with self._task(), trio.CancelScope() as scope:
            caller = Caller(node, chosen_id(job, session), scope)
            self.callers.append(caller)
            try:
                result = await node.runtime.execute(which, session=session, job_id=job)
            finally:
                if caller in self.callers:
                    self.callers.remove(caller)
            if result.success:
                self.maybe[session] -= 1
                self.sure[session] += 1
            elif isinstance(result.error, JobCancelledError):
                self.maybe[session] -= 1
            else:
                assert isinstance(result.error, RuntimeStateError), result.error

    async def _submit(self, node: Node, session: str) -> None:
        assert node.tasks is not None
        node.tasks.start_soon(self._submitting, node, session)

    async def _submitting(self, node: Node, session: str) -> None:
        assert node.runtime is not None
        self.maybe[session] += 1
        with self._task():
            try:
                self.jobs.append(await node.runtime.submit(self.processors[1], session=session))
            except (SessionStoppedError, RuntimeStateError):
                self.maybe[session] -= 1

    async def _cancel_a_job(self, job: Any, _: str) -> None:
        self.jobs.remove(job)
        await self._some_runtime().node.store.cancel(job.id, "by the test")
        await self._no_longer(lambda body: body.job == job.id)

    async def _cancel_a_caller(self, caller: Caller, _: str) -> None:
        caller.scope.cancel()
        await self._no_longer(lambda body: body.job == caller.job)

    async def _no_longer(self, which: Callable[[Body], bool]) -> None:
        """Such code does not run on any node that is alive."""
        alive = {node.runtime.node_id for node in self.nodes.values() if node.runtime is not None}
        await self.cluster.until(
            lambda: not any(which(body) and body.node in alive for body in self.bodies), "it runs on"
        )

    async def _open(self, node: Node, session: str) -> None:
        assert node.tasks is not None
        block = Block(node, session)
        self.blocks.append(block)
        node.tasks.start_soon(self._hold_open, block)

    async def _hold_open(self, block: Block) -> None:
        assert block.node.runtime is not None
        with self._task():
            try:
                async with block.node.runtime.session(block.session):
                    block.open = True
                    await block.leave.wait()
                    if block.fails:
                        raise BoomError
            except (BoomError, SessionStoppedError, RuntimeStateError):
                pass
            finally:
                if block in self.blocks:
                    self.blocks.remove(block)

    async def _close(self, block: Block, _: str) -> None:
        block.leave.set()

    async def _fail(self, block: Block, _: str) -> None:
        block.fails = True
        block.leave.set()

    async def _let_go(self, _: None, __: str) -> None:
        self.gate.set()
        self.gate = trio.Event()

    async def _stop(self, node: Node, session: str) -> None:
        await self._stopping(node, session, 0)

    async def _stop_with_grace(self, node: Node, session: str) -> None:
        await self._stopping(node, session, 0.05)

    async def _begin_to_stop(self, node: Node, session: str) -> None:
        """Somebody stops it, and does not wait for it."""
        assert node.runtime is not None
        with trio.CancelScope() as scope:
            scope.cancel()
            await node.runtime.stop_session(session, 1)

    async def _stopping(self, node: Node, session: str, grace: float) -> None:
        assert node.runtime is not None
        before = {body for body in self.bodies if body.session == session}
        held = {block for block in self.blocks if block.session == session and block.open}
        await node.runtime.stop_session(session, grace)
        here = node.runtime.node_id
        assert not [body for body in before & self.bodies if body.node == here], "it runs on here"
        await self._no_longer(before.__contains__)
        await self.cluster.until(lambda: held.isdisjoint(self.blocks), "a block holds it open")

    async def _time_passes(self, _: None, __: str) -> None:
        await trio.sleep(0.05)

    # --- the end ----------------------------------------------------------------------------

    def _some_runtime(self) -> Runtime:
        runtime = next(iter(self.nodes.values())).runtime
        assert runtime is not None
        return runtime

    async def _end(self) -> None:
        """Everybody comes to an end, nothing is left, and the states say what has happened."""
        self.gate.set()
        for block in self.blocks:
            block.leave.set()
        left: Any = None
        with trio.move_on_after(60):
            # A stop that nobody has waited for goes on by itself.
            while left := await self._under_way() or self.cluster.left():
                await trio.sleep(0.01)
        assert not left, f"never at its end: {left}"
        for node in self.nodes.values():
            # A stop that nobody waits for goes on in steps.
            assert node.runtime is not None
            await node.runtime.node.stops.wait_idle()
        assert not self.bodies
        for session in SESSIONS:
            found = await self._some_runtime().state.get(session, int)
            assert found is not None
            note(f"{session}: {found.state}, surely {self.sure[session]}, perhaps {self.maybe[session]} more")
            assert self.sure[session] <= found.state <= self.sure[session] + self.maybe[session]
            assert found.version == found.state + 1

    async def _under_way(self) -> dict[str, Any]:
        runtime = self._some_runtime()
        stats = [n.runtime.get_stats() for n in self.nodes.values() if n.runtime is not None]
        queues = await runtime.get_queue_stats()
        found = {
            "tasks": self.busy,
            "claimed": sum(s.claimed for s in stats),
            "jobs": {name: q for name, q in queues.items() if q.waiting or q.active or q.delayed},
            "sessions": await runtime.get_active_sessions(),
        }
        return {name: value for name, value in found.items() if value}


EXAMPLES = settings(
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)


@settings(EXAMPLES, max_examples=300)
@given(PROGRAMS, IDLE)
def test_sessions_in_memory(program, idle):
    async def main() -> None:
        with trio.fail_after(3_600):
            await Machine(Memory(idle)).run(program)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_sessions_on_redis(redis_server, monkeypatch):
    # A crashed node says nothing more; it needs no time for that.
    monkeypatch.setattr(node_module, "SIGN_OFF_TIMEOUT", 0.02)

    @settings(EXAMPLES, max_examples=60)
    @given(PROGRAMS, IDLE)
    def survives(program: list[Step], idle: float) -> None:
        redis_server.call("FLUSHALL")

        async def main() -> None:
            with trio.fail_after(90):
                await Machine(Real(redis_server, idle)).run(program)

        trio.run(main)

    survives()

"""The state manager and its locks under every order of events that hypothesis can think of.

Real managers of two nodes over the executable specification. Every request and every reply waits at a
gate until hypothesis lets it through; it may lose a reply, so that the request is sent again, let a
request arrive once more much later, cancel a caller, or let time pass. The clock is virtual, nothing else
moves, so a failure shrinks to a few lines. The answers are recorded and checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from am2z_trio.engine.states.access import NodeStates
from am2z_trio.model.errors import LockLostError, StateConflictError
from am2z_trio.model.records import StateRecord, StateWrite, WriteAnswer
from am2z_trio.store.memory.locks import Locks
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.memory.states import States
from am2z_trio.testing.certificate import certify
from am2z_trio.testing.history import Recorder
from am2z_trio.testing.linearizability import check
from am2z_trio.testing.models import LockedState, VersionedState
from am2z_trio.testing.operations import (
    Acquire,
    Add,
    Delete,
    Granted,
    LockedWrite,
    Read,
    Refused,
    Release,
    Seen,
    Updated,
    Write,
    Wrote,
)
from tests.linearizability.gate import Gate, GatedNode

TICKS = 1_000
"""Ticks of the history's clock per virtual millisecond: events of one instant stay in order."""
LEASE = 0.05


class World:
    """Two nodes, three clients, and whoever decides what happens next."""

    def __init__(self, data: st.DataObject, kinds: str = "lose wait again cancel") -> None:
        """`kinds`: what may happen besides that something goes through."""
        self.data = data
        self.kinds = kinds.split()
        self.server = MemoryServer()
        self.gate = Gate()
        self.recorder = Recorder(self.now)
        self.events = 0
        self.busy = 0
        self.value = 0
        self.cancelled = False
        self.lost_since = -1
        """When the server last forgot something: what returned before may never have happened."""

    def now(self) -> int:
        self.events += 1
        return round(trio.current_time() * 1000) * TICKS + min(self.events % TICKS, TICKS - 1)

    def run(self, programs: list[list[str]]) -> None:
        trio.run(self._main, programs, clock=trio.testing.MockClock())

    async def _main(self, programs: list[list[str]]) -> None:
        nodes = [GatedNode(name, self.server, self.gate) for name in ("n1", "n2")]
        scopes: dict[str, trio.CancelScope] = {}
        async with trio.open_nursery() as nursery:
            for index, program in enumerate(programs):
                self.busy += 1
                nursery.start_soon(self._client, f"c{index}", nodes[index % 2], program, scopes)
            for _ in range(self.data.draw(st.integers(0, 40), label="steps that may go wrong")):
                await trio.testing.wait_all_tasks_blocked()
                if not self.busy:
                    break
                self._next(scopes)
            for _ in range(3_000):
                # Faults are over: everything goes through, and everybody must come to an end.
                await trio.testing.wait_all_tasks_blocked()
                if not self.busy:
                    break
                if self.gate.parked:
                    self.gate.parked[0].go()
                else:
                    self._clock().jump(0.02)
            stuck = self.busy > 0
            nursery.cancel_scope.cancel()
        assert not stuck, "somebody waits for ever"
        with self.recorder.call("in the end", "s", Read()) as pending:
            left = self.server.states.read("s", trio.current_time() * 1000)
            pending.returned(Seen(left.version, msgspec.msgpack.decode(left.blob) if left.blob else None))

    @staticmethod
    def _clock() -> trio.testing.MockClock:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        return clock

    def _next(self, scopes: dict[str, trio.CancelScope]) -> None:
        """Hypothesis decides. Its simplest choice is to let the oldest go through."""
        kinds: dict[str, list[tuple[str, Callable[[], object]]]] = {
            "go": [(p.name, p.go) for p in self.gate.parked],
            "lose": [(f"lost: {p.name}", p.lose) for p in self.gate.parked if p.lose is not None],
            "wait": [
                ("time passes", lambda: self._clock().jump(0.02)),
                ("a lease passes", lambda: self._clock().jump(LEASE + 0.01)),
            ],
            "again": [(f"again: {name}", apply) for name, apply in self.gate.late[-3:]],
        }
        if not self.cancelled:
            # Once: a caller that waits for ever must not be saved by being cancelled.
            kinds["cancel"] = [(f"cancel {name}", scope.cancel) for name, scope in scopes.items()]
        if self.lost_since < 0:
            kinds["forget"] = [("the server forgets its last write", self._roll_back)]
        # Most steps go through: a run in which little happens finds little.
        choices = [kind for kind in ("go", "go", "go", *self.kinds) if kinds.get(kind)]
        kind = self.data.draw(st.sampled_from(choices), label="kind")
        name, step = kinds[kind][self.data.draw(st.integers(0, len(kinds[kind]) - 1), label="which")]
        note(name)
        self.cancelled = self.cancelled or kind == "cancel"
        step()

    def snapshot(self) -> None:
        self.saved = copy.deepcopy(self.server.states._sessions)

    def _roll_back(self) -> None:
        self.server.states._sessions = copy.deepcopy(self.saved)
        self.lost_since = self.now()

    # --- clients ----------------------------------------------------------------------------

    async def _client(
        self, name: str, node: GatedNode, program: list[str], scopes: dict[str, trio.CancelScope]
    ) -> None:
        try:
            for what in program:
                with trio.CancelScope() as scope:
                    scopes[name] = scope
                    await getattr(self, f"_{what}")(name, node)
                scopes.pop(name, None)
        finally:
            self.busy -= 1

    async def _get(self, name: str, node: GatedNode) -> None:
        with self.recorder.call(name, "s", Read()) as pending:
            found = await node.manager.get("s", int)
            pending.returned(Seen(-1, None) if found is None else Seen(found.version, found.state))

    async def _set(self, name: str, node: GatedNode) -> None:
        self.value += 10
        with self.recorder.call(name, "s", Write(self.value)) as pending:
            pending.returned(Wrote((await node.manager.set("s", self.value)).version))

    async def _add(self, name: str, node: GatedNode) -> None:
        with self.recorder.call(name, "s", Add(1)) as pending:
            done = await node.manager.update("s", lambda n: (n or 0) + 1, type=int)
            pending.returned(Updated(done.version, done.state))

    async def _delete(self, name: str, node: GatedNode) -> None:
        with self.recorder.call(name, "s", Delete()) as pending:
            pending.returned(Wrote(-1) if await node.manager.delete("s") else Seen(-1, None))

    async def _locked(self, name: str, node: GatedNode) -> None:
        lease = round(LEASE * 1000) * TICKS
        with self.recorder.call(name, "s", Acquire(lease)) as pending:
            manager = node.manager.lock("s", lease=LEASE)
            lock = await manager.__aenter__()
            pending.returned(Granted(lock.fencing))
        try:
            self.value += 10
            call = LockedWrite(lock.fencing, self.value)
            with self.recorder.call(name, "s", call) as pending:
                try:
                    pending.returned(Wrote(await lock.write(self.value)))
                except LockLostError:
                    pending.returned(Refused())
        except BaseException as error:
            self._release(name, lock.fencing)
            try:
                swallowed = await manager.__aexit__(type(error), error, error.__traceback__)
            except LockLostError:
                return
            if not swallowed:
                raise
        else:
            self._release(name, lock.fencing)
            try:
                await manager.__aexit__(None, None, None)
            except LockLostError:
                return

    def _release(self, name: str, fence: int) -> None:
        """A lock is given back without waiting for an answer: it happens some time, or never."""
        with self.recorder.call(name, "s", Release(fence)):
            pass


PROGRAMS = st.lists(
    st.lists(st.sampled_from(["get", "add", "set", "delete"]), min_size=1, max_size=3),
    min_size=2,
    max_size=3,
)
LOCKING = st.lists(
    st.lists(st.sampled_from(["locked", "locked", "get"]), min_size=1, max_size=2), min_size=2, max_size=3
)
FORGETTING = st.just([["set", "add"], ["get", "set"]])
QUICK = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def explore(data: st.DataObject, programs: list[list[str]]) -> None:
    world = World(data)
    world.run(programs)
    check(world.recorder.history, VersionedState()).assert_ok()
    certify(world.recorder.history).assert_ok()


def explore_locks(data: st.DataObject, programs: list[list[str]]) -> None:
    world = World(data)
    world.run(programs)
    check(world.recorder.history, LockedState(slack=TICKS)).assert_ok()


def explore_late_locks(data: st.DataObject, programs: list[list[str]]) -> None:
    """Nothing is lost and nobody cancelled; leases pass, and writes arrive late."""
    world = World(data, "wait again again")
    world.run(programs)
    check(world.recorder.history, LockedState(slack=TICKS)).assert_ok()


def explore_rollback(data: st.DataObject, programs: list[list[str]]) -> None:
    """A server that forgot its tail: what was acknowledged before may be gone, and nothing else."""
    world = World(data, "lose wait forget")
    world.snapshot()
    world.run(programs)
    history = [
        msgspec.structs.replace(o, returned=None, result=None) if o.invoked < world.lost_since else o
        for o in world.recorder.history
    ]
    check(history, VersionedState()).assert_ok()


@QUICK
@given(st.data(), PROGRAMS)
def test_states_are_linearizable_in_any_order_of_events(data, programs):
    explore(data, programs)


@QUICK
@given(st.data(), LOCKING)
def test_locks_are_linearizable_in_any_order_of_events(data, programs):
    explore_locks(data, programs)


@QUICK
@given(st.data(), PROGRAMS | FORGETTING)
def test_a_server_that_forgot_its_tail_is_not_built_upon(data, programs):
    explore_rollback(data, programs)


# --- mutants --------------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def on_write(change: Callable[[StateWrite], StateWrite]) -> Patch:
    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        real = States.write

        def write(self: States, node: str, write: StateWrite, now: float) -> WriteAnswer:
            return real(self, node, change(write), now)

        monkeypatch.setattr(States, "write", write)

    return patch


def without_compare(write: StateWrite) -> StateWrite:
    return msgspec.structs.replace(write, expected=None)


def without_lock(write: StateWrite) -> StateWrite:
    return msgspec.structs.replace(write, lock="")


_fresh_numbers = iter(range(10**6, 10**9))


def with_a_new_number(write: StateWrite) -> StateWrite:
    """As if every copy were a new write."""
    return msgspec.structs.replace(write, seq=next(_fresh_numbers))


def version_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StateRecord, "mark", property(lambda self: (self.version, "")))


def stale_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    real, caches = GatedNode.read, WeakKeyDictionary[GatedNode, dict[str, Any]]()

    async def read(self: GatedNode, session: str) -> Any:
        cache = caches.setdefault(self, {})
        if session not in cache:
            cache[session] = await real(self, session)
        return cache[session]

    monkeypatch.setattr(GatedNode, "read", read)


def conflict_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a conflict the same value is written again, on what is there now."""
    real = NodeStates.write

    async def write(self: NodeStates, session: str, blob: bytes, **options: Any) -> WriteAnswer:
        answer = await real(self, session, blob, **options)
        while answer.status == "conflict" and answer.current is not None:
            options["expected"] = answer.current.mark
            answer = await real(self, session, blob, **options)
        return answer

    monkeypatch.setattr(NodeStates, "write", write)


def reset_on_delete(monkeypatch: pytest.MonkeyPatch) -> None:
    real = States.write

    def write(self: States, node: str, write: StateWrite, now: float) -> WriteAnswer:
        answer = real(self, node, write, now)
        if not write.blob and answer.status == "applied":
            self._sessions.pop(write.session, None)
        return answer

    monkeypatch.setattr(States, "write", write)


def lost_answer_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that arrives again is compared again: its own success makes it fail."""
    real = States.write

    def write(self: States, node: str, write: StateWrite, now: float) -> WriteAnswer:
        found = self._sessions.get(write.session)
        if found is not None:
            found.receipts.pop(node, None)
        return real(self, node, write, now)

    monkeypatch.setattr(States, "write", write)


def two_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Locks.acquire

    def acquire(self: Locks, node: str, session: str, token: str, lease: float, now: float) -> Any:
        self._locks.pop(session, None)
        return real(self, node, session, token, lease, now)

    monkeypatch.setattr(Locks, "acquire", acquire)


def waiter_trusts_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a lock waits for the message alone, which may be lost."""
    real = Locks.acquire

    def acquire(self: Locks, node: str, session: str, token: str, lease: float, now: float) -> Any:
        answer = real(self, node, session, token, lease, now)
        return msgspec.structs.replace(answer, wait=10**9) if answer.fence is None else answer

    monkeypatch.setattr(Locks, "acquire", acquire)


MUTANTS: dict[str, tuple[Patch, Callable[..., None], Any]] = {
    "write without compare": (on_write(without_compare), explore, PROGRAMS),
    "compare on version only, with rollback": (version_only, explore_rollback, FORGETTING),
    "version reset on delete": (reset_on_delete, explore, PROGRAMS),
    "a write sent again is a new write": (on_write(with_a_new_number), explore, PROGRAMS),
    "a lost answer is reported as a conflict": (lost_answer_is_a_conflict, explore, PROGRAMS),
    "reads from a cache": (stale_cache, explore, PROGRAMS),
    "a conflict is overwritten": (conflict_ignored, explore, PROGRAMS),
    "a locked write without the token": (
        on_write(without_lock),
        explore_late_locks,
        st.just([["locked"], ["locked"]]),
    ),
    "two holders": (two_holders, explore_locks, LOCKING),
    "a waiter that trusts the message alone": (
        waiter_trusts_the_message,
        explore_locks,
        st.just([["locked"], ["locked"]]),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_mutant_dies(name, monkeypatch, request):
    patch, explored, programs = MUTANTS[name]
    patch(monkeypatch)
    # That it dies is enough; how it dies is shrunk for who asks: that takes minutes on a busy machine.
    shown = request.config.getoption("--mutant") == name
    phases = [Phase.generate, Phase.shrink] if shown else [Phase.generate]

    @settings(
        QUICK, max_examples=2_000, derandomize=True, database=None, report_multiple_bugs=False, phases=phases
    )
    @given(st.data(), programs)
    def survives(data, programs):
        explored(data, programs)

    with pytest.raises((AssertionError, StateConflictError)) as found:
        survives()
    if shown:
        print("\n".join(getattr(found.value, "__notes__", [])), found.value)

"""Samples of both stores, step by step: whatever is flushed, whenever, and however often it comes again."""

from __future__ import annotations

from typing import Any

import redis as redis_py
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from am2z_trio.model.records.samples import QueueFigures
from am2z_trio.store.agreed import PERIOD, SLOT, SLOTS_KEPT
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.store.ports import StoreSettings
from am2z_trio.store.ports.samples import Width
from benchmarks.scripts.probe import drive
from tests.chaos.auditor import audit
from tests.support.blocking import BlockingClient, blocking_store

NODES = ("a", "b")
FIGURES = st.dictionaries(st.sampled_from([0, 1, 14, 20, 44, 74]), st.integers(1, 10**9), max_size=3)
TOLD = st.lists(st.builds(QueueFigures, st.sampled_from(["p", "q"]), FIGURES), min_size=1, max_size=2)
STEPS = st.sampled_from([0.001, SLOT - 0.001, SLOT, 3 * SLOT, PERIOD, 2 * PERIOD, SLOTS_KEPT, -SLOT, -PERIOD])


class SampleMachine(RuleBasedStateMachine):
    connection: redis_py.Redis

    def __init__(self) -> None:
        super().__init__()
        self.connection.flushall()
        self.now = 1_700_000_000_000
        self.server = MemoryServer()
        client = BlockingClient(self.connection)
        self.stores = {
            node: blocking_store(client, node, StoreSettings(), lambda: self.now) for node in NODES
        }
        self.calls: dict[str, list[list[QueueFigures]]] = {node: [] for node in NODES}
        self.made: dict[str, list[int]] = {node: [] for node in NODES}

    @rule(seconds=STEPS)
    def time_passes(self, seconds: float) -> None:
        self.now += round(seconds * 1000)

    @rule(node=st.sampled_from(NODES), told=TOLD)
    def flush(self, node: str, told: list[QueueFigures]) -> None:
        self.calls[node].append(told)
        self.made[node].append(self.now)
        self._flush(node, len(self.calls[node]))

    @rule(node=st.sampled_from(NODES), back=st.integers(0, 2))
    def flush_again(self, node: str, back: int) -> None:
        # Nobody sends a call again a day later.
        if len(self.calls[node]) > back and self.now - self.made[node][-1 - back] < SLOTS_KEPT * 1000:
            self._flush(node, len(self.calls[node]) - back)

    def _flush(self, node: str, seq: int) -> None:
        told = self.calls[node][seq - 1]
        self.server.samples.flush(node, seq, told, self.now)
        drive(self.stores[node].samples.flush(seq, told))

    @invariant()
    def both_say_the_same(self) -> None:
        for queue in ("p", "q"):
            asked: list[tuple[Width, float]] = [("slot", 1e9), ("period", 1e9), ("slot", 60.0)]
            for width, within in asked:
                expected: Any = self.server.samples.read(queue, width, within, 0, 100, self.now)
                assert drive(self.stores["a"].samples.read(queue, width, within, 0, 100)) == expected

    @invariant()
    def the_auditor_finds_nothing(self) -> None:
        assert audit(self.connection, known_since_ever=False) == []


def test_both_stores_add_up_the_same(redis_server):
    with redis_server.client() as connection:
        SampleMachine.connection = connection
        run_state_machine_as_test(
            SampleMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
        )


def test_an_hour_of_a_busy_queue_takes_little_room(redis_server, redis_url):
    """An entry of a usual slot: what a thousand jobs leave behind in it."""
    now = [1_700_000_000_000]
    with redis_server.client() as connection:
        store = blocking_store(BlockingClient(connection), "a", StoreSettings(), lambda: now[0])
        for seq in range(1, 362):
            usual = {0: 1000, 1: 998, 2: 2, 14: 4_000_000, 15: 90_000_000, 21: 700, 22: 300, 57: 400, 58: 600}
            drive(store.samples.flush(seq, [QueueFigures("q", usual)]))
            now[0] += 10_000
        used = int(connection.memory_usage("{am2z:0}:q:q:samples", samples=0) or 0)
        assert connection.xlen("{am2z:0}:q:q:samples") == 360
        # 33 bytes of figures, and what the server keeps of an entry beside.
        assert used / 360 < 80

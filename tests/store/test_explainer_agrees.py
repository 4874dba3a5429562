"""The explainer never disagrees with the next claim: machines of store operations bring both stores to
whatever states these lead to; what is said of every job that waits is then held against what a claim does, by
a node that has room for all of them. Both stores know the same facts.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from am2z_trio.model.options import QueueOptions, RateLimit
from am2z_trio.model.records import UNLIMITED, QueueInfo, QueueLimits
from am2z_trio.policy.diagnosis import diagnose
from benchmarks.scripts.probe import drive
from tests.store.test_stateful import (
    EXAMPLES,
    IDS,
    LIMITS,
    NO_EXPLAIN,
    NODES,
    QUEUES,
    CallMachine,
    LimitsMachine,
    SessionMachine,
    StoreMachine,
)

ROOM = 500


def options_of(limits: QueueLimits) -> QueueOptions:
    """Options that set these limits."""
    limiter = None
    if limits.starts:
        limiter = RateLimit(max=limits.starts, duration=limits.per, bounce_back=not limits.delays_excess)
    return QueueOptions(
        limiter=limiter,
        global_concurrency=limits.most_active or None,
        session_concurrency=limits.per_session or None,
    )


class Explaining(StoreMachine):
    """Any of the machines, whose jobs are explained before they are claimed."""

    @rule(node=st.sampled_from(NODES), queue=st.sampled_from(QUEUES))
    def a_claim_does_what_was_said(self, node: str, queue: str) -> None:
        self.server.nodes.join(node, self.now)
        drive(self.stores[node].join())
        info = QueueInfo(queue=queue, processor=queue, options=options_of(self.limits))
        self.server.queues.announce(node, [info], self.now)
        drive(self.stores[node].announce([info]))
        said: dict[str, bool | None] = {}
        told: dict[str, str] = {}
        for id in IDS:
            facts = self.server.facts.facts(id, self.now)
            self.same(facts, drive(self.stores[node].inspection.facts(id)))
            if facts is not None and facts.status in ("waiting", "later") and facts.queue.name == queue:
                found = diagnose(facts)
                said[id] = found.granted_next
                told[id] = f"{found.verdict} {found.gates} {facts}"
        granted = self._claim_all(node, queue)
        for id, expected in said.items():
            if expected is not None:
                assert (id in granted) is expected, (id, expected, granted, told[id])

    def _claim_all(self, node: str, queue: str) -> set[str]:
        granted, more = set[str](), True
        while more:
            before = len(self.claims)
            self._claim_next(node, queue, ROOM)
            granted.update(job for job, _, _ in self.claims[before:])
            more = self.last_claims[-1][-1].next_due == 0
        return granted

    @rule(queue=st.sampled_from(QUEUES), on=st.booleans(), again=st.integers(0, 3))
    def the_queue_is_paused(self, queue: str, on: bool, again: int) -> None:
        if again == 0:
            self.server.queues.pause(queue, on)
            drive(self.stores["n1"].pause(queue, on))


class ExplainedLimits(Explaining, LimitsMachine):
    """With what limits a queue."""


class ExplainedCalls(Explaining, CallMachine):
    """With jobs that call others, or work on one state."""


class ExplainedSessions(Explaining, SessionMachine):
    """With sessions that stop."""


class ExplainedAll(Explaining):
    """Any jobs, under any limits."""

    @initialize(limits=st.sampled_from([UNLIMITED, *LIMITS]))
    def the_limits_are_these(self, limits: QueueLimits) -> None:
        self.limits = limits


MACHINES = (ExplainedLimits, ExplainedCalls, ExplainedSessions, ExplainedAll)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_claim_does_what_the_explainer_says(machine: type[Explaining], redis_server: Any):
    with redis_server.client() as connection:

        class Machine(machine):  # type: ignore[valid-type, misc]
            pass

        Machine.connection = connection
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES // 4, stateful_step_count=40, deadline=None, phases=NO_EXPLAIN
            ),
        )

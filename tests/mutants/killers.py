"""What kills a seeded bug of the scripts: first the cases of the store contract, which take seconds, then the
machines that hold the scripts to the specification step by step.

A machine finds what no case is about. How soon depends on its random programs, and these on much that is no
concern of a mutant's: the order of the rules, each constant of each imported module. So it has more than one
try.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import hypothesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import get_state_machine_test, invariant

from am2z_trio.concurrency import current_host
from am2z_trio.model.codec import checksum
from am2z_trio.model.records import StateWrite, plain_name
from am2z_trio.store.redis.keys import spell
from am2z_trio.testing.conformance import CASES, Bench, run_case
from tests.chaos.auditor import Finding, audit
from tests.store.test_conformance import RedisBackend
from tests.store.test_stateful import NO_EXPLAIN, StoreMachine

LONGEST_CASE = 10.0
"""Seconds. With a bug in the scripts a case may wait for what never comes."""

SEEDS = (1, 2, 3, 4)

LEFT_UNSOUND = {
    "test_a_tampered_state_is_never_returned",
    # It asks for a longer retention than the auditor believes in.
    "test_a_queue_that_nobody_announces_is_forgotten_with_time",
}
"""After these the auditor would find something in any store."""


async def expired_states_go(backend: RedisBackend) -> None:
    """What no port shows: that such a state takes no room any more."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        blob = b"a state"
        await node.store.states.write(StateWrite(session="s", seq=1, blob=blob, checksum=checksum(blob)))
        await node.store.states.set_ttl("s", 5.0)
        bench.clock.advance(5.0)
        await node.store.tick()
        assert backend.server.call("HEXISTS", spell("am2z", "session", plain_name("s")), "blob") == 0
        nursery.cancel_scope.cancel()


def found_after(case: str, url: str, server: Any) -> list[Finding] | str:
    """Run a case on an empty server: how it failed, or what the auditor finds in what is left."""

    async def run() -> None:
        backend = RedisBackend(url, server)
        with anyio.fail_after(LONGEST_CASE):
            await (OF_REDIS[case](backend) if case in OF_REDIS else run_case(case, backend))

    server.call("FLUSHALL")
    try:
        anyio.run(run, backend="trio")
    except Exception as error:
        return repr(error)
    if case in LEFT_UNSOUND:
        return []
    with server.client() as connection:
        return audit(connection, steady_flow=False, known_since_ever=False)


OF_REDIS: dict[str, Callable[[RedisBackend], Awaitable[None]]] = {"expired states go": expired_states_go}

ALL_CASES = (*OF_REDIS, *CASES)


def a_case_fails(url: str, server: Any) -> bool:
    return any(found_after(case, url, server) for case in ALL_CASES)


def explore(redis_server: Any, machine: type[StoreMachine], *, shrink: bool = False) -> None:
    """Run the machine, with the auditor after each step. Fails by `AssertionError`."""
    with redis_server.client() as connection:

        class Machine(machine):  # type: ignore[valid-type, misc]
            @invariant()
            def the_auditor_finds_nothing(self) -> None:
                found = audit(self.connection, steady_flow=False, known_since_ever=not self.has_forgotten)
                assert found == []

        Machine.connection = connection
        for seed in SEEDS:
            test = get_state_machine_test(
                Machine,
                settings=settings(
                    max_examples=200,
                    stateful_step_count=40,
                    deadline=None,
                    database=None,
                    report_multiple_bugs=False,
                    suppress_health_check=[
                        HealthCheck.too_slow,
                        HealthCheck.data_too_large,
                        HealthCheck.filter_too_much,
                    ],
                    phases=NO_EXPLAIN if shrink else [Phase.generate],
                ),
            )
            hypothesis.seed(seed)(test)()

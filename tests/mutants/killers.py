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
from am2z_trio.store.redis.begun import enqueue_call
from am2z_trio.store.redis.keys import spell
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import CASES, Bench, job, run_case
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


async def a_call_that_comes_again_tells_what_it_has_given(backend: RedisBackend) -> None:
    """What no port shows, as the client sees to it: its answer was lost."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        store = node.store
        assert isinstance(store, RedisStore)
        await store.claim("q", node.next_seq("q"), 3, unasked=3)
        call = enqueue_call(bench.clock(), 5000, node.name, [job("j1"), job("j2")], ["q"])
        (given, told), again = await store.link.eval_records(*call), await store.link.eval_records(*call)
        assert (given[0], given[2], told) == (b"handed", 2, [])
        # The other one is told by a message alone: it might run twice, where that is late.
        assert again == [[b"handed", given[1], 0], [b"active", b"", b""]]
        other = enqueue_call(bench.clock(), 5000, node.name, [job("j1")], ["q"])
        assert await store.link.eval_records(*other) == [[b"active", b"", b""]]
        nursery.cancel_scope.cancel()


async def who_leaves_late_is_searched_for_no_more(backend: RedisBackend) -> None:
    """It was taken for dead, and there is much to look through for the lots that it is in."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        node = await bench.node()
        leaving = spell("am2z", "leaving")
        backend.server.call("HSET", leaving, node.name, "17")
        await node.store.leave()
        assert backend.server.call("EXISTS", leaving) == 0
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


OF_REDIS: dict[str, Callable[[RedisBackend], Awaitable[None]]] = {
    "expired states go": expired_states_go,
    "a call that comes again tells what it has given": a_call_that_comes_again_tells_what_it_has_given,
    "who leaves late is searched for no more": who_leaves_late_is_searched_for_no_more,
}

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

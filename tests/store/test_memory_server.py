"""What only the store in memory can show without waiting: how long its records are kept."""

from __future__ import annotations

from collections.abc import Callable

from am2z_trio.model.options import Retention
from am2z_trio.model.records import Author, Settlement
from am2z_trio.store.agreed import LATEST
from am2z_trio.store.memory.nodes import REST
from am2z_trio.store.memory.server import MemoryServer
from am2z_trio.testing.conformance import job


def test_a_child_that_ends_after_its_parent_is_kept_no_longer_than_it():
    server, now = MemoryServer(), 1_700_000_000_000.0
    server.nodes.join("a", now)
    server.enqueuing.enqueue([job("p", on_complete=Retention(age=500.0))], now)
    (parent,) = server.claiming.claim("a", "q", 1, 1, now).grants
    server.enqueuing.enqueue([job("c", parent="p"), job("d", parent="p")], now)
    (child,) = server.claiming.claim("a", "q", 2, 1, now).grants
    for grant, at in ((parent, now), (child, now + 200_000)):
        settlement = Settlement(id=grant.spec.id, token=grant.token, outcome="completed")
        assert server.settling.settle([settlement], at)[0].status == "applied"
    assert None not in server.jobs.view(["p", "c", "d"], now + 499_000)
    assert server.jobs.view(["p", "c", "d"], now + 500_001) == [None, None, None]


def resting(server: MemoryServer, node: str, now: float, wake: Callable[[], object] = list) -> float:
    """Let the node beat until it may rest."""
    for _ in range(2):
        server.nodes.renew(node, now, 1.0)
        rest = server.nodes.rest(node, now, wake)
    return rest


def test_a_node_rests_until_something_is_due_or_done_and_hears_of_it_once():
    server, now, woken = MemoryServer(), 1_700_000_000_000.0, list[str]()
    server.nodes.join("a", now)
    assert resting(server, "a", now, lambda: woken.append("a")) == REST
    server.states.commit("s", b"1", "sum", now, Author())
    server.states.set_ttl("s", 100.0, now)
    server.enqueuing.enqueue([job("j")], now)
    server.enqueuing.enqueue([job("k")], now)
    assert woken == ["a"]
    assert server.nodes.rest("a", now, list) == 0.0
    # What is due may be done as late as by a usual beat.
    assert resting(server, "a", now) == 100.0 + LATEST


def test_a_node_that_is_gone_while_it_rests_is_found_dead_by_the_next_one():
    server, now = MemoryServer(), 1_700_000_000_000.0
    server.nodes.join("a", now)
    server.enqueuing.enqueue([job("j")], now)
    server.claiming.claim("a", "q", 1, 1, now)
    assert resting(server, "a", now) == REST
    server.nodes.join("b", now + 100_000)
    assert resting(server, "b", now + 100_000) == 0.0
    reaped = 0
    for later in range(100_000, 200_000, 1_000):
        reaped += server.nodes.tick("b", now + later).reaped
    assert reaped == 1
    assert resting(server, "b", now + 200_000) > 0

"""What only the store in memory can show without waiting: how long its records are kept."""

from __future__ import annotations

from am2z_trio.model.options import Retention
from am2z_trio.model.records import Settlement
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

"""Circuit breakers: one circuit per processor, whoever asks."""

from __future__ import annotations

from am2z_trio.model.options import CircuitBreaker

from .bench import Bench

POLICY = CircuitBreaker(failures=2, recovery=5.0, half_open=1)


class BreakerCases:
    """When a processor may be called, and when not."""

    async def test_failures_in_a_row_open_the_circuit_for_all_nodes(self, bench: Bench) -> None:
        a, b = (await bench.node("a")).store, (await bench.node("b")).store
        await a.breaker("p", "fail", POLICY)
        await b.breaker("p", "succeed", POLICY)
        await a.breaker("p", "fail", POLICY)
        assert (await b.breaker("p", "enter", POLICY)).allowed
        await b.breaker("p", "fail", POLICY)
        permit = await a.breaker("p", "enter", POLICY)
        assert (permit.allowed, permit.state, permit.wait) == (False, "open", 5.0)
        assert (await a.breaker("other", "enter", POLICY)).allowed

    async def test_some_are_let_through_after_a_while_and_decide(self, bench: Bench) -> None:
        a, b = (await bench.node("a")).store, (await bench.node("b")).store
        for _ in range(2):
            await a.breaker("p", "fail", POLICY)
        bench.clock.advance(5.0)
        assert (await a.breaker("p", "enter", POLICY)).state == "half-open"
        assert not (await b.breaker("p", "enter", POLICY)).allowed
        await a.breaker("p", "fail", POLICY)
        assert (await b.breaker("p", "enter", POLICY)).state == "open"
        bench.clock.advance(5.0)
        assert (await b.breaker("p", "enter", POLICY)).allowed
        await b.breaker("p", "succeed", POLICY)
        assert (await a.breaker("p", "enter", POLICY)).state == "closed"

"""Figures through the service: what of them is seen, and by whom."""

from __future__ import annotations

import pytest

from am2z_trio import processor
from am2z_trio.admin import NotPermittedError
from tests.admin.test_service import audited
from tests.support.desks import admin

pytestmark = pytest.mark.anyio


@processor
async def sell(n: int) -> int:
    return n


@processor
async def buy(n: int) -> int:
    return n


async def test_queues_are_told_in_figures_to_those_whose_they_are(make_runtime):
    runtime = make_runtime()
    runtime.register(sell, buy)
    async with runtime:
        for each in (sell, sell, buy):
            assert (await runtime.execute(each, 1)).success
    async with runtime:
        # A node that has left has told all that it has counted.
        boss, seller = admin(runtime), admin(runtime, "viewer", queues=("sell",))
        assert {*(await boss.census()).queues} == {*(await boss.queue_stats())} == {"sell", "buy"}
        assert {*(await seller.census()).queues} == {*(await seller.queue_stats())} == {"sell"}
        assert (await seller.queue_stats())["sell"].completed == 2
        (sample,) = await seller.samples("sell", since=60)
        assert sample.completed == 2
        assert (await seller.throughput("sell")).completed == pytest.approx(2 / 60)
        assert (await boss.throughput("buy")).completed > 0
        assert await seller.samples("buy") == []
        assert (await seller.throughput("buy", since=10)).completed == 0


async def test_who_may_not_look_is_told_no_figures(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(sell)
        nobody = admin(runtime, "nothing", permissions=frozenset())
        for call in (
            nobody.census(),
            nobody.queue_stats(),
            nobody.samples("sell"),
            nobody.throughput("sell"),
        ):
            with pytest.raises(NotPermittedError, match="'view'"):
                await call
        assert await audited(runtime) == [
            ("census", "", "refused"),
            ("queue_stats", "", "refused"),
            ("samples", "sell", "refused"),
            ("throughput", "sell", "refused"),
        ]

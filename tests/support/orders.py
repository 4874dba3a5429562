"""A processor whose state has had another form, for tests of who knows it by its name alone."""

from __future__ import annotations

from typing import Any

import msgspec

from am2z_trio import Processor


class Order(msgspec.Struct):
    """As its second version has it; the first one said `amount`."""

    total: int


async def doubled(order: Order) -> Order:
    return Order(order.total * 2)


def renamed(form: Any) -> Any:
    return {"total": form["amount"]}


def priced(number: int = 2) -> Processor[Order]:
    """As a worker of today has it, or of a later day."""
    steps = {1: renamed} | {version: lambda form: form for version in range(2, number)}
    return Processor(doubled, name="shop.price", state_version=number, migrate=steps)

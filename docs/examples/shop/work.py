"""What the shop does: processors, and the stock that they are given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

import anyio
import msgspec

from am2z_trio import BusinessError, Context, Resource, chain, processor


class Order(msgspec.Struct, kw_only=True):
    """What travels from step to step."""

    article: str
    quantity: int
    price: int = 0
    paid: bool = False
    parcel: str = ""


class Stock:
    """What there is, in this process: a database would be here."""

    def __init__(self) -> None:
        self.left = {"kite": 10, "yo-yo": 3}
        self.prices = {"kite": 20, "yo-yo": 5}
        self.open_tills = 0


class Till:
    """A connection to the bank, for one payment."""

    async def charge(self, amount: int) -> bool:
        await anyio.sleep(0.1)
        return amount > 0


async def lifespan(_: Any) -> AsyncIterator[Stock]:
    """The stock is there from before the first order to after the last one."""
    yield Stock()


TheStock = Annotated[Stock, Resource()]


async def till(stock: TheStock) -> AsyncIterator[Till]:
    """One for each payment, closed after it."""
    stock.open_tills += 1
    try:
        yield Till()
    finally:
        stock.open_tills -= 1


@processor(name="shop.reserve")
async def reserve(order: Order, *, stock: TheStock) -> Order:
    """Take the goods off the stock."""
    if stock.left.get(order.article, 0) < order.quantity:
        raise BusinessError(f"there are not so many of {order.article} left", code="SOLD_OUT")
    stock.left[order.article] -= order.quantity
    order.price = stock.prices[order.article] * order.quantity
    return order


@processor(name="shop.pay")
async def pay(order: Order, *, till: Annotated[Till, Resource(till)]) -> Order:
    """Ask the bank."""
    order.paid = await till.charge(order.price)
    return order


@processor(name="shop.pack")
async def pack(order: Order, ctx: Context) -> Order:
    """Wrap one piece after the other, and say how far it is."""
    for done in range(order.quantity):
        await anyio.sleep(0.2)
        await ctx.update_progress((done + 1) / order.quantity)
    order.parcel = f"parcel of {order.quantity} x {order.article}"
    return order


# One job: its steps are run where it is, and the progress that they report is its own.
fulfil = chain("shop.fulfil", [reserve, pay, pack], inline=True)

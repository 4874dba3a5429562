"""A program, in the version of yesterday."""

from __future__ import annotations

import os

import msgspec

from am2z_trio import QueueOptions, QueueRuntime, processor


class Basket(msgspec.Struct):
    lines: int


@processor(name="put-in", queue=QueueOptions(concurrency=2))
async def put_in(basket: Basket) -> Basket:
    return Basket(basket.lines + 1)


runtime = QueueRuntime(os.environ["E2E_REDIS"])
runtime.register(put_in)

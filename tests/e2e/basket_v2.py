"""The same program today: a field has another name, and there is one more."""

from __future__ import annotations

import os
from typing import Any

import msgspec

from am2z_trio import QueueOptions, QueueRuntime, processor


class Basket(msgspec.Struct):
    items: int
    notes: list[str]


def with_notes(form: Any) -> Any:
    return {"items": form["lines"], "notes": ["of version 1"]}


@processor(name="put-in", queue=QueueOptions(concurrency=2), state_version=2, migrate={1: with_notes})
async def put_in(basket: Basket) -> Basket:
    return Basket(basket.items + 1, [*basket.notes, f"item {basket.items + 1}"])


runtime = QueueRuntime(os.environ["E2E_REDIS"])
runtime.register(put_in)

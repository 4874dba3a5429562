"""The runtime through which a command asks: a client of the Redis that its options name."""

from __future__ import annotations

import argparse
from typing import Final, Self

from am2z_trio.engine.runtime.queue import QueueRuntime

LEAVES_WITHIN: Final = 0.4
"""Seconds for which a command that ends waits for Redis: it has nothing to hand back, and a person waits."""


class Client(QueueRuntime):
    """A runtime that serves nothing."""

    async def __aenter__(self) -> Self:
        entered = await super().__aenter__()
        self.node.signs_off_within = LEAVES_WITHIN
        return entered


def client(options: argparse.Namespace) -> QueueRuntime:
    """One that serves nothing, to be entered. Raises `ConfigurationError` for a bad URL or prefix."""
    return Client(options.redis, prefix=options.prefix, workers=False)

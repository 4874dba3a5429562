"""The runtime through which a command asks: a client of the Redis that its options name."""

from __future__ import annotations

import argparse

from am2z_trio.engine.runtime.queue import QueueRuntime


def client(options: argparse.Namespace) -> QueueRuntime:
    """One that serves nothing, to be entered. Raises `ConfigurationError` for a bad URL or prefix."""
    return QueueRuntime(options.redis, prefix=options.prefix, workers=False)

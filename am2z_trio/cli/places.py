"""Where a command that runs processors itself runs them: in memory, on a Redis, or on a private one."""

from __future__ import annotations

import argparse

from am2z_trio.engine.runtime.local import LocalRuntime
from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.engine.runtime.runtime import Runtime


def add_place(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--redis", metavar="URL", help="use this Redis; default: a private, embedded one")
    where.add_argument("--local", action="store_true", help="in memory, without Redis")


def place(options: argparse.Namespace, *, event_history: int = 0) -> Runtime:
    """The runtime there, to be entered; it keeps so many events."""
    if options.local:
        return LocalRuntime(event_history=event_history)
    if options.redis is not None:
        return QueueRuntime(options.redis, event_history=event_history)
    return QueueRuntime(embedded=True, event_history=event_history)

"""What all workers of a node share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from am2z_trio.concurrency import Host
from am2z_trio.concurrency.capacity import Capacity
from am2z_trio.engine.execution.executor import Executor
from am2z_trio.engine.figures.figures import Figures
from am2z_trio.engine.sessions.sessions import Sessions
from am2z_trio.store.ports import Store

from .claims import Claims
from .hogs import Hogs
from .settler import Settler


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerServices:
    """One record of them, made by the node."""

    host: Host
    store: Store
    sessions: Sessions
    executor: Executor
    settler: Settler
    claims: Claims
    capacity: Capacity
    hogs: Hogs
    figures: Figures
    max_conflicts: int
    on_lost: Callable[[], None]
    """Called when the store says that this node's lease is gone."""

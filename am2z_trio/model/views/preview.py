"""What a cancel, a stop or a drain is going to do: counted and named before it is done."""

from __future__ import annotations

from typing import Literal

import msgspec

from .tree import TreeRow

Action = Literal["cancel job", "stop session", "drain node", "stop worker"]


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """As it was when it was asked for: jobs come and go until it is done."""

    action: Action
    target: str
    """The job, session or node; of a worker, its processor."""
    running: list[TreeRow] = []
    """Jobs that nodes hold and that are affected: the first two hundred of each node."""
    more: bool = False
    """There are more of these."""
    nodes: dict[str, int] = {}
    """By node that has any of them: how many are told above."""
    silent: list[str] = []
    """Nodes that have not answered: what runs there is not told."""
    callers: dict[str, int] = {}
    """By node: for how many of the jobs told above somebody waits there."""
    waiting: int = 0
    """Jobs that are affected and have not begun, on all nodes together; those that are due later apart."""
    delayed: int = 0
    lock_held: bool = False
    """Somebody holds the session's lock, and loses it."""
    lock_waiting: int = 0
    """How many wait for it, and are told."""
    outcome: str = ""
    """What becomes of them, and what their callers hear: a sentence or two."""

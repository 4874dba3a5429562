"""Which status a job may take from which: the sole authority.

A job is in exactly one status. The memory store asks this table before every change, the Redis
scripts are compared with the memory store operation by operation, so both follow it.

```
           enqueue ─► waiting ◄─ promote, defer ─► later ◄─ enqueue (delay)
                       │  ▲ ▲                      ▲ │
         claim, resume │  │ └─ release, reap       │ │ resume; retry, reap_later, release_later
                       ▼  │                        │ ▼
                     active ───────────────────────┘
                       │
                       ├─► completed      (cancel also ends waiting and later,
                       ├─► failed          expire cancels what is waiting, revive begins anew,
                       └─► cancelled       stall fails what is active)
```
"""

from __future__ import annotations

from typing import Final, Literal

Status = Literal["waiting", "later", "active", "completed", "failed", "cancelled"]
Terminal = Literal["completed", "failed", "cancelled"]

Transition = Literal[
    "enqueue",
    "delay",
    "promote",
    "defer",
    "claim",
    "resume",
    "complete",
    "fail",
    "retry",
    "retry_later",
    "release",
    "release_later",
    "reap",
    "reap_later",
    "stall",
    "expire",
    "cancel",
    "revive",
]

TERMINAL: Final[frozenset[Status]] = frozenset({"completed", "failed", "cancelled"})
UNDER_WAY: Final[frozenset[Status]] = frozenset({"waiting", "later", "active"})

_TABLE: Final[dict[Transition, tuple[frozenset[Status | None], Status]]] = {
    "enqueue": (frozenset({None}), "waiting"),
    "delay": (frozenset({None}), "later"),
    "promote": (frozenset({"later"}), "waiting"),
    "defer": (frozenset({"waiting"}), "later"),
    "claim": (frozenset({"waiting"}), "active"),
    "resume": (frozenset({"waiting", "later"}), "active"),
    "complete": (frozenset({"active"}), "completed"),
    "fail": (frozenset({"active"}), "failed"),
    "retry": (frozenset({"active"}), "waiting"),
    "retry_later": (frozenset({"active"}), "later"),
    "release": (frozenset({"active"}), "waiting"),
    "release_later": (frozenset({"active"}), "later"),
    "reap": (frozenset({"active"}), "waiting"),
    "reap_later": (frozenset({"active"}), "later"),
    "stall": (frozenset({"active"}), "failed"),
    "expire": (frozenset({"waiting"}), "cancelled"),
    "cancel": (frozenset({"waiting", "later", "active"}), "cancelled"),
    "revive": (frozenset({"failed"}), "waiting"),
}


class IllegalTransitionError(Exception):
    """The engine tried something the table forbids: a defect of ours, never of a user."""


def follow(status: Status | None, transition: Transition) -> Status:
    """Return the status after `transition` from `status` (`None`: no such job yet)."""
    sources, target = _TABLE[transition]
    if status not in sources:
        raise IllegalTransitionError(f"a job that is {status} cannot {transition}")
    return target

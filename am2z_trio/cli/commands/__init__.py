"""A module a command, or a family of them: `EXAMPLES`, and `add`, which declares it."""

from __future__ import annotations

from typing import Final, Protocol

from ..parsing import Commands
from . import (
    audit,
    bulk,
    check_states,
    completion,
    cron,
    dead,
    demo,
    doctor,
    event,
    findings,
    job,
    metrics,
    node,
    queue,
    run,
    session,
    status,
    top,
    tree,
    web,
    why,
    worker,
)


class Family(Protocol):
    """What a module here has."""

    @property
    def EXAMPLES(self) -> tuple[str, ...]:
        """Lines for `--help`, the most telling one first."""
        ...

    def add(self, commands: Commands) -> None: ...


ALL: Final[tuple[Family, ...]] = (
    demo,
    run,
    worker,
    web,
    why,
    findings,
    doctor,
    check_states,
    status,
    top,
    tree,
    node,
    job,
    dead,
    bulk,
    queue,
    session,
    cron,
    event,
    audit,
    metrics,
    completion,
)
"""In the order in which `--help` lists them."""

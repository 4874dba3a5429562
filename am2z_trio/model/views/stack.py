"""Where the code of a job is now, task by task. Places alone: no value of any variable."""

from __future__ import annotations

import msgspec


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One line that is under way."""

    file: str
    line: int
    function: str
    text: str = ""
    """The line of the file, if that can be read; without what surrounds it, and cut where it is long."""


class TaskStack(msgspec.Struct, frozen=True, kw_only=True):
    """One task or thread of a job."""

    name: str
    path: str = ""
    """As in the tree; empty for the task that runs the job itself, and for threads."""
    kind: str = "task"
    """`task`, `thread` for a plain function, or `process` for what runs in a process of the job's."""
    frames: list[Frame] = []
    """The user's code, from the outside in: the last one is where it waits or works. Without those of the
    engine and of the async library; the innermost twenty."""
    silent: bool = False
    """A process has not said where it is: it is stopped, or at code that does not let go of Python's lock."""


class JobStack(msgspec.Struct, frozen=True, kw_only=True):
    """All tasks of one job, its own first."""

    job: str
    node: str
    processor: str
    session: str = ""
    token: str = ""
    state: str = ""
    """As in the tree."""
    tasks: list[TaskStack] = []
    more: int = 0
    """Tasks that are left out, as there are very many."""

"""What one node may ask another one: fixed verbs, each with a record of its arguments, all bounded.

| verb | arguments | the payload of its answer |
|---|---|---|
| `tree` | `TreeQuestion` | `views.tree.TreePage` |
| `stack` | `StackQuestion` | `views.stack.JobStack`, or nothing: the job is not here |
| `cancel_task` | `CancelTask` | whether there was one that could be cancelled |
| `drain`, `undrain` | `Drain`, `Nothing` | whether that has changed anything |
| `stop_worker` | `StopWorker` | whether there was one |
| `figures` | `Nothing` | `views.health.NodeHealth` |
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_SESSION_BYTES

MOST_ROWS: Final = 200
"""Rows of one answer."""

Session = Annotated[str, msgspec.Meta(max_length=MAX_SESSION_BYTES)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_BYTES)]
JobId = Annotated[str, msgspec.Meta(max_length=MAX_ANY_ID_BYTES)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Nothing(msgspec.Struct, frozen=True, array_like=True):
    """A verb that says it all."""


class TreeQuestion(msgspec.Struct, frozen=True, array_like=True):
    """A page of what is here, from the node down to the tasks of jobs."""

    session: Session | None = None
    """Only what is of this session; `""` is that of all jobs that name none."""
    processor: Name | None = None
    job: JobId | None = None
    depth: Annotated[int, msgspec.Meta(ge=0, le=4)] = 4
    """0 the node, 1 sessions, 2 workers, 3 jobs, 4 their tasks."""
    offset: Count = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] = MOST_ROWS


class StackQuestion(msgspec.Struct, frozen=True, array_like=True):
    """Where the code of a job is."""

    job: JobId


class CancelTask(msgspec.Struct, frozen=True, array_like=True):
    """Cancel one task of a job's nursery, if the job still runs under this token."""

    job: JobId
    token: Annotated[str, msgspec.Meta(max_length=64)]
    path: Annotated[str, msgspec.Meta(max_length=MAX_ANY_ID_BYTES)]
    """Which of them, as the tree names it."""


class Drain(msgspec.Struct, frozen=True, array_like=True):
    """Claim no more."""

    grace: Annotated[float, msgspec.Meta(ge=0, le=1e10)] | None = None
    """Seconds for which running jobs may go on before they go back to their queues; `None`: to their end."""


class StopWorker(msgspec.Struct, frozen=True, array_like=True):
    """Serve a processor no more; with a session, cancel what runs of it there."""

    processor: Name
    session: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SESSION_BYTES)] | None = None


ARGUMENTS: Final[dict[str, type[msgspec.Struct]]] = {
    "tree": TreeQuestion,
    "stack": StackQuestion,
    "cancel_task": CancelTask,
    "drain": Drain,
    "undrain": Nothing,
    "stop_worker": StopWorker,
    "figures": Nothing,
}
"""By verb."""

MAX_ARGUMENTS_BYTES: Final = 32 * 1024
"""Largest arguments that are read."""

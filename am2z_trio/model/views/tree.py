"""The live tree: nodes, their sessions, the workers in these, their jobs, and the tasks of jobs."""

from __future__ import annotations

from typing import Literal

import msgspec

Scope = Literal["node", "session", "worker", "job", "task"]

State = Literal["open", "draining", "stopping", "waiting", "running", "calling", "ending"]
"""`open`: a node, session or worker that takes jobs. Of a job, `waiting`: claimed, it waits for a place;
`calling`: it waits for other jobs; `ending`: its code has returned, and the store is told."""


class TreeRow(msgspec.Struct, frozen=True, kw_only=True):
    """One scope. Rows come from the outside in: what is within a scope follows it, one level deeper."""

    scope: Scope
    level: int
    """0 a node, 1 a session, 2 a worker, 3 a job, 4 a task of a job."""
    name: str
    """Of a session its id (empty: that of all jobs that name none), of a worker its processor, of a job its
    id, of a task what it runs."""
    state: State = "open"
    session: str = ""
    processor: str = ""
    job: str = ""
    token: str = ""
    """The job's fencing token, under which it runs here and nowhere else."""
    path: str = ""
    """Which task of the job it is."""
    age: float | None = None
    """Seconds for which it has been there; of a job, since this node was given it."""
    ran: float | None = None
    """Seconds since the job's code was begun; `None` if it has not been."""
    left: float | None = None
    """Seconds until its deadline cancels it; `None`: it has none."""
    timeout: float | None = None
    """Seconds that an attempt of the job may take."""
    attempt: int = 0
    cancel_called: bool = False
    shielded: bool = False
    jobs: int = 0
    """Jobs within it; of a job, how many it waits for."""
    waits_for: tuple[str, ...] = ()
    """Ids of these, the first ten."""


class TreePage(msgspec.Struct, frozen=True, kw_only=True):
    """Part of one node's tree."""

    rows: list[TreeRow]
    next: int | None = None
    """The offset of what follows; `None`: nothing does. Sessions and jobs come and go between two pages."""


class NodeTree(msgspec.Struct, frozen=True, kw_only=True):
    """What one node has answered."""

    node: str
    silent: bool = False
    """It has not answered in time: it is frozen, or its event loop is kept by something, or it is gone."""
    rows: list[TreeRow] = []
    next: int | None = None
    """The offset at which its next page begins; `None`: this was the last."""
    refusal: str = ""
    """Why it has not answered although it could."""


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """All nodes that were asked, by their ids."""

    nodes: list[NodeTree]

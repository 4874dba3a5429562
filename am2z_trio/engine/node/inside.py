"""What a node is made of, for whoever looks into it or acts on it from another one."""

from __future__ import annotations

from typing import Protocol

from am2z_trio.concurrency import Host
from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.job_nursery import JobNursery
from am2z_trio.engine.execution.sites import Sites
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.sessions.sessions import Sessions
from am2z_trio.engine.submission.in_flight import InFlight
from am2z_trio.engine.work.claims import Claims
from am2z_trio.engine.work.hogs import Hogs
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.model.views.tree import State
from am2z_trio.store.ports import Store

from .fleet import Fleet
from .heartbeat import Heartbeat


class Parts(Protocol):
    """What of a node is looked at."""

    id: str
    host: Host
    store: Store
    started_at: float
    sessions: Sessions
    claims: Claims
    fleet: Fleet
    in_flight: InFlight
    sites: Sites
    hogs: Hogs
    heartbeat: Heartbeat

    @property
    def stopped(self) -> bool:
        """Whether it takes no more jobs: it is being left."""
        ...

    def why_it_cannot_claim(self) -> str:
        """Empty if it can."""
        ...


class Inside:
    """One node's parts, its options, and what it has registered."""

    def __init__(self, node: Parts, options: RuntimeOptions, registry: Registry) -> None:
        self.node = node
        self.options = options
        self.registry = registry
        self.id, self.host, self.store, self.started_at = node.id, node.host, node.store, node.started_at
        self.sessions, self.claims, self.sites = node.sessions, node.claims, node.sites
        self.fleet, self.in_flight, self.lease = node.fleet, node.in_flight, node.heartbeat.lease
        self.hogs = node.hogs
        self._invoker = node.fleet.executor.invoker

    def nurseries(self) -> dict[Claim, list[tuple[str, JobNursery]]]:
        """The nurseries of each job that has any: its own, and those of what it runs inline, by the path that
        leads there."""
        found: dict[Claim, list[tuple[str, JobNursery]]] = {}
        for claim, nursery in self._invoker.nurseries.items():
            found.setdefault(claim.root, []).append((claim.path, nursery))
        return found

    def state_of(self, claim: Claim) -> State:
        """How far a job is, as a row of the tree says it."""
        if claim.stop is not None:
            return "stopping"
        if claim.calls:
            return "calling"
        if claim.is_running:
            return "running"
        return "waiting" if claim.began == claim.ended == claim.since else "ending"

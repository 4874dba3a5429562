"""The tree of this node as it is now, read off the objects that run it: nothing is kept for it.

A page of it is walked in slices, and only what it shows is made into rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import inf
from typing import Any, Final

import msgspec

from am2z_trio.engine.claim import Claim
from am2z_trio.engine.execution.job_nursery import JobTask
from am2z_trio.engine.sessions.hosted import HostedSession, SessionWorker
from am2z_trio.engine.sessions.sessions import SHARED
from am2z_trio.model.codec import encode_record
from am2z_trio.model.records import TreeQuestion, queue_name
from am2z_trio.model.views.tree import State, TreePage, TreeRow

from .draining import Draining
from .inside import Inside

SLICE: Final = 100
"""Rows after which others have a turn."""

PAGE_BYTES: Final = 128 * 1024
"""Bytes of rows after which a page ends; one row more may come."""

MOST_CALLS: Final = 10
"""Ids of jobs that one waits for which are named."""

Make = Callable[[], TreeRow]
Groups = dict[str, dict[str, list[Claim]]]
"""By session and queue: the jobs that are here."""


class NodeTree:
    """What of one node is here: sessions, workers, jobs, tasks."""

    def __init__(self, inside: Inside, draining: Draining) -> None:
        self._inside = inside
        self._draining = draining

    async def page(self, asked: TreeQuestion) -> TreePage:
        """The rows from an offset on: as many as were asked for, or as their bytes allow."""
        rows: list[TreeRow] = []
        size = 0
        for index, make in enumerate(self._walk(asked)):
            if index % SLICE == SLICE - 1:
                await self._inside.host.checkpoint()
            if index < asked.offset:
                continue
            if len(rows) == asked.limit or size >= PAGE_BYTES:
                return TreePage(rows=await self._with_calls(rows), next=index)
            rows.append(make())
            size += len(encode_record(rows[-1]))
        return TreePage(rows=await self._with_calls(rows))

    async def _with_calls(self, rows: list[TreeRow]) -> list[TreeRow]:
        """With the ids of the jobs that those among them wait for."""
        called: dict[str, list[str]] = {row.job: [] for row in rows if row.scope == "job" and row.jobs}
        if not called:
            return rows
        for index, (job, parent) in enumerate(self._inside.in_flight.calls()):
            if index % SLICE == SLICE - 1:
                await self._inside.host.checkpoint()
            if parent in called and len(called[parent]) < MOST_CALLS:
                called[parent].append(job)
        return [
            msgspec.structs.replace(row, waits_for=tuple(called[row.job]))
            if row.job in called and row.jobs
            else row
            for row in rows
        ]

    # --- which rows there are -----------------------------------------------------------------

    def _walk(self, asked: TreeQuestion) -> Iterator[Make]:
        """How to make each row, from the outside in. What goes meanwhile may be shown as it was."""
        groups, sessions = self._groups(asked), self._inside.sessions
        yield partial(self._node_row, groups)
        if asked.depth < 1:
            return
        nurseries = self._inside.nurseries() if asked.depth > 3 else {}
        for id in dict.fromkeys([SHARED, *sessions.ids(), *groups]):
            if asked.session is not None and id != asked.session:
                continue
            hosted = sessions.shared if id == SHARED else sessions.get(id)
            workers = dict(hosted.workers) if hosted is not None else {}
            of_session = groups.get(id, {})
            queues = self._queues(asked, workers, of_session)
            if not queues and (id == SHARED or asked.processor is not None or asked.job is not None):
                continue
            yield partial(self._session_row, id, hosted, of_session)
            for queue in queues if asked.depth > 1 else ():
                claims = of_session.get(queue, [])
                yield partial(self._worker_row, id, workers.get(queue), claims)
                for claim in claims if asked.depth > 2 else ():
                    yield partial(self._job_row, claim)
                    for path, nursery in nurseries.get(claim, ()):
                        for number, task in list(nursery.tasks.items()):
                            yield partial(self._task_row, claim, f"{path}{number}", task)

    def _groups(self, asked: TreeQuestion) -> Groups:
        groups: Groups = {}
        for claim in self._inside.claims.all():
            spec = claim.grant.spec
            if asked.session is not None and spec.session != asked.session:
                continue
            if asked.processor is not None and spec.processor != asked.processor:
                continue
            if asked.job is not None and spec.id != asked.job:
                continue
            groups.setdefault(spec.session, {}).setdefault(claim.holder.queue, []).append(claim)
        return groups

    @staticmethod
    def _queues(asked: TreeQuestion, workers: dict[str, Any], claims: dict[str, Any]) -> list[str]:
        if asked.job is not None:
            return list(claims)
        queues = dict.fromkeys([*workers, *claims])
        if asked.processor is not None:
            only = queue_name(asked.processor)
            return [only] if only in queues else []
        return list(queues)

    # --- what a row says ----------------------------------------------------------------------

    def _node_row(self, groups: Groups) -> TreeRow:
        inside = self._inside
        state: State = "draining" if self._draining.is_on else "open"
        return TreeRow(
            scope="node",
            level=0,
            name=inside.id,
            state="stopping" if inside.node.stopped else state,
            age=inside.host.now() - inside.started_at,
            left=self._draining.left,
            jobs=sum(len(claims) for queues in groups.values() for claims in queues.values()),
        )

    def _session_row(self, id: str, hosted: HostedSession | None, claims: dict[str, list[Claim]]) -> TreeRow:
        scope = None if hosted is None else hosted.cancel_scope
        stops = self._inside.sessions.is_stopping(id)
        return TreeRow(
            scope="session",
            level=1,
            name=id,
            session=id,
            state="stopping" if stops else "open",
            age=None if hosted is None else self._inside.host.now() - hosted.since,
            left=None if scope is None else self._left(scope.deadline),
            cancel_called=scope is not None and scope.cancel_called,
            shielded=scope is not None and scope.shield,
            jobs=sum(map(len, claims.values())),
        )

    def _worker_row(self, session: str, worker: SessionWorker | None, claims: list[Claim]) -> TreeRow:
        processor = claims[0].grant.spec.processor if worker is None else worker.processor
        return TreeRow(
            scope="worker",
            level=2,
            name=processor,
            session=session,
            processor=processor,
            state="stopping" if worker is not None and worker.closed else "open",
            jobs=len(claims),
        )

    def _job_row(self, claim: Claim) -> TreeRow:
        now, grant, scope = self._inside.host.now(), claim.grant, claim.scope
        definition, timeout = self._inside.registry.get(grant.spec.processor), grant.spec.timeout
        if timeout is None and definition is not None:
            timeout = definition.processor.timeout
        deadline = inf if grant.remaining is None else claim.since + grant.remaining
        return TreeRow(
            scope="job",
            level=3,
            name=grant.spec.id,
            session=grant.spec.session,
            processor=grant.spec.processor,
            job=grant.spec.id,
            token=grant.token,
            state=self._inside.state_of(claim),
            age=now - claim.since,
            ran=now - claim.began if claim.is_running else None,
            left=self._left(deadline if scope is None else min(deadline, scope.deadline)),
            timeout=timeout,
            attempt=grant.attempt,
            cancel_called=claim.stop is not None or (scope is not None and scope.cancel_called),
            shielded=scope is not None and scope.shield,
            jobs=claim.calls,
        )

    def _task_row(self, claim: Claim, path: str, task: JobTask) -> TreeRow:
        spec = claim.grant.spec
        return TreeRow(
            scope="task",
            level=4,
            name=task.name,
            session=spec.session,
            processor=spec.processor,
            job=spec.id,
            token=claim.grant.token,
            path=path,
            state="stopping" if task.scope.cancel_called else "running",
            age=self._inside.host.now() - task.since,
            left=self._left(task.scope.deadline),
            cancel_called=task.scope.cancel_called,
            shielded=task.scope.shield,
        )

    def _left(self, deadline: float) -> float | None:
        return None if deadline == inf else deadline - self._inside.host.now()

"""`runtime.control`: all nodes of the namespace as they are now, and orders to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.processor import Processor, name_of
from am2z_trio.engine.submission.job import Job
from am2z_trio.engine.submission.request import require_session
from am2z_trio.model.checks import require_count, require_seconds, require_text
from am2z_trio.model.codec import RecordDecoder
from am2z_trio.model.errors import RuntimeStateError, UnknownOutcomeError, ValidationError
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_SESSION_BYTES
from am2z_trio.model.records import (
    MOST_ROWS,
    CancelTask,
    Drain,
    NodeStanding,
    Nothing,
    StackQuestion,
    StopWorker,
    Told,
    TreeQuestion,
)
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.nodes import NodeView
from am2z_trio.model.views.preview import Preview
from am2z_trio.model.views.stack import JobStack
from am2z_trio.model.views.tree import NodeTree, Tree, TreePage

from .previews import Previews

T = TypeVar("T")

MAX_NODE_ID: Final = 96

_decode_page: Final = RecordDecoder[TreePage](TreePage)
_decode_stack: Final = RecordDecoder[JobStack | None](JobStack | None)
_decode_health: Final = RecordDecoder[NodeHealth](NodeHealth)
_decode_flag: Final = RecordDecoder[bool](bool)

Nodes = list[NodeView]


class ControlManager:
    """Every node that may claim jobs, this one and others.

    A node is asked by a message and has a second to answer; one that does not is *silent*: it is frozen,
    something keeps its event loop to itself, or it has just died. Nothing is sent while nobody asks, and who
    asks the same at the same time shares the answers. All methods raise `NetworkError` where the store cannot
    be reached, and what the store refuses.
    """

    def __init__(self, running: Callable[[], Node]) -> None:
        self._running = running
        self._previews = Previews(lambda: running().store, self.tree)

    # --- what is there --------------------------------------------------------------------------

    async def nodes(self) -> Nodes:
        """All nodes, by their ids: alive or about to be given up."""
        return [_view(one) for one in await self._running().store.control.nodes()]

    async def tree(
        self,
        *,
        node: str | None = None,
        session: str | None = None,
        processor: Processor[Any] | str | None = None,
        job: Job[Any] | str | None = None,
        depth: int = 4,
        offset: int = 0,
        limit: int = MOST_ROWS,
    ) -> Tree:
        """What runs now: of each node up to `limit` rows (200 at most), from the outside in.

        `session`, `processor` and `job` narrow it down, `""` to jobs that name no session; `depth`: 0 for
        nodes alone, 1 with sessions, 2 workers, 3 jobs, 4 tasks of jobs. To read on, ask one `node` with the
        `next` of its page as `offset`. Each node's page is as it was while that node answered.
        """
        question = TreeQuestion(
            session=None if session is None else _text("session", session, MAX_SESSION_BYTES, empty=True),
            processor=None if processor is None else name_of(processor),
            job=None if job is None else _job_id(job),
            depth=require_count("depth", depth, least=0, most=4),
            offset=require_count("offset", offset, least=0),
            limit=require_count("limit", limit, most=MOST_ROWS),
        )
        wanted = None if node is None else require_node_id(node)
        ids = await self._ids() if wanted is None else [wanted]
        answers = await self._running().control.asking.ask(ids, "tree", question)
        return Tree(nodes=[_tree(id, answers[id]) for id in sorted(ids)])

    async def stack(self, job: Job[Any] | str) -> JobStack | None:
        """Where the code of a running job is, task by task; `None` if no node that answers has it."""
        answers = await self._ask_all("stack", StackQuestion(_job_id(job)))
        for told in answers.values():
            if told is not None and not told.refusal:
                stack = _decode_stack(told.payload)
                if stack is not None:
                    return stack
        return None

    async def health(self, node: str) -> NodeHealth:
        """How a node judges itself. Raises as `drain_node` does."""
        return await self._order(require_node_id(node), "figures", Nothing(), _decode_health)

    async def healths(self) -> dict[str, NodeHealth | None]:
        """How all nodes judge themselves, by their ids; `None` of one that is silent, or refuses."""
        answers = await self._ask_all("figures", Nothing())
        return {
            id: None if told is None or told.refusal else _decode_health(told.payload)
            for id, told in answers.items()
        }

    # --- what may be done -----------------------------------------------------------------------

    async def drain_node(self, node: str, grace: float | None = None) -> bool:
        """Have a node claim no more jobs, until it is undrained or left; `False` if it was drained already.

        What runs there goes on to its end, or for `grace` seconds: then it is cancelled and goes back to its
        queue, no attempt used. What it has claimed and not begun goes back at once. It still submits, serves
        as before in the eyes of callers, and stays in the tree as draining. Returns when it has begun; asked
        again, the newest grace counts.

        Raises `ValidationError` where the node refuses, and `UnknownOutcomeError` where it is silent: it may
        have heard, or may yet.
        """
        given = None if grace is None else float(require_seconds("grace", grace))
        return await self._order(require_node_id(node), "drain", Drain(given), _decode_flag)

    async def undrain_node(self, node: str) -> bool:
        """Have it claim again; `False` if it was not drained. Raises as `drain_node` does."""
        return await self._order(require_node_id(node), "undrain", Nothing(), _decode_flag)

    async def stop_worker(
        self, node: str, processor: Processor[Any] | str, session: str | None = None
    ) -> bool:
        """Have a node serve a processor no more; `False` if it does not.

        What runs goes on to its end. With a session, that session's worker alone is stopped, and its running
        jobs are cancelled; a later job of it begins another one. Returns when this has begun; as
        `runtime.workers.stop_worker` else. Raises as `drain_node` does.
        """
        if session is not None:
            session = require_session(session)
        order = StopWorker(name_of(processor), session)
        return await self._order(require_node_id(node), "stop_worker", order, _decode_flag)

    async def cancel_task(self, node: str, job: Job[Any] | str, token: str, path: str) -> bool:
        """Cancel one task of a job's nursery, by what its row says; the job goes on without it.

        `False` if there is none: it has ended, or the job runs under another token now, or elsewhere. Raises
        as `drain_node` does.
        """
        order = CancelTask(_job_id(job), *require_task(token, path))
        return await self._order(require_node_id(node), "cancel_task", order, _decode_flag)

    # --- what that would do -----------------------------------------------------------------------

    async def preview_cancel(self, job: Job[Any] | str) -> Preview:
        """What cancelling a job would do. Raises `JobNotFoundError` if there is no record of it."""
        return await self._previews.of_job(_job_id(job))

    async def preview_stop_session(self, session: str) -> Preview:
        """What `runtime.stop_session` would do, on all nodes."""
        return await self._previews.of_session(require_session(session))

    async def preview_drain(self, node: str) -> Preview:
        """What `drain_node` would do."""
        return await self._previews.of_node(require_node_id(node))

    async def preview_stop_worker(
        self, node: str, processor: Processor[Any] | str, session: str | None = None
    ) -> Preview:
        """What `stop_worker` would do."""
        if session is not None:
            session = require_session(session)
        return await self._previews.of_worker(require_node_id(node), name_of(processor), session)

    # --- how they are asked ---------------------------------------------------------------------

    async def _ids(self) -> list[str]:
        return [one.id for one in await self._running().store.control.nodes()]

    async def _ask_all(self, verb: str, arguments: msgspec.Struct) -> dict[str, Told | None]:
        return dict(await self._running().control.asking.ask(await self._ids(), verb, arguments))

    async def _order(self, node: str, verb: str, arguments: msgspec.Struct, read: RecordDecoder[T]) -> T:
        told = (await self._running().control.asking.ask([node], verb, arguments))[node]
        if told is not None and not told.refusal:
            return read(told.payload)
        if told is not None:
            raise ValidationError(f"node {node} refuses: {told.refusal}", context={"node": node})
        standing = {one.id: one for one in await self._running().store.control.nodes()}.get(node)
        if standing is None:
            raise RuntimeStateError(f"there is no node {node!r}", context={"node": node})
        raise UnknownOutcomeError(
            f"node {node} is silent: it has not answered in a second, and may do it yet",
            context={"node": node},
        )


def _view(one: NodeStanding) -> NodeView:
    info = one.info
    if one.lease < 0:
        return NodeView(id=one.id, status="lost", lease=one.lease, claims=one.claims)
    shown = NodeView(
        id=one.id,
        status="serving" if one.is_heard else "unheard",
        lease=one.lease,
        claims=one.claims,
    )
    if info is None:
        return shown
    return msgspec.structs.replace(
        shown,
        status="draining" if info.draining and one.is_heard else shown.status,
        host=info.host,
        pid=info.pid,
        version=info.version,
        python=info.python,
        library=info.library,
        started=info.started,
        max_running=info.max_running,
        concurrency=info.concurrency,
        served=info.served,
    )


def _tree(node: str, told: Told | None) -> NodeTree:
    if told is None:
        return NodeTree(node=node, silent=True)
    if told.refusal:
        return NodeTree(node=node, refusal=told.refusal)
    try:
        page = _decode_page(told.payload)
    except ValidationError as error:
        return NodeTree(node=node, refusal=error.message)
    return NodeTree(node=node, rows=page.rows, next=page.next)


def _text(field: str, value: object, most: int, *, empty: bool = False) -> str:
    return require_text(field, value, most=most, empty=empty)


def require_node_id(node: object) -> str:
    """As a node's id may be."""
    return _text("node", node, MAX_NODE_ID)


def require_task(token: object, path: object) -> tuple[str, str]:
    """As a task's row in the tree may name it."""
    return _text("token", token, 64), _text("path", path, MAX_ANY_ID_BYTES)


def _job_id(job: Job[Any] | str) -> str:
    return job.id if isinstance(job, Job) else _text("job", job, MAX_ANY_ID_BYTES)

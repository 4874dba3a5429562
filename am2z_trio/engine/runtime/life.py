"""A runtime's life: entered, running, stopped; one node at a time."""

from __future__ import annotations

import secrets
import socket
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self

from am2z_trio.concurrency import TaskStatus, current_host
from am2z_trio.concurrency.stack import require_stack
from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.figures.figures import Figures
from am2z_trio.engine.here import Here
from am2z_trio.engine.node.lifespan import Lifespan
from am2z_trio.engine.node.node import Node
from am2z_trio.engine.processors.registry import Registry
from am2z_trio.engine.tracing import GuardedTracer
from am2z_trio.model.checks import require_seconds
from am2z_trio.model.errors import RuntimeStateError
from am2z_trio.model.records import plain_name
from am2z_trio.model.runtime_options import RuntimeOptions
from am2z_trio.store.ports import Store, StoreSettings


def _not_running() -> RuntimeStateError:
    return RuntimeStateError("the runtime is not running: use `async with runtime:`")


class Life:
    """What is there whether a runtime is entered or not, and the node while it is."""

    _shared = True
    """Whether there may be other nodes."""

    def __init__(self, options: RuntimeOptions) -> None:
        self._options = options
        name = plain_name(options.node or socket.gethostname())
        self._name = name
        self._registry = Registry(options.max_state_bytes)
        self._bus = Bus()
        self.figures = Figures()
        """What this runtime has counted: for metrics. Safe to read from any thread; it may not be entered."""
        self._node: Node | None = None
        self._entered: AsyncExitStack | None = None
        self._here: Here | None = None

    @property
    def _settings(self) -> StoreSettings:
        options = self._options
        return StoreSettings(
            lease=options.lease,
            disconnect_grace=options.disconnect_grace,
            result_ttl=options.result_ttl,
            recent=options.recent,
            state_ttl=options.state_ttl,
            state_history=options.state_history,
            event_history=options.event_history,
        )

    def _open_store(self, node: str) -> AbstractAsyncContextManager[Store]:
        raise NotImplementedError

    @property
    def place(self) -> str:
        """Which jobs it has, for a person."""
        raise NotImplementedError

    @property
    def _address(self) -> tuple[str, int | None] | None:
        """Address and port of the store's server, or the path of its socket, if it is a user's."""
        return None

    def _tracer(self, node: str) -> GuardedTracer | None:
        tracing = self._options.otel
        return None if tracing is None else GuardedTracer(tracing.tracer(node, self._address))

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._entered is not None:
            raise RuntimeStateError("the runtime is entered already; make a second one instead")
        stack = AsyncExitStack()
        self._entered, self._here = stack, Here(current_host())
        try:
            node_id = f"{self._name}-{secrets.token_hex(4)}"
            store = await stack.enter_async_context(self._open_store(node_id))
            tracer, figures = self._tracer(node_id), self.figures
            if tracer is not None:
                stack.callback(tracer.close)
            parts = self._options, self._registry, self._bus, store, figures
            node = Node(node_id, *parts, shared=self._shared, tracer=tracer)
            await stack.enter_async_context(node.open(self._lifespan_of(node)))
            self._node = node
        except BaseException:
            self._node = self._entered = self._here = self.figures.reading = None
            # What was opened so far is closed by the stack; a failed enter closes itself.
            await stack.aclose()
            raise
        return self

    def _lifespan_of(self, node: Node) -> Lifespan:
        lifespan = self._options.lifespan

        def opens() -> Any:
            # From here on the runtime may be used, by the lifespan: it serves nothing yet.
            self._node = node
            return lifespan and lifespan(self)

        return Lifespan(node.host, self._registry, lifespan and opens)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._require_here()
        stack, self._entered = self._entered, None
        assert stack is not None
        try:
            return await stack.__aexit__(kind, value, traceback)
        finally:
            self._node = self._here = self.figures.reading = None

    async def run(self, *, task_status: TaskStatus | None = None) -> None:
        """Enter, serve until cancelled or `stop`ped, leave: `await nursery.start(runtime.run)`."""
        async with self:
            if task_status is not None:
                task_status.started(self)
            await self.wait_stopped()

    async def wait_stopped(self) -> None:
        """Wait until `stop` has ended this node's work."""
        await self._running().wait_stopped()

    async def stop(self, grace: float | None = None) -> None:
        """End from within: drain for `grace` seconds (default: `shutdown_grace`), then cancel.

        Returns when no job of this node runs any more; the `async with` block may then be left. A job that
        does not end although it was cancelled is waited for some seconds here and reported; the block is a
        nursery, which ends with its last task. This call only waits: when it is cancelled, the node stops all
        the same. Called again, or when the block is left meanwhile, the shortest grace counts. A job may call
        it, and is then one of those that have to end within the grace.
        """
        if grace is not None:
            grace = require_seconds("stop.grace", grace)
        node = self._running()
        await node.stop(self._options.shutdown_grace if grace is None else grace)

    @property
    def is_started(self) -> bool:
        """Whether the runtime is entered and not stopped."""
        return self._node is not None and not self._node.stopped

    @property
    def serves(self) -> bool:
        """Whether it works queues off while it is entered; not with `workers=False`."""
        return self._options.workers

    @property
    def options(self) -> RuntimeOptions:
        """How it was made."""
        return self._options

    @property
    def node_id(self) -> str:
        """This node's id in records and events; a new one each time the runtime is entered."""
        if self._node is None:
            raise _not_running()
        return self._node.id

    @property
    def is_entered(self) -> bool:
        """Whether the runtime is inside its block, stopped or not."""
        return self._node is not None

    @property
    def node(self) -> Node:
        """The running node: for the engine's own rooms."""
        return self._running()

    def _running(self) -> Node:
        require_stack()
        node = self._node
        if node is None:
            raise _not_running()
        node.here.require()
        return node

    def _entered_node(self) -> Node:
        """The node, whoever asks: of what any thread may touch."""
        node = self._node
        if node is None:
            raise _not_running()
        return node

    def _perhaps_running(self) -> Node | None:
        return None if self._node is None else self._running()

    def _require_here(self) -> None:
        """While the runtime is entered it is used in its own event loop alone; before, anywhere."""
        if self._here is not None:
            self._here.require()

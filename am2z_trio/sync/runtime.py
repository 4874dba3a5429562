"""A runtime in a thread of its own, and the blocking face of it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Literal, Self, cast

import anyio

from am2z_trio.concurrency import current_host
from am2z_trio.engine.node.portal import Portal
from am2z_trio.engine.processors.processor import Processor
from am2z_trio.engine.runtime.from_thread import FromThread
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.checks import require
from am2z_trio.model.errors import RuntimeStateError

BACKENDS: Final = ("trio", "asyncio")


class SyncRuntime(FromThread):
    """A runtime for programs without an event loop: `with SyncRuntime(LocalRuntime()) as runtime`.

    The runtime is entered in a thread of its own, with a loop of its own, and each method here blocks the
    thread that calls it until it is done: any number of threads may. It works where another loop runs in the
    calling thread, too, as in a notebook. Ctrl-C interrupts a call, and cancels what that has waited for.

    Without `with`: `start()` and `close()`; what was not closed is closed at the end of the process. A fork
    of the process has no such thread: each call there is a `RuntimeStateError`, so start it after forking.
    """

    def __init__(self, runtime: Runtime, *, backend: Literal["trio", "asyncio"] = "trio") -> None:
        """`runtime`: a `LocalRuntime` or `QueueRuntime`, not entered. `backend`: the host that its processors
        are written for."""
        require(isinstance(runtime, Runtime), "runtime", runtime, "must be a LocalRuntime or a QueueRuntime")
        require(backend in BACKENDS, "backend", backend, f"must be one of {', '.join(BACKENDS)}")
        super().__init__(self._running, cast(Any, runtime))
        self.runtime = runtime
        """The runtime itself, which lives in the other thread."""
        self._backend = backend
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended: Future[None] | None = None
        self._portal_of_node: Portal | None = None
        self._leaving = threading.Event()
        self._stop: Callable[[bool], object] = bool
        """Has the loop leave the runtime, or cancels it."""
        self._pid = 0

    def start(self) -> Self:
        """Start the thread and enter the runtime; returns when that is done, or raises what it has raised.
        One that an error has ended, as its calls have said, is started anew."""
        begins = False
        try:
            with self._lock:
                self._require_no_fork()
                if self._thread is not None:
                    if self._ended is None or not self._ended.done():
                        raise RuntimeStateError("the runtime is started already")
                    self._thread.join()
                entered, self._ended, self._leaving = Future[None](), Future[None](), threading.Event()
                self._pid, self._stop = os.getpid(), bool
                # From here on Ctrl-C may come before or after the thread does.
                begins = True
                self._thread = threading.Thread(
                    target=self._run, args=(entered, self._ended), name="am2z runtime", daemon=True
                )
                self._thread.start()
            entered.result()
            _open.add(self)
        except BaseException:
            if begins:
                self._end(at_once=True)
            raise
        return self

    def close(self) -> None:
        """Leave the runtime, which drains for its `shutdown_grace`, and end the thread. Raises what the
        runtime has ended with, if that was an error. Interrupted, what still runs is handed back at once. May
        be called again, and in a fork, where it does nothing."""
        if self._pid in (0, os.getpid()):
            self._end()

    def _end(self, at_once: bool = False) -> None:
        with self._lock:
            thread, ended, self._thread = self._thread, self._ended, None
        if thread is None or ended is None:
            return
        _open.discard(self)
        try:
            self._leave(at_once)
            ended.result(LEAVES_WITHIN if at_once else None)
        except BaseException:
            self._leave(at_once=True)
            # Interrupted in the very moment of its start, there is none.
            with suppress(RuntimeError):
                thread.join(LEAVES_WITHIN)
            raise
        thread.join()
        self._pid = 0

    def _leave(self, at_once: bool) -> None:
        self._leaving.set()
        with suppress(RuntimeError):
            self._stop(at_once)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def register(self, *processors: Processor[Any]) -> None:
        """As `Runtime.register`; before it is started, too."""
        with self._lock:
            if self._thread is None:
                self.runtime.register(*processors)
                return
        super().register(*processors)

    @property
    def is_started(self) -> bool:
        """Whether it may be used: started, in this process, and not closed or ended."""
        return self._thread is not None and self._pid == os.getpid() and self._portal_of_node is not None

    # --- its thread -----------------------------------------------------------------------------

    def _run(self, entered: Future[None], ended: Future[None]) -> None:
        try:
            anyio.run(self._serve, entered, backend=self._backend)
        except BaseException as raised:
            # Whoever finds it not started any more may start it again.
            if entered.done():
                ended.set_exception(raised)
                self._portal_of_node = None
            else:
                self._portal_of_node = None
                ended.set_result(None)
                entered.set_exception(raised)
        else:
            ended.set_result(None)

    async def _serve(self, entered: Future[None]) -> None:
        host = current_host()
        leave, ask, scope = host.event(), host.asker(), host.cancel_scope()

        def stop(at_once: bool) -> None:
            ask(scope.cancel if at_once else leave.set)

        self._stop = stop
        if self._leaving.is_set():
            # Interrupted before there was anything to stop.
            scope.cancel()
        with scope:
            async with self.runtime:
                self._portal_of_node = self.runtime.node.portal
                entered.set_result(None)
                await leave.wait()
        self._portal_of_node, self._stop = None, bool

    # --- for its methods ------------------------------------------------------------------------

    def _running(self) -> Portal:
        self._require_no_fork()
        portal, ended = self._portal_of_node, self._ended
        if portal is not None:
            return portal
        if ended is not None and ended.done() and (error := ended.exception()) is not None:
            raise RuntimeStateError(f"the runtime has ended: {error}") from error
        raise RuntimeStateError("the runtime is not started: use `with`, or start()")

    def _require_no_fork(self) -> None:
        if self._pid not in (0, os.getpid()):
            raise RuntimeStateError(
                "this process was forked from the one in which the runtime was started, and has none of its "
                "threads: make and start a runtime here, after the fork"
            )


LEAVES_WITHIN: Final = 10.0
"""Seconds for which an interrupted `start` or `close` waits for what it has cancelled."""

_open: Final = weakref.WeakSet[SyncRuntime]()


@atexit.register
def _close_all() -> None:
    for runtime in list(_open):
        with suppress(Exception):
            runtime.close()

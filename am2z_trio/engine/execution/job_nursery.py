"""`ctx.nursery`: a nursery of the host, whose tasks fail their job and nothing else, whatever they raise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVarTuple

from am2z_trio.concurrency import CancelScope, Host, Nursery
from am2z_trio.concurrency.groups import is_presentable, must_propagate
from am2z_trio.model.errors import ProcessorExecutionError
from am2z_trio.model.telling import described, text_of

Args = TypeVarTuple("Args")

NOTHING: Final[dict[str, Any]] = {}

MOST_NAME: Final = 200
"""Bytes of a task's name."""


class JobTask:
    """One task of a job's nursery, which may be cancelled alone."""

    __slots__ = ("name", "scope", "since", "task")

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        self.scope: CancelScope = host.cancel_scope()
        self.since = host.now()
        self.task: object = host.current_task()
        """The host's; `None` when it has ended."""


class JobNursery:
    """The nursery of one run. Whatever else the host's own nursery has is here, too."""

    __slots__ = ("_begun", "_host", "_nursery", "tasks")

    def __init__(self, host: Host, nursery: Nursery) -> None:
        self._host = host
        self._nursery = nursery
        self._begun = 0
        self.tasks: dict[int, JobTask] = {}
        """Those that are there, by number in order of their beginning."""

    @property
    def cancel_scope(self) -> CancelScope:
        return self._nursery.cancel_scope

    def start_soon(
        self, async_fn: Callable[[*Args], Awaitable[Any]], /, *args: *Args, name: object = None
    ) -> object:
        named = _name(async_fn, name)
        return self._nursery.start_soon(self._run, async_fn, args, NOTHING, named, name=named)

    async def start(self, async_fn: Callable[..., Awaitable[Any]], /, *args: Any, name: object = None) -> Any:
        named = _name(async_fn, name)

        async def begin(*, task_status: Any) -> None:
            await self._run(async_fn, args, {"task_status": task_status}, named)

        return await self._nursery.start(begin, name=named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nursery, name)

    async def _run(
        self, fn: Callable[..., Awaitable[Any]], args: tuple[Any, ...], named: dict[str, Any], name: str
    ) -> None:
        self._begun += 1
        number, one = self._begun, JobTask(name, self._host)
        self.tasks[number] = one
        try:
            with one.scope:
                await fn(*args, **named)
        except BaseException as raised:
            if must_propagate(raised, self._host):
                raise
            if isinstance(raised, Exception) and is_presentable(raised):
                raise
            # `SystemExit` would end asyncio's loop, and one whose `repr` raises Trio's.
            raise ProcessorExecutionError(f"a task of the job raised {described(raised)}")  # noqa: B904
        finally:
            del self.tasks[number]
            one.task = None


def _name(fn: object, name: object) -> str:
    """As other nodes are told it: whatever a user says, it is short, and text that can travel."""
    return text_of(getattr(fn, "__qualname__", fn) if name is None else name, MOST_NAME)

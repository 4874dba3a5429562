"""Context variables: every job, and every call of an event handler, begins with the worker's own.

The worker's own are those of the task that entered the runtime, as they were then. What one job sets (a
tenant, fields of a log, a trace) no other one sees, though they share tasks; what whoever submitted it had
set does not travel.
"""

from __future__ import annotations

import decimal
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final, TypeVar

T = TypeVar("T")

NOTHING: Final[Mapping[ContextVar[str], str]] = {}

DECIMAL: Final = "decimal_context"
"""Name of the variable that `decimal` keeps its context in."""


class OwnContext:
    """The context of whoever makes this, to be copied."""

    __slots__ = ("_decimal", "_own")

    def __init__(self, also: Mapping[ContextVar[str], str] = NOTHING) -> None:
        """`also`: what is set in it beside that."""
        self._own = own = copy_context()
        for variable, value in also.items():
            own.run(variable.set, value)
        # Its value is an object that is changed in place, so that copies of the variable would share it.
        has_one = any(variable.name == DECIMAL for variable in own)
        self._decimal = own.run(decimal.getcontext) if has_one else None

    def copy(self) -> Context:
        """A fresh one."""
        context = self._own.copy()
        if self._decimal is not None:
            context.run(decimal.setcontext, self._decimal.copy())
        return context


@types.coroutine
def in_context(
    context: Context, coroutine: Coroutine[Any, Any, T], on_wait: Callable[[], None] | None = None
) -> Generator[Any, Any, T]:
    """Await the coroutine with every step of it in that context. `on_wait()` is called when it waits for the
    first time, if it does.

    A task of its own would do the same at many times the cost, and the task's own context can only be
    exchanged between two steps.
    """
    run, send = context.run, coroutine.send
    try:
        waits_for = run(send, None)
        if on_wait is not None:
            on_wait()
        while True:
            try:
                answer = yield waits_for
            except GeneratorExit:
                run(coroutine.close)
                raise
            except BaseException as raised:
                waits_for = run(coroutine.throw, raised)
            else:
                waits_for = run(send, answer)
    except StopIteration as returned:
        return returned.value  # type: ignore[no-any-return]

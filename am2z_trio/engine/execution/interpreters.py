"""Interpreters in which jobs run: `@processor(run_in="interpreter")`, from Python 3.14 on.

An interpreter of the same process, in a thread, with a lock of its own: it computes beside the others. It
shares no object with them: the function is found there by its module and name, and state and result are
copied. It cannot be killed, so the job of one is stopped as a thread's is: its caller hears of it at once,
and what goes on is left behind.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Any

from am2z_trio.engine.processors.imported import made_interpreter
from am2z_trio.model.errors import ProcessorExecutionError


class Interpreters:
    """The interpreters of one node: those that have no job now. Used by the threads that run them."""

    def __init__(self) -> None:
        self._idle: list[Any] = []
        self._is_closed = False

    def call(self, name: str, fn: Any, state: Any) -> Any:
        """What the function makes of the state, in an interpreter of its own; in the thread that calls."""
        try:
            # One step, whatever other threads do.
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = made_interpreter()
        failure = import_module("concurrent.interpreters").ExecutionFailed
        try:
            returned = interpreter.call(fn, state)
        except failure as failed:
            raise ProcessorExecutionError(
                f"{name!r} raised {failed.excinfo.formatted}", context={"processor": name}, cause=failed
            ) from failed
        finally:
            self._idle.append(interpreter)
            if self._is_closed:
                # The job has been left behind.
                self.close()
        return returned

    def calling(self, name: str, fn: Any) -> partial[Any]:
        """`call` with all but the state."""
        return partial(self.call, name, fn)

    def close(self) -> None:
        """End those that have no job, and the others when they have none any more."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

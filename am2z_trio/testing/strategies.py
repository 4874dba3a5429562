"""Histories for property tests: right ones by construction, and ways to spoil them. Needs hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from hypothesis import strategies as st

from .models import VersionedState
from .operations import (
    Add,
    Call,
    CompareAndSet,
    Conflict,
    Delete,
    Operation,
    Read,
    Result,
    Seen,
    Updated,
    Write,
    Wrote,
)

Draw = Callable[[st.SearchStrategy[Any]], Any]

VALUES: Final = st.integers(0, 3)


def calls(versions: int = 4) -> st.SearchStrategy[Call]:
    """Calls of a versioned state."""
    return st.one_of(
        st.just(Read()),
        st.builds(Write, VALUES),
        st.builds(CompareAndSet, st.integers(0, versions), VALUES),
        st.builds(Add, st.integers(1, 2)),
        st.just(Delete()),
    )


def results(versions: int = 5) -> st.SearchStrategy[Result]:
    """Answers, right or not."""
    version = st.integers(0, versions)
    return st.one_of(
        st.builds(Seen, version, st.none() | VALUES),
        st.builds(Wrote, version),
        st.builds(Updated, version, VALUES),
        st.builds(Conflict, version, st.none() | VALUES),
    )


@st.composite
def linearizable_histories(
    draw: Draw, *, most: int = 8, keys: Sequence[str] = ("s",), unknown: bool = True
) -> list[Operation]:
    """Histories that some order explains: each operation takes effect at a point of its own, and its
    invocation and return lie around that point. Some outcomes are unknown, of those some never happen."""
    model = VersionedState()
    states = dict.fromkeys(keys, model.initial)
    history: list[Operation] = []
    for index in range(draw(st.integers(0, most))):
        point = 100 * index
        key = draw(st.sampled_from(keys))
        call = draw(calls(versions=index))
        version, _ = states[key]
        if isinstance(call, CompareAndSet) and draw(st.booleans()):
            call = CompareAndSet(version, call.value)
        lost = unknown and draw(st.integers(0, 9)) == 0
        result: Result | None = None
        if not (lost and draw(st.booleans())):
            result = answer(states[key], call)
            operation = Operation(client="", key=key, call=call, invoked=0, returned=0, result=result)
            states[key] = model.step(states[key], operation)
        history.append(
            Operation(
                client=f"c{index}",
                key=key,
                call=call,
                invoked=point - draw(st.integers(0, 250)),
                returned=None if lost else point + draw(st.integers(0, 250)),
                result=None if lost else result,
            )
        )
    return history


def answer(state: tuple[int, Any], call: Call) -> Result:
    """The right answer of a versioned state that nobody else is using."""
    version, value = state
    if isinstance(call, Read):
        return Seen(version, value)
    if isinstance(call, CompareAndSet):
        return Wrote(version + 1) if call.version == version else Conflict(version, value)
    if isinstance(call, Delete):
        return Seen(version, None) if value is None else Wrote(version + 1)
    if isinstance(call, Add):
        return Updated(version + 1, (value or 0) + call.amount)
    return Wrote(version + 1)


# --- ways to spoil a history ----------------------------------------------------------------------


def stale_read(history: Sequence[Operation]) -> list[Operation] | None:
    """The last read sees what was there before the newest write that had returned."""
    for index in range(len(history) - 1, -1, -1):
        operation, result = history[index], history[index].result
        if isinstance(result, Seen) and result.version > 1:
            earlier = [
                o
                for o in history
                if isinstance(o.result, Wrote)
                and o.result.version == result.version
                and o.returned is not None
                and o.returned < operation.invoked
            ]
            if earlier:
                return _with(history, index, Seen(result.version - 1, result.value))
    return None


def swapped_values(history: Sequence[Operation]) -> list[Operation] | None:
    """A read sees another value than was written."""
    for index, operation in enumerate(history):
        if isinstance(operation.result, Seen):
            value = operation.result.value
            return _with(history, index, Seen(operation.result.version, 7 if value is None else value + 7))
    return None


def dropped_write(history: Sequence[Operation]) -> list[Operation] | None:
    """An acknowledged write that later ones have built on was never made by anybody."""
    newest = max((o.result.version for o in history if isinstance(o.result, Wrote | Updated)), default=0)
    for index, operation in enumerate(history):
        if isinstance(operation.result, Wrote | Updated) and operation.result.version < newest:
            return [o for i, o in enumerate(history) if i != index and o.returned is not None]
    return None


def duplicated_version(history: Sequence[Operation]) -> list[Operation] | None:
    """Two writes were answered with the same version."""
    writes = [i for i, o in enumerate(history) if isinstance(o.result, Wrote | Updated)]
    if len(writes) < 2:
        return None
    first, second = history[writes[0]].result, history[writes[1]].result
    assert isinstance(first, Wrote | Updated)
    assert isinstance(second, Wrote | Updated)
    return _with(history, writes[1], msgspec.structs.replace(second, version=first.version))


MUTATORS: Final = (stale_read, swapped_values, dropped_write, duplicated_version)
"""Each returns a spoilt history, or `None` where it finds nothing to spoil."""


def _with(history: Sequence[Operation], index: int, result: Result) -> list[Operation]:
    spoilt = list(history)
    spoilt[index] = msgspec.structs.replace(history[index], result=result)
    return spoilt

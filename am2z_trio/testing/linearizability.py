"""Whether a history is linearizable: whether some order of its operations explains every answer.

`check` is the search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with Lowe's memo
("Testing for linearizability", 2017): operations are put in order one after the other, each
after those that returned before it was invoked; a set of operations that led to the same state before
is not tried again. Keys are checked by themselves. One thing is ours: an operation that is right now and
leaves the state as it is, is put next at once and never tried elsewhere. Wherever a right order
has it, it may stand here as well, for it changes nothing for the others; so reads cost no search. And of
operations of unknown outcome that nobody could tell apart, the one that was invoked first goes first.

`brute_force` tries every order and is what `check` is tested against.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, permutations
from typing import Any, Final, Literal

import msgspec

from .history import by_key
from .models import ILLEGAL, Model
from .operations import Add, Operation, Read, Updated, Write, Wrote

DEFAULT_BUDGET: Final = 5_000_000
"""Steps of the search per key before it gives up: tens of seconds."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a checker found."""

    outcome: Literal["linearizable", "not linearizable", "unknown"]
    operations: int
    steps: int = 0
    explanation: str = ""
    """For people; empty for a linearizable history."""

    @property
    def ok(self) -> bool:
        """Linearizable for sure: `unknown` is not."""
        return self.outcome == "linearizable"

    def assert_ok(self) -> None:
        """Raise `AssertionError` with the explanation unless it is ok."""
        if not self.ok:
            raise AssertionError(f"{self.outcome}: {self.explanation}")


def check(history: Iterable[Operation], model: Model, *, budget: int = DEFAULT_BUDGET) -> Verdict:
    """Search for an order that explains the history. Operations of unknown outcome may happen at any
    time after their invocation, or never."""
    steps = operations = 0
    for key, part in by_key(history).items():
        known = _without_unknown_reads(part)
        operations += len(part)
        search = _Search(known, model, budget)
        found = search.run()
        steps += search.steps
        if found is None:
            return Verdict(
                outcome="unknown",
                operations=operations,
                steps=steps,
                explanation=f"{key}: no answer within {budget:,} steps",
            )
        if not found:
            return Verdict(
                outcome="not linearizable",
                operations=operations,
                steps=steps,
                explanation=f"no order of these explains their answers\n{_explain(known, model, budget)}",
            )
    return Verdict(outcome="linearizable", operations=operations, steps=steps)


def brute_force(history: Sequence[Operation], model: Model) -> bool:
    """Try every order of every key's operations, with and without those of unknown outcome. For at most
    six operations or so."""
    return all(_any_order(part, model) for part in by_key(history).values())


def _any_order(part: Sequence[Operation], model: Model) -> bool:
    certain = [operation for operation in part if operation.returned is not None]
    open_ones = [operation for operation in part if operation.returned is None]
    for count in range(len(open_ones) + 1):
        for chosen in combinations(open_ones, count):
            if any(_explains(order, model) for order in permutations([*certain, *chosen])):
                return True
    return False


def _explains(order: Sequence[Operation], model: Model) -> bool:
    for index, operation in enumerate(order):
        if any(later.returned is not None and later.returned < operation.invoked for later in order[index:]):
            return False
    state: Any = model.initial
    for operation in order:
        state = model.step(state, operation)
        if state is ILLEGAL:
            return False
    return True


class _Search:
    """One key's search. Events are a doubly linked list of calls and returns in the order of time; an
    operation that is put in order is taken out of it, and put back when that led nowhere."""

    def __init__(self, part: Sequence[Operation], model: Model, budget: int) -> None:
        self._part = part
        self._model = model
        self._budget = budget
        self.steps = 0
        # At equal times calls go first: the operations overlap then, and more orders are allowed.
        events = [(operation.invoked, 0, index) for index, operation in enumerate(part)]
        events += [
            (operation.returned, 1, index)
            for index, operation in enumerate(part)
            if operation.returned is not None
        ]
        events.sort()
        self._op = [0, *(index for _, _, index in events)]
        self._is_return = [False, *(kind == 1 for _, kind, _ in events)]
        count = len(events) + 1
        self._next = [*range(1, count), 0]
        self._previous = [count - 1, *range(count - 1)]
        self._call_at = [0] * len(part)
        self._return_at = [0] * len(part)
        for position in range(1, count):
            at = self._return_at if self._is_return[position] else self._call_at
            at[self._op[position]] = position
        self._twin = _twins(part)
        told = [o.result.version for o in part if isinstance(o.result, Wrote | Updated)]
        self._told = {version for version in told if version >= 0}

    def run(self) -> bool | None:
        """Whether there is an order; `None` when the budget is used up."""
        part, step, following = self._part, self._model.step, self._next
        state: Any = self._model.initial
        left = sum(operation.returned is not None for operation in part)
        done = 0
        tried: set[tuple[int, Any]] = set()
        path: list[tuple[int, Any, bool]] = []
        position = following[0]
        while left:
            self.steps += 1
            if self.steps > self._budget:
                return None
            if position and not self._is_return[position]:
                index = self._op[position]
                operation = part[index]
                twin = self._twin[index]
                after = ILLEGAL if twin >= 0 and not done >> twin & 1 else step(state, operation)
                certain = operation.returned is not None
                if not certain and after is not ILLEGAL and self._leads_nowhere(state, after):
                    after = ILLEGAL
                forced = certain and after == state
                if after is not ILLEGAL and (forced or self._is_new(tried, done | 1 << index, after)):
                    path.append((index, state, forced))
                    state, done, left = after, done | 1 << index, left - certain
                    self._take_out(index)
                    position = following[0]
                else:
                    position = following[position]
                continue
            # An operation returned before anything could go before it: go back.
            while path:
                index, state, forced = path.pop()
                done, left = done & ~(1 << index), left + (part[index].returned is not None)
                self._put_back(index)
                if not forced:
                    position = following[self._call_at[index]]
                    break
            else:
                return False
        return True

    def _leads_nowhere(self, state: Any, after: Any) -> bool:
        """An operation of unknown outcome that changes nothing need not happen, and none can have made
        the version that somebody was told to have made."""
        return after == state or self._model.version(after) in self._told

    @staticmethod
    def _is_new(tried: set[tuple[int, Any]], done: int, state: Any) -> bool:
        key = (done, state)
        if key in tried:
            return False
        tried.add(key)
        return True

    def _take_out(self, index: int) -> None:
        for position in (self._call_at[index], self._return_at[index]):
            if position:
                before, after = self._previous[position], self._next[position]
                self._next[before], self._previous[after] = after, before

    def _put_back(self, index: int) -> None:
        for position in (self._return_at[index], self._call_at[index]):
            if position:
                self._next[self._previous[position]] = self._previous[self._next[position]] = position


def _twins(part: Sequence[Operation]) -> list[int]:
    """For each operation of unknown outcome the one before it that does the same; -1 for none.

    Writes of values that nobody was told of do the same: they count the version up. Not where somebody
    adds to a value, and so may have been told of it after all.
    """
    adds = any(isinstance(o.call, Add) for o in part)
    told = [getattr(o.result, "value", None) for o in part]
    twins, last = [-1] * len(part), dict[Any, int]()
    for index, operation in enumerate(part):
        if operation.returned is None:
            call = operation.call
            unseen = not adds and isinstance(call, Write) and call.value not in told
            kind: Any = Write if unseen else call
            twins[index] = last.get(kind, -1)
            last[kind] = index
    return twins


def _without_unknown_reads(part: Sequence[Operation]) -> list[Operation]:
    return [o for o in part if o.returned is not None or not isinstance(o.call, Read)]


def _explain(part: Sequence[Operation], model: Model, budget: int) -> str:
    """The shortest beginning that has no order; beginnings of linearizable histories are, too."""
    ends = sorted(o.returned for o in part if o.returned is not None)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if _Search(_until(part, ends[middle]), model, budget).run() is False:
            high = middle
        else:
            low = middle + 1
    shortest = _until(part, ends[low])
    shown = shortest[-15:]
    lines = [f"  ... {len(shortest) - len(shown)} before"] if len(shown) < len(shortest) else []
    first = shown[0].invoked
    for operation in shown:
        end = "..." if operation.returned is None else f"{operation.returned - first}"
        lines.append(f"  [{operation.invoked - first} .. {end}] {operation}")
    return "\n".join(lines)


def _until(part: Sequence[Operation], time: int) -> list[Operation]:
    """What was known of a history at some time."""
    known: list[Operation] = []
    for operation in part:
        if operation.invoked > time:
            continue
        if operation.returned is not None and operation.returned > time:
            operation = msgspec.structs.replace(operation, returned=None, result=None)  # noqa: PLW2901
        known.append(operation)
    return _without_unknown_reads(known)

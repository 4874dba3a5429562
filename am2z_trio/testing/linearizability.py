"""Linearizability: is there one legal order of all operations that agrees with real time?

```python
check(recorder.history(), VersionedState()).assert_ok()
```

* `check` - the search, for any model (L1)
* `brute_force` - every order there is, for up to six operations: the oracle of `check` (L2)
* `Verdict` - the answer of both, and of `am2z_trio.testing.certificate` (L0)

The search is that of Wing and Gong ("Testing and verifying concurrent objects", JPDC 17, 1993) with the
memo of Lowe ("Testing for linearizability", CCPE 29(4), 2017): of two orders of the same operations that
lead to the same state only one is pursued. Three things are added:

* *Reads are not branched on.* An operation that changes nothing (`Model.is_read`) is taken as soon as
  it is legal. This loses no order: moved forward to here, it leaves all the others as legal as they
  were. Histories that read much, which is most, lose most of their branches.
* *The set of operations done is short.* Known operations are sorted by invocation, and all below some
  `base` are done, so that a set is `base` and a bitmask of the few above it that overlap it.
* *Operations of unknown outcome are a set of their own.* They bound nobody and are tried last, where they
  would change something.

The problem is NP-complete (Gibbons and Korach, SIAM J. Comput. 26(4), 1997): a hostile history takes for
ever. So there is a budget, and when it is spent the answer is `unknown`, which is not ok. Costly are many
operations at once that are all legal and all change the state, and many unknown outcomes whose effects
nobody saw. Where results carry versions, as in `VersionedState`, nearly every step has one successor.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain, combinations, permutations
from typing import Final, Generic, Literal, TypeVar

import msgspec

from .history import Operation, describe_operations, split_by_key
from .models import NEVER, Model

CallT = TypeVar("CallT")
ResultT = TypeVar("ResultT")
StateT = TypeVar("StateT", bound=Hashable)

BUDGET: Final = 2_000_000
"""Steps of the model: a few seconds. A history of 10,000 operations, ten at a time, needs a tenth of it."""

MOST_BY_FORCE: Final = 6
"""Operations per key of `brute_force`: 6! orders are fast enough for thousands of examples."""

LAST_SHOWN: Final = 12
"""Operations shown before the point where the search is stuck."""

MOST_SHOWN: Final = 24
"""Operations shown there."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a checker found."""

    outcome: Literal["linearizable", "violation", "unknown"]
    """`unknown`: the budget did not suffice."""
    operations: int
    """How many were checked, unknown outcomes included."""
    steps: int
    """What it took: steps of the model, or operations looked at."""
    explanation: str = ""
    """For a person to read; empty if linearizable."""

    @property
    def ok(self) -> bool:
        """Whether the history was shown to be right: neither a violation nor unknown."""
        return self.outcome == "linearizable"

    def assert_ok(self) -> None:
        """Raise `AssertionError` with the explanation unless the verdict is ok."""
        if not self.ok:
            raise AssertionError(self.explanation)


def check(
    history: Iterable[Operation[CallT, ResultT]],
    model: Model[CallT, ResultT, StateT],
    *,
    budget: int = BUDGET,
) -> Verdict:
    """Search a legal order of every key's operations.

    `budget` is in steps of the model, for all keys together; explaining a violation takes up to as
    many again. Memory: some 200 bytes for each state of the search, of which there are fewer than steps.
    """
    parts = split_by_key(history)
    count = sum(map(len, parts.values()))
    steps = 0
    for key, operations in parts.items():
        search = _Search(operations, model, budget - steps)
        outcome = search.run()
        steps += search.steps
        if outcome == "unknown":
            text = (
                f"unknown: {budget} steps did not suffice to order the {len(operations)} operations of "
                f"{key!r} (unknown outcomes: {len(search.open)}); this counts as a failure"
            )
            return Verdict(outcome="unknown", operations=count, steps=steps, explanation=text)
        if outcome == "violation":
            text = _explain(key, operations, search, budget)
            return Verdict(outcome="violation", operations=count, steps=steps, explanation=text)
    return Verdict(outcome="linearizable", operations=count, steps=steps)


def brute_force(
    history: Iterable[Operation[CallT, ResultT]], model: Model[CallT, ResultT, StateT]
) -> Verdict:
    """Try every order of every key's operations, and every set of unknown ones among them.

    Straight from the definition, to judge other checkers by. Raises `ValueError` if a key has more than
    `MOST_BY_FORCE` operations.
    """
    parts = split_by_key(history)
    count = sum(map(len, parts.values()))
    tried = 0
    for key, operations in parts.items():
        if len(operations) > MOST_BY_FORCE:
            raise ValueError(f"{key!r} has {len(operations)} operations: more than {MOST_BY_FORCE}")
        known = [operation for operation in operations if operation.returned is not None]
        unknown = [operation for operation in operations if operation.returned is None]
        for some in chain.from_iterable(combinations(unknown, size) for size in range(len(unknown) + 1)):
            for order in permutations([*known, *some]):
                tried += 1
                if _is_legal(order, model):
                    break
            else:
                continue
            break
        else:
            start = operations[0].invoked
            text = f"not linearizable: no order of these is legal\n{describe_operations(operations, start)}"
            return Verdict(outcome="violation", operations=count, steps=tried, explanation=text)
    return Verdict(outcome="linearizable", operations=count, steps=tried)


def _is_legal(order: Sequence[Operation[CallT, ResultT]], model: Model[CallT, ResultT, StateT]) -> bool:
    state = model.initial
    for place, operation in enumerate(order):
        before = min((NEVER if later.returned is None else later.returned) for later in order[place:])
        if before < operation.invoked:
            return False
        following = model.step(state, operation, before)
        if following is None:
            return False
        state = following
    return True


class _Point(msgspec.Struct, Generic[StateT], frozen=True, gc=False):
    """Where a search is. The first four fields say which operations are done, and are its identity."""

    base: int
    """All known operations below this index are done."""
    window: int
    """Bit i: known operation `base + i` is done. The lowest is 0, except at the end."""
    opened: int
    """Bit i: operation i of unknown outcome has taken effect."""
    state: StateT


class _Search(Generic[CallT, ResultT, StateT]):
    """One depth-first search over one key, without recursion."""

    def __init__(
        self,
        operations: Sequence[Operation[CallT, ResultT]],
        model: Model[CallT, ResultT, StateT],
        budget: int,
    ) -> None:
        """`operations` are sorted by invocation."""
        self.model: Final = model
        self.budget: Final = budget
        self.steps = 0
        self.known: Final = [one for one in operations if one.returned is not None]
        self.open: Final = [
            one for one in operations if one.returned is None and not model.is_read(model.initial, one)
        ]
        # Lists of integers: these are looked at in the innermost loop.
        self._invoked: Final = [one.invoked for one in self.known]
        self._returned: Final = [NEVER if one.returned is None else one.returned for one in self.known]
        self.deadline = -1
        """The latest time such that some order is legal for all that returned before it."""
        self.stuck: _Point[StateT] | None = None
        """The point that reached the deadline, and of several one that needs few unknown operations."""
        self._supposed = 0
        self.trail: list[Operation[CallT, ResultT]] = []
        """The last operations that led there."""
        self.done = 0
        """How many led there."""

    def run(self) -> Literal["linearizable", "violation", "unknown"]:
        """Search until the end, a dead end everywhere, or the budget's end."""
        done: list[Operation[CallT, ResultT]] = []
        first = self._take_reads(_Point(0, 0, 0, self.model.initial), done)
        seen = {first}
        stack = [(first, self._successors(first), len(done))]
        if first.base == len(self.known):
            return "linearizable"
        while stack:
            if self.steps > self.budget:
                return "unknown"
            here, successors, length = stack[-1]
            for operation, after in successors:
                del done[length:]
                done.append(operation)
                point = self._take_reads(after, done)
                if point.base == len(self.known):
                    return "linearizable"
                if point not in seen:
                    seen.add(point)
                    stack.append((point, self._successors(point), len(done)))
                    break
            else:
                stack.pop()
                del done[length:]
                self._note(here, done)
        return "violation"

    def _candidates(self, point: _Point[StateT]) -> tuple[list[int], int]:
        """Known operations that may be next, and the time by which whatever is next takes effect.

        May be next: nobody of those not done returned before it was invoked.
        """
        invoked, returned, count = self._invoked, self._returned, len(self.known)
        found: list[int] = []
        before = NEVER
        free = ~point.window
        while True:
            index = point.base + (free & -free).bit_length() - 1
            # Whoever comes later was invoked later still, and returned after that.
            if index >= count or invoked[index] > before:
                return found, before
            found.append(index)
            before = min(before, returned[index])
            free &= free - 1

    def _with(self, point: _Point[StateT], index: int, state: StateT) -> _Point[StateT]:
        base, window = point.base, point.window | 1 << (index - point.base)
        if window & 1:
            low = (~window & (window + 1)).bit_length() - 1
            base, window = base + low, window >> low
        return _Point(base, window, point.opened, state)

    def _take_reads(self, point: _Point[StateT], done: list[Operation[CallT, ResultT]]) -> _Point[StateT]:
        """Do all reads that are legal here, and those that become possible thereby."""
        state, model = point.state, self.model
        while True:
            candidates, before = self._candidates(point)
            here = point
            for index in candidates:
                operation = self.known[index]
                if model.is_read(state, operation):
                    self.steps += 1
                    if model.step(state, operation, before) is not None:
                        point = self._with(point, index, state)
                        done.append(operation)
            if point is here:
                return point

    def _successors(
        self, point: _Point[StateT]
    ) -> Iterator[tuple[Operation[CallT, ResultT], _Point[StateT]]]:
        state, model = point.state, self.model
        candidates, before = self._candidates(point)
        for index in candidates:
            operation = self.known[index]
            if model.is_read(state, operation):
                continue  # If it were legal here, it would be done.
            self.steps += 1
            following = model.step(state, operation, before)
            if following is not None:
                yield operation, self._with(point, index, following)
        for index, operation in enumerate(self.open):
            if operation.invoked > before:
                break
            if point.opened >> index & 1:
                continue
            self.steps += 1
            following = model.step(state, operation, before)
            # What would change nothing need not have happened.
            if following is not None and following != state:
                opened = point.opened | 1 << index
                yield operation, _Point(point.base, point.window, opened, following)

    def _note(self, point: _Point[StateT], done: list[Operation[CallT, ResultT]]) -> None:
        """Remember a point that leads nowhere if no other came as far in time, or supposes less."""
        _, before = self._candidates(point)
        if before < self.deadline:
            return
        if self.stuck is None or before > self.deadline or point.opened.bit_count() < self._supposed:
            self.deadline, self.stuck, self._supposed = before, point, point.opened.bit_count()
            self.trail, self.done = done[-LAST_SHOWN:], len(done)

    def next_ones(self, point: _Point[StateT]) -> list[Operation[CallT, ResultT]]:
        """The operations that real time allows to be next."""
        candidates, before = self._candidates(point)
        unknown = [
            one
            for index, one in enumerate(self.open)
            if one.invoked <= before and not point.opened >> index & 1
        ]
        return [*(self.known[index] for index in candidates), *unknown]


def _explain(
    key: str,
    operations: Sequence[Operation[CallT, ResultT]],
    search: _Search[CallT, ResultT, StateT],
    budget: int,
) -> str:
    """Say what a person needs to see: the shortest prefix that is wrong, and where its search is stuck."""
    prefix, search, shortest = _shortest_prefix(operations, search, budget)
    start = operations[0].invoked
    point = search.stuck
    assert point is not None  # A violation has at least one dead end: the first point.
    next_ones = search.next_ones(point)
    shown = next_ones[:MOST_SHOWN]
    lines = [
        f"not linearizable: of the {len(operations)} operations of {key!r}, "
        f"{'' if shortest else 'at most '}the first {len(prefix)} have no legal order",
        "(times in ms since the first one was invoked; `never`: the outcome was not known by then)",
        "",
        f"The order that comes furthest has {search.done} of them; its last:",
        _indent(describe_operations(search.trail, start)) or "    (none)",
        "which leads to:",
        f"    {point.state}",
        "Where one of these would have to be next, and none is legal or leads further"
        + (f" (the first {MOST_SHOWN} of {len(next_ones)}):" if len(next_ones) > MOST_SHOWN else ":"),
        _indent(describe_operations(shown, start)),
    ]
    return "\n".join(lines)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _shortest_prefix(
    operations: Sequence[Operation[CallT, ResultT]],
    search: _Search[CallT, ResultT, StateT],
    budget: int,
) -> tuple[Sequence[Operation[CallT, ResultT]], _Search[CallT, ResultT, StateT], bool]:
    """Find the earliest time at which the history was wrong: operations, their search, if it is sure.

    Prefixes of linearizable histories are linearizable, so this is a bisection.
    """
    ends = sorted({one.returned for one in operations if one.returned is not None})
    low, high = bisect_left(ends, search.deadline), len(ends) - 1
    shortest: Sequence[Operation[CallT, ResultT]] = operations
    # All that returned before the deadline has a legal order, and mostly the deadline is it already:
    # so look 0, 1, 3, 7, ... ends ahead rather than in the middle.
    stride = 0
    while low < high:
        middle = min(low + stride, (low + high) // 2)
        prefix = _prefix(operations, ends[middle])
        attempt = _Search(prefix, search.model, budget)
        outcome = attempt.run()
        budget -= attempt.steps
        if outcome == "violation":
            high, shortest, search = middle, prefix, attempt
        elif outcome == "linearizable":
            low, stride = middle + 1, 2 * stride + 1
        else:
            return shortest, search, False
    return shortest, search, True


def _prefix(operations: Sequence[Operation[CallT, ResultT]], end: int) -> list[Operation[CallT, ResultT]]:
    """What was known at a time: what returned later was under way."""
    return [
        one
        if one.returned is None or one.returned <= end
        else msgspec.structs.replace(one, returned=None, result=None)
        for one in operations
        if one.invoked <= end
    ]

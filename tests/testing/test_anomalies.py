"""Histories that are known to be wrong, or right, and why: each written as a timeline.

`at(3, 7, call, result)` was invoked at 3 ns and returned at 7 ns; `never(3, call)` has no known outcome.
"""

from __future__ import annotations

import pytest

from am2z_trio.testing.certificate import certify
from am2z_trio.testing.history import Operation
from am2z_trio.testing.linearizability import brute_force, check
from am2z_trio.testing.models import (
    ABSENT,
    Acquire,
    Add,
    Append,
    CompareAndSet,
    Conflict,
    Delete,
    Granted,
    LockedOperation,
    LockedState,
    LockedWrite,
    Read,
    Refused,
    Release,
    Renew,
    Seen,
    Update,
    Updated,
    VersionedOperation,
    VersionedState,
    Write,
    Wrote,
)


def at(invoked, returned, call, result):
    return Operation(client="c", key="k", call=call, invoked=invoked, returned=returned, result=result)


def never(invoked, call):
    return Operation(client="c", key="k", call=call, invoked=invoked)


RIGHT: dict[str, list[VersionedOperation]] = {
    "empty": [],
    "first read finds nothing": [at(0, 1, Read(), Seen(0))],
    "a read during a write may see either": [
        at(0, 9, Write("a"), Wrote(1)),
        at(1, 2, Read(), Seen(0)),
        at(3, 4, Read(), Seen(1, "a")),
    ],
    "the order of overlapping writes is free": [
        at(0, 9, Write("a"), Wrote(2)),
        at(1, 8, Write("b"), Wrote(1)),
        at(10, 11, Read(), Seen(2, "a")),
    ],
    "at one instant is not after": [at(0, 5, Write("a"), Wrote(1)), at(5, 6, Read(), Seen(0))],
    "an unknown write never shows up": [never(0, Write("a")), at(1, 2, Read(), Seen(0))],
    "an unknown write shows up late": [
        never(0, Write("late")),
        at(1, 2, Read(), Seen(0)),
        at(3, 4, Write("b"), Wrote(1)),
        at(5, 6, Read(), Seen(1, "b")),
        at(7, 8, Read(), Seen(2, "late")),
    ],
    "an unknown write was overwritten unseen": [never(0, Write("a")), at(1, 2, Write("b"), Wrote(2))],
    "an unknown update in between": [
        at(0, 1, Write(1), Wrote(1)),
        never(2, Update(Add(10))),
        at(3, 4, Update(Add(1)), Updated(3, 12)),
    ],
    "a value may expire": [
        at(0, 1, Write("a"), Wrote(1)),
        never(0, Delete()),
        at(2, 3, Read(), Seen(1, "a")),
        at(4, 5, Read(), Seen(2)),
    ],
    "versions go on after a deletion": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, Delete(), Wrote(2)),
        at(4, 5, Delete(), Wrote(2)),
        at(6, 7, Write("b"), Wrote(3)),
    ],
    "two deletions at once, of which one writes": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 9, Delete(), Wrote(2)),
        at(3, 4, Delete(), Wrote(2)),
    ],
    "absent counts as empty": [at(0, 1, Update(Append("x")), Updated(1, ["x"]))],
    "a store's lists equal our tuples": [
        at(0, 1, Write((1, 2)), Wrote(1)),
        at(2, 3, Read(), Seen(1, [1, 2])),
    ],
}

WRONG: dict[str, list[VersionedOperation]] = {
    "stale read": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, Write("b"), Wrote(2)),
        at(4, 5, Read(), Seen(1, "a")),
    ],
    "reads that go back": [
        at(0, 9, Write("a"), Wrote(1)),
        at(1, 2, Read(), Seen(1, "a")),
        at(3, 4, Read(), Seen(0)),
    ],
    "lost update: two made one version": [
        at(0, 5, Update(Add(1)), Updated(1, 1)),
        at(1, 6, Update(Add(1)), Updated(1, 1)),
    ],
    "lost update: the second did not see the first": [
        at(0, 5, Update(Add(1)), Updated(1, 1)),
        at(1, 6, Update(Add(1)), Updated(2, 1)),
    ],
    "an append lost an item": [
        at(0, 1, Update(Append("x")), Updated(1, ["x"])),
        at(2, 3, Update(Append("y")), Updated(2, ["y"])),
    ],
    "a compare-and-set that did not compare": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, CompareAndSet(0, "b"), Wrote(2)),
    ],
    "a conflict where there was none": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, CompareAndSet(1, "b"), Conflict(1, "a")),
    ],
    "a version that starts again after a deletion": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, Delete(), Wrote(2)),
        at(4, 5, Write("b"), Wrote(1)),
    ],
    "a deletion that left the value": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, Delete(), Wrote(2)),
        at(4, 5, Read(), Seen(2, "a")),
    ],
    "a value that nobody wrote": [at(0, 1, Write("a"), Wrote(1)), at(2, 3, Read(), Seen(1, "b"))],
    "True is not 1": [at(0, 1, Write(1), Wrote(1)), at(2, 3, Read(), Seen(1, True))],
    "a version that nobody wrote": [at(0, 1, Write("a"), Wrote(2))],
    "an acknowledged write was lost": [
        at(0, 1, Write("a"), Wrote(1)),
        at(2, 3, Read(), Seen(0)),
    ],
    "an unknown write seen, then unseen": [
        never(0, Write("a")),
        at(1, 2, Read(), Seen(1, "a")),
        at(3, 4, Read(), Seen(0)),
    ],
    "an unknown write that was seen before it was invoked": [
        at(0, 1, Read(), Seen(1, "a")),
        never(2, Write("a")),
    ],
    "one unknown write applied twice": [
        never(0, Write("a")),
        at(1, 2, Read(), Seen(1, "a")),
        at(3, 4, Write("b"), Wrote(2)),
        at(5, 6, Read(), Seen(3, "a")),
    ],
    "an unknown compare-and-set too late for its version": [
        never(0, CompareAndSet(0, "a")),
        at(1, 2, Write("b"), Wrote(1)),
        at(3, 4, Read(), Seen(2, "a")),
    ],
    "an answer to another call": [at(0, 1, Write("a"), Seen(1, "a"))],
}


@pytest.mark.parametrize("name", RIGHT)
def test_versioned_history_is_accepted(name):
    history = RIGHT[name]
    certify(history).assert_ok()
    check(history, VersionedState()).assert_ok()
    check(history, LockedState()).assert_ok()
    brute_force(history, VersionedState()).assert_ok()


@pytest.mark.parametrize("name", WRONG)
def test_versioned_history_is_rejected(name):
    history = WRONG[name]
    assert certify(history).outcome == "violation"
    assert check(history, VersionedState()).outcome == "violation"
    assert check(history, LockedState()).outcome == "violation"
    assert brute_force(history, VersionedState()).outcome == "violation"


LEASE = 100

LOCK_RIGHT: dict[str, list[LockedOperation]] = {
    "taken, used, renewed and given back": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 3, LockedWrite(1, "a"), Wrote(1)),
        at(90, 95, Renew(1), True),
        at(180, 185, LockedWrite(1, "b"), Wrote(2)),
        at(186, 187, Release(1), True),
        at(188, 189, Acquire(LEASE), Granted(2)),
        at(190, 191, Read(), Seen(2, "b")),
    ],
    "fences may skip numbers": [
        at(0, 1, Acquire(LEASE), Granted(4)),
        at(2, 3, Release(4), True),
        at(4, 5, Acquire(LEASE), Granted(9)),
    ],
    "a lease may run out at the first moment it can": [
        at(0, 50, Acquire(LEASE), Granted(1)),
        at(99, 100, Acquire(LEASE), Granted(2)),
    ],
    "a holder may write until the last moment it can": [
        at(0, 50, Acquire(LEASE), Granted(1)),
        at(150, 160, LockedWrite(1, "a"), Wrote(1)),
    ],
    "who waited in line gets it at the release": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 12, Acquire(LEASE), Granted(2)),
        at(10, 11, Release(1), True),
        at(13, 14, LockedWrite(1, "a"), Refused()),
    ],
    "an expired holder is refused, even if nobody followed": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(200, 201, LockedWrite(1, "a"), Refused()),
        at(202, 203, Renew(1), False),
        at(204, 205, Release(1), False),
        at(206, 207, Acquire(LEASE), Granted(2)),
    ],
    "an unknown release lets another in": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        never(2, Release(1)),
        at(3, 4, Acquire(LEASE), Granted(2)),
    ],
    "an unknown grant keeps others waiting and uses up a fence": [
        never(0, Acquire(LEASE)),
        at(1, 150, Acquire(LEASE), Granted(2)),
    ],
    "an unknown renewal keeps the lease": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        never(90, Renew(1)),
        at(180, 181, LockedWrite(1, "a"), Wrote(1)),
    ],
    "an unknown write under the lock shows up": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        never(2, LockedWrite(1, "a")),
        at(3, 4, Read(), Seen(1, "a")),
    ],
    "whoever heeds no lock may write": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 3, Write("a"), Wrote(1)),
        at(4, 5, Delete(), Wrote(2)),
        at(6, 7, Read(), Seen(2, ABSENT)),
    ],
}

LOCK_WRONG: dict[str, list[LockedOperation]] = {
    "split brain: granted while a lease surely runs": [
        at(0, 50, Acquire(LEASE), Granted(1)),
        at(60, 99, Acquire(LEASE), Granted(2)),
    ],
    "split brain: granted in spite of a renewal": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(90, 91, Renew(1), True),
        at(150, 160, Acquire(LEASE), Granted(2)),
    ],
    "split brain: the second lease began when the first ended, not when it was asked for": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 110, Acquire(LEASE), Granted(2)),
        at(150, 160, Acquire(LEASE), Granted(3)),
    ],
    "one fence granted twice": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 3, Release(1), True),
        at(4, 5, Acquire(LEASE), Granted(1)),
    ],
    "fences that go back": [
        at(0, 1, Acquire(LEASE), Granted(2)),
        at(2, 3, Release(2), True),
        at(4, 5, Acquire(LEASE), Granted(1)),
    ],
    "write by a holder whose lease has run out": [
        at(0, 50, Acquire(LEASE), Granted(1)),
        at(151, 160, LockedWrite(1, "a"), Wrote(1)),
    ],
    "write by a holder who was followed": [
        at(0, 50, Acquire(LEASE), Granted(1)),
        at(99, 101, Acquire(LEASE), Granted(2)),
        at(102, 103, LockedWrite(1, "a"), Wrote(1)),
    ],
    "write after the release": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 3, Release(1), True),
        at(4, 5, LockedWrite(1, "a"), Wrote(1)),
    ],
    "write under a grant that never was": [at(0, 1, LockedWrite(1, "a"), Wrote(1))],
    "a release that frees another's lock": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(101, 102, Acquire(LEASE), Granted(2)),
        at(103, 104, Release(1), False),
        at(105, 106, Acquire(LEASE), Granted(3)),
    ],
    "a renewal without owner check": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(101, 102, Acquire(LEASE), Granted(2)),
        at(103, 104, Renew(1), True),
    ],
    "a lease that had passed is brought back": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(95, 100, Renew(1), False),
        at(101, 102, Renew(1), True),
    ],
    "a holder refused while its lease surely runs": [
        at(0, 50, Acquire(LEASE), Granted(1)),
        at(60, 99, LockedWrite(1, "a"), Refused()),
    ],
    "an unknown grant cannot have ended a lease that surely ran": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        never(2, Acquire(LEASE)),
        at(3, 4, LockedWrite(1, "a"), Refused()),
    ],
    "a refused write that wrote": [
        at(0, 1, LockedWrite(1, "a"), Refused()),
        at(2, 3, Read(), Seen(1, "a")),
    ],
    "a grant without an answer's fence": [at(0, 1, Acquire(LEASE), True)],
    "an acknowledged 1 is not a yes": [
        at(0, 1, Acquire(LEASE), Granted(1)),
        at(2, 3, Renew(1), Wrote(1)),
    ],
}


@pytest.mark.parametrize("name", LOCK_RIGHT)
def test_locked_history_is_accepted(name):
    history = LOCK_RIGHT[name]
    check(history, LockedState()).assert_ok()
    certify(history).assert_ok()
    if len(history) <= 6:
        brute_force(history, LockedState()).assert_ok()


@pytest.mark.parametrize("name", LOCK_WRONG)
def test_locked_history_is_rejected(name):
    history = LOCK_WRONG[name]
    assert check(history, LockedState()).outcome == "violation"
    assert brute_force(history, LockedState()).outcome == "violation"

"""The checkers against each other, against right and spoilt histories, and at size."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from am2z_trio.testing.certificate import certify
from am2z_trio.testing.history import Recorder, load, save
from am2z_trio.testing.linearizability import brute_force, check
from am2z_trio.testing.models import ILLEGAL, LockedState, Value, VersionedState
from am2z_trio.testing.operations import (
    Acquire,
    Add,
    Call,
    CompareAndSet,
    Conflict,
    Delete,
    Granted,
    Held,
    LockedWrite,
    Operation,
    Read,
    Refused,
    Release,
    Renew,
    Result,
    Seen,
    Updated,
    Write,
    Wrote,
)
from am2z_trio.testing.strategies import MUTATORS, answer, calls, linearizable_histories, results

STATE = VersionedState()


def op(invoked: int, returned: int | None, call: Call, result: Result | None = None, client: str = "c"):
    return Operation(client=client, key="s", call=call, invoked=invoked, returned=returned, result=result)


@st.composite
def any_histories(draw, answers=None) -> list[Operation]:
    history = []
    for _ in range(draw(st.integers(0, 5))):
        invoked = draw(st.integers(0, 20))
        lost = draw(st.integers(0, 4)) == 0
        call = draw(calls(3))
        result = None if lost else draw(answers or results(4))
        history.append(op(invoked, None if lost else invoked + draw(st.integers(0, 10)), call, result))
    return history


# --- against each other ---------------------------------------------------------------------------


@given(linearizable_histories(keys=("s", "t")))
def test_what_is_linearizable_by_construction_is_accepted_by_all(history):
    check(history, STATE).assert_ok()
    certify(history).assert_ok()


@given(any_histories())
def test_the_search_and_brute_force_agree_on_anything(history):
    assert check(history, STATE).ok == brute_force(history, STATE)


@given(linearizable_histories(most=5), st.data())
def test_the_search_and_brute_force_agree_on_what_is_almost_right(history, data):
    assume(history)
    index = data.draw(st.integers(0, len(history) - 1))
    assume(history[index].returned is not None)
    history[index] = msgspec.structs.replace(history[index], result=data.draw(results(4)))
    verdict = check(history, STATE)
    assert verdict.ok == brute_force(history, STATE)
    assert bool(verdict.explanation) == (not verdict.ok)
    if verdict.ok:
        certify(history).assert_ok()


@given(any_histories())
def test_the_certificate_accepts_whatever_the_search_accepts(history):
    if check(history, STATE).ok:
        certify(history).assert_ok()


@given(linearizable_histories(most=6, unknown=False), st.data())
def test_with_all_outcomes_known_the_certificate_decides(history, data):
    assume(history)
    index = data.draw(st.integers(0, len(history) - 1))
    history[index] = msgspec.structs.replace(history[index], result=data.draw(results(5)))
    assert certify(history).ok == check(history, STATE).ok


@pytest.mark.parametrize("spoil", MUTATORS, ids=lambda spoil: spoil.__name__)
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow], max_examples=30)
@given(history=linearizable_histories(most=6, unknown=False))
def test_a_spoilt_history_is_refused(spoil, history):
    spoilt = spoil(history)
    assume(spoilt is not None)
    assume(not brute_force(spoilt, STATE))
    assert not check(spoilt, STATE).ok
    assert not certify(spoilt).ok


# --- known anomalies ------------------------------------------------------------------------------

ANOMALIES = {
    "stale read": [op(0, 1, Write(1), Wrote(1)), op(2, 3, Read(), Seen(0, None))],
    "lost update": [
        op(0, 5, Add(1), Updated(1, 1)),
        op(0, 5, Add(1), Updated(1, 1)),
    ],
    "read from the future": [op(0, 1, Read(), Seen(1, 1)), op(2, 3, Write(1), Wrote(1))],
    "version goes back": [
        op(0, 1, Write(1), Wrote(1)),
        op(2, 3, Delete(), Wrote(2)),
        op(4, 5, Write(2), Wrote(1)),
    ],
    "compare-and-set on another version": [
        op(0, 1, Write(1), Wrote(1)),
        op(2, 3, Write(2), Wrote(2)),
        op(4, 5, CompareAndSet(1, 3), Wrote(3)),
    ],
    "unknown write seen, then unseen": [
        op(0, None, Write(1)),
        op(1, 2, Read(), Seen(1, 1)),
        op(3, 4, Read(), Seen(0, None)),
    ],
    "acknowledged write applied twice": [
        op(0, 1, Add(1), Updated(1, 1)),
        op(2, 3, Read(), Seen(2, 2)),
    ],
    "two reads in two orders": [
        op(0, 9, Write(1), Wrote(1)),
        op(1, 2, Read(), Seen(1, 1)),
        op(3, 4, Read(), Seen(0, None)),
    ],
}


@pytest.mark.parametrize("name", ANOMALIES)
def test_known_anomalies_are_refused_with_a_reason(name):
    for verdict in (check(ANOMALIES[name], STATE), certify(ANOMALIES[name])):
        assert verdict.outcome == "not linearizable"
        assert "c" in verdict.explanation
        with pytest.raises(AssertionError, match="not linearizable"):
            verdict.assert_ok()


def test_an_unknown_write_may_show_up_late_or_never():
    late = [op(0, None, Write(1)), op(5, 6, Read(), Seen(0, None)), op(7, 8, Read(), Seen(1, 1))]
    for history in (late, late[:2]):
        check(history, STATE).assert_ok()
        certify(history).assert_ok()


def test_a_lost_write_that_was_built_upon_is_not_mistaken_for_another():
    history = [op(0, None, Write(10)), op(2, None, Write(20)), op(5, 7, Add(1), Updated(2, 21))]
    check(history, STATE).assert_ok()


def test_the_explanation_is_the_shortest_beginning():
    history = [op(10 * i, 10 * i + 5, Add(1), Updated(i + 1, i + 1)) for i in range(50)]
    history[20] = op(200, 205, Add(1), Updated(21, 99))
    text = check(history, STATE).explanation
    assert "Updated(21, 99)" in text
    assert "Updated(22, 22)" not in text


# --- the lock -------------------------------------------------------------------------------------

LOCK = LockedState()


def test_a_lock_that_is_handed_on_and_expires_is_accepted():
    check(
        [
            op(0, 1, Acquire(100), Granted(1), "a"),
            op(2, 3, LockedWrite(1, "x"), Wrote(1), "a"),
            op(4, 150, Acquire(100), Granted(2), "b"),  # the lease of a ran out
            op(151, 152, LockedWrite(1, "y"), Refused(), "a"),
            op(153, 154, Renew(1, 100), Held(False), "a"),
            op(155, 156, LockedWrite(2, "z"), Wrote(2), "b"),
            op(157, 158, Release(2), Held(True), "b"),
            op(159, 160, Read(), Seen(2, "z"), "a"),
            op(161, 162, Acquire(100), Granted(5), "a"),
        ],
        LOCK,
    ).assert_ok()


@pytest.mark.parametrize(
    ("name", "history"),
    [
        ("two holders", [op(0, 1, Acquire(100), Granted(1)), op(2, 3, Acquire(100), Granted(2))]),
        (
            "fence goes back",
            [
                op(0, 1, Acquire(9), Granted(5)),
                op(2, 3, Release(5), Held(True)),
                op(4, 5, Acquire(9), Granted(4)),
            ],
        ),
        (
            "write by an expired holder",
            [op(0, 1, Acquire(10), Granted(1)), op(50, 51, LockedWrite(1, 1), Wrote(1))],
        ),
        (
            "write after release",
            [
                op(0, 1, Acquire(99), Granted(1)),
                op(2, 3, Release(1), Held(True)),
                op(4, 5, LockedWrite(1, 1), Wrote(1)),
            ],
        ),
        (
            "renewed after another was granted",
            [
                op(0, 1, Acquire(10), Granted(1)),
                op(20, 21, Acquire(99), Granted(2)),
                op(22, 23, Renew(1, 99), Held(True)),
            ],
        ),
        (
            "refused while held",
            [op(0, 1, Acquire(99), Granted(1)), op(2, 3, LockedWrite(1, 1), Refused())],
        ),
        ("expired lease renewed", [op(0, 1, Acquire(10), Granted(1)), op(50, 51, Renew(1, 9), Held(True))]),
    ],
)
def test_a_lock_that_lies_is_found_out(name, history):
    assert not check(history, LOCK).ok
    assert not brute_force(history, LOCK)


@given(st.data())
def test_the_search_and_brute_force_agree_on_locks(data):
    history = []
    for _ in range(data.draw(st.integers(0, 5))):
        fence = data.draw(st.integers(1, 2))
        call, answers = data.draw(
            st.sampled_from(
                [
                    (Acquire(10), [Granted(1), Granted(2)]),
                    (Renew(fence, 10), [Held(True), Held(False)]),
                    (Release(fence), [Held(True), Held(False)]),
                    (LockedWrite(fence, 1), [Wrote(1), Wrote(2), Refused()]),
                    (Read(), [Seen(0, None), Seen(1, 1)]),
                ]
            )
        )
        invoked = data.draw(st.integers(0, 25))
        lost = data.draw(st.integers(0, 4)) == 0
        history.append(
            op(
                invoked,
                None if lost else invoked + data.draw(st.integers(0, 10)),
                call,
                None if lost else data.draw(st.sampled_from(answers)),
            )
        )
    assert check(history, LOCK).ok == brute_force(history, LOCK)


# --- the recorder ---------------------------------------------------------------------------------


def test_the_recorder_knows_what_it_does_not_know(tmp_path: Path):
    ticks = iter(range(100))
    recorder = Recorder(lambda: next(ticks))
    with recorder.call("a", "s", Write(1)) as pending:
        pending.returned(Wrote(1))
    with pytest.raises(TimeoutError), recorder.call("b", "s", Add(1)):
        raise TimeoutError
    with recorder.call("c", "s", Write(2)) as pending:
        pending.failed()
    assert recorder.history == [
        op(0, 1, Write(1), Wrote(1), "a"),
        op(2, None, Add(1), None, "b"),
    ]
    save(recorder.history, tmp_path / "one")
    save([op(7, 8, Read(), Seen(1, 1))], tmp_path / "two")
    assert load(tmp_path / "one", tmp_path / "two") == [*recorder.history, op(7, 8, Read(), Seen(1, 1))]


# --- sizes ----------------------------------------------------------------------------------------


def big_history(count: int, clients: int, keys: int, lost: float = 0.0) -> list[Operation]:
    """A right history: operations take effect in order, and each client waits for its answer."""
    rng = random.Random(1)
    states = {f"k{i}": Value() for i in range(keys)}
    free = [0.0] * clients
    history = []
    for index in range(count):
        point = 10 * index
        client = rng.randrange(clients)
        key = f"k{rng.randrange(keys)}"
        choices: list[Call] = [Read(), Read(), Write(index), Add(1), CompareAndSet(states[key].version, 5)]
        call = rng.choice(choices)
        result = answer(states[key], call)
        invoked = max(free[client], point - rng.randrange(10 * clients))
        unknown = rng.random() < lost
        returned = point + rng.randrange(10 * clients)
        free[client] = returned + 1 if returned > invoked else invoked
        if invoked > point:
            continue
        operation = op(int(invoked), None if unknown else returned, call, None if unknown else result)
        operation = msgspec.structs.replace(operation, key=key, client=f"c{client}")
        after = STATE.step(states[key], operation)
        assert after is not ILLEGAL
        states[key] = after
        history.append(operation)
    return history


def test_a_hundred_thousand_operations_are_certified():
    history = big_history(260_000, clients=20, keys=4)
    assert len(history) >= 100_000
    certify(history).assert_ok()
    spoilt = next(i for i, o in enumerate(history) if i > 90_000 and isinstance(o.result, Seen))
    history[spoilt] = msgspec.structs.replace(history[spoilt], result=Seen(1, "never"))
    assert not certify(history).ok


def test_ten_thousand_operations_are_searched():
    history = big_history(26_000, clients=20, keys=4, lost=0.001)
    assert len(history) >= 10_000
    verdict = check(history, STATE)
    verdict.assert_ok()
    assert verdict.operations == len(history)


def test_a_search_that_gives_up_is_not_ok():
    verdict = check(big_history(2_000, clients=10, keys=1), STATE, budget=50)
    assert verdict.outcome == "unknown"
    assert not verdict.ok
    with pytest.raises(AssertionError, match="50 steps"):
        verdict.assert_ok()


def test_a_conflict_answers_with_what_is_there():
    check([op(0, 1, Write(1), Wrote(1)), op(2, 3, CompareAndSet(0, 2), Conflict(1, 1))], STATE).assert_ok()
    wrong = [op(0, 1, Write(1), Wrote(1)), op(2, 3, CompareAndSet(1, 2), Conflict(1, 1))]
    assert not check(wrong, STATE).ok
    assert not certify(wrong).ok

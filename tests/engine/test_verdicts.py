"""What the end of a run means, and how it is written down: without a store, a node or a loop."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from am2z_trio import (
    AM2ZError,
    BusinessError,
    CircuitOpenError,
    DeadlineExceededError,
    JobCancelledError,
    PayloadTooLargeError,
    ProcessorExecutionError,
    ProcessorTimeoutError,
    RetryPolicy,
    SessionStoppedError,
    ValidationError,
    processor,
)
from am2z_trio.engine.claim import Claim, Stop
from am2z_trio.engine.execution.attempt import Attempt
from am2z_trio.engine.execution.settlements import KEPT_ERRORS, Settlements, released
from am2z_trio.engine.execution.verdict import (
    NEWER_LATER,
    Cancelled,
    Failed,
    Released,
    Retried,
    error_of_run,
    falls_back,
    judge,
)
from am2z_trio.engine.processors.registry import Definition
from am2z_trio.model.codec import RecordDecoder, checksum, encode_record
from am2z_trio.model.error_records import record_of
from am2z_trio.model.limits import MAX_HISTORY_BYTES
from am2z_trio.model.records import (
    DEADLINE,
    NO_STATE,
    SESSION_STOPPED,
    WIRE_VERSION,
    AttemptError,
    Grant,
    JobSpec,
    ResultRecord,
    Settlement,
    StateRecord,
    Unreadable,
)

BEGAN = 100.0

SETTLEMENTS = Settlements("node-1")

read_result = RecordDecoder[ResultRecord](ResultRecord)
read_errors = RecordDecoder[list[AttemptError]](list[AttemptError])


def an_attempt(*, stop: Stop | None = None, taken: float = 1.0, **given: Any) -> Attempt:
    """A run that began at `BEGAN`, of a job given to this node five seconds before."""
    options = {name: given.pop(name) for name in ("timeout", "retry", "fallback") if name in given}
    asked = {name: given.pop(name) for name in ("attempts", "backoff") if name in given}

    @processor(name="job", **options)
    async def job(state: list[int]) -> list[int]:
        return state

    state = msgspec.Raw(given.pop("state", encode_record([1])))
    spec = JobSpec(WIRE_VERSION, "id", "job", given.pop("session", ""), state, "", **asked)
    grant = Grant(
        spec=spec,
        token="token",
        attempt=given.pop("attempt", 1),
        deliveries=1,
        remaining=given.pop("remaining", None),
        **given,
    )
    holder: Any = None
    claim = Claim(grant, holder, BEGAN - 5)
    claim.stop = stop
    attempt = Attempt(claim, Definition(job, 10_000), BEGAN, 1_000.0)
    claim.ended = BEGAN + taken
    return attempt


def told(settlement: Settlement | None) -> ResultRecord:
    assert settlement is not None
    return read_result(settlement.result)


def test_an_attempt_is_bounded_by_its_timeout_and_by_what_its_caller_leaves_it():
    assert an_attempt().ends == float("inf")
    assert an_attempt(timeout=3).ends == BEGAN + 3
    assert an_attempt(timeout=3, remaining=7).ends == BEGAN + 2, "five of seven seconds were over by then"
    assert an_attempt(timeout=1, remaining=7).deadline == BEGAN + 2


@pytest.mark.parametrize(
    ("bounds", "kind"),
    [
        ({"timeout": 1}, ProcessorTimeoutError),
        ({"timeout": 1, "remaining": 7}, ProcessorTimeoutError),
        ({"timeout": 2, "remaining": 6}, DeadlineExceededError),
        ({"remaining": 6}, DeadlineExceededError),
    ],
)
def test_a_scope_that_has_caught_says_by_its_bounds_why(bounds: dict[str, Any], kind: type[AM2ZError]):
    attempt = an_attempt(**bounds)
    assert type(error_of_run(attempt, None, caught=True, now=BEGAN + 0.5)) is kind
    assert type(error_of_run(attempt, BusinessError("x"), caught=True, now=BEGAN + 0.5)) is kind


def test_an_error_after_the_deadline_is_that_it_came_too_late():
    attempt, own = an_attempt(remaining=6), BusinessError("x")
    assert error_of_run(attempt, own, caught=False, now=BEGAN + 0.9) is own
    late = error_of_run(attempt, own, caught=False, now=BEGAN + 1.0)
    assert isinstance(late, DeadlineExceededError)
    assert late.__cause__ is own


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("enough", JobCancelledError),
        (SESSION_STOPPED, SessionStoppedError),
        (DEADLINE, DeadlineExceededError),
    ],
)
def test_a_job_that_was_cancelled_is_so_for_its_reason_whatever_it_raised(reason: str, kind: type[AM2ZError]):
    attempt = an_attempt(stop=Stop("cancelled", reason), retry=RetryPolicy(max_attempts=3))
    verdict = judge(attempt, BusinessError("x"), stopped=True, now=BEGAN)
    assert isinstance(verdict, Cancelled)
    assert (verdict.reason, verdict.error.code) == (reason, kind.code)
    settlement = SETTLEMENTS.of(attempt, verdict)
    assert settlement is not None
    assert (settlement.outcome, settlement.reason) == ("cancelled", reason)


def test_a_job_that_was_handed_back_or_lost_says_nothing():
    back = an_attempt(stop=Stop("released", "draining"))
    assert judge(back, None, stopped=True, now=BEGAN) == Released()
    assert SETTLEMENTS.of(back, Released()) == released(back.claim)
    assert judge(an_attempt(stop=Stop("lost", "")), None, stopped=True, now=BEGAN) is None
    assert SETTLEMENTS.of(back, None) is None


def test_a_deadline_that_is_not_its_own_fails_it_as_any_error_does():
    attempt, error = an_attempt(remaining=6), DeadlineExceededError("of what it has called")
    assert isinstance(judge(attempt, error, stopped=False, now=BEGAN + 0.5), Failed)
    late = judge(attempt, error, stopped=False, now=BEGAN + 1)
    assert isinstance(late, Cancelled)
    assert late.reason == DEADLINE


def test_what_may_be_retried_is_until_no_attempt_is_left():
    policy = RetryPolicy(max_attempts=2, backoff=4, jitter=0)
    error = ProcessorExecutionError("x")
    assert judge(an_attempt(retry=policy), error, stopped=False, now=BEGAN) == Retried(record_of(error), 4.0)
    assert judge(an_attempt(retry=policy, attempt=2), error, stopped=False, now=BEGAN) == Failed(
        record_of(error)
    )
    assert isinstance(judge(an_attempt(retry=policy), ValidationError("x"), stopped=False, now=BEGAN), Failed)


def test_the_jobs_own_numbers_win_over_its_processors():
    assert an_attempt().retry_policy.max_attempts == 1
    assert an_attempt(backoff=2.0).retry_policy.max_attempts == 1, "when to try again says not how often"
    mixed = an_attempt(retry=RetryPolicy(max_attempts=9, max_backoff=1), attempts=3, backoff=2.0).retry_policy
    assert (mixed.max_attempts, mixed.backoff, mixed.max_backoff) == (3, 2.0, 2.0)


def test_an_open_circuit_is_tried_again_when_it_may_be_closed():
    policy = RetryPolicy(max_attempts=2, backoff=0.1, jitter=0)
    error = CircuitOpenError("open", context={"wait": 30.0})
    verdict = judge(an_attempt(retry=policy), error, stopped=False, now=BEGAN)
    assert isinstance(verdict, Retried)
    assert verdict.delay == 30.0


def test_a_hook_hears_of_its_attempt_and_changes_nothing_of_what_is_told():
    heard: list[str] = []

    def hook(name: str) -> Any:
        def hear(error: AM2ZError, attempt: int) -> None:
            heard.append(f"{name} {attempt}")
            error.message = "changed"
            raise OSError(name)

        return hear

    policy = RetryPolicy(max_attempts=2, on_retry=hook("retry"), on_exhausted=hook("exhausted"))
    for number in (1, 2):
        verdict = judge(
            an_attempt(retry=policy, attempt=number), ProcessorExecutionError("x"), stopped=False, now=BEGAN
        )
        assert isinstance(verdict, Retried | Failed)
        assert verdict.error.message == "x"
    assert heard == ["retry 1", "exhausted 2"]


def test_a_policy_that_raises_means_no():
    def should_retry(error: AM2ZError, attempt: int) -> bool:
        raise OSError("no idea")

    policy = RetryPolicy(max_attempts=5, should_retry=should_retry)
    assert isinstance(
        judge(an_attempt(retry=policy), ProcessorExecutionError("x"), stopped=False, now=BEGAN), Failed
    )


def test_a_job_falls_back_when_nothing_else_is_left():
    @processor(name="other")
    async def other(state: list[int]) -> list[int]:
        return state

    twice = RetryPolicy(max_attempts=2)
    error = ProcessorExecutionError("x")
    assert not falls_back(an_attempt(), error)
    assert falls_back(an_attempt(fallback=other), error)
    assert not falls_back(an_attempt(fallback=other, retry=twice), error)
    assert falls_back(an_attempt(fallback=other, retry=twice, attempt=2), error)
    assert falls_back(an_attempt(fallback=other, retry=twice), CircuitOpenError("open"))
    assert not falls_back(an_attempt(fallback=other), ValidationError("it would be one there, too"))


def test_a_completed_job_says_how_it_went():
    attempt = an_attempt(taken=2.5)
    settlement = SETTLEMENTS.completed(attempt, [2])
    record = told(settlement)
    assert (settlement.id, settlement.token, settlement.outcome) == ("id", "token", "completed")
    assert bytes(record.state) == encode_record([2])
    assert (record.error, record.attempt, record.started, record.execution_time, record.node) == (
        None,
        1,
        1_000_000,
        2.5,
        "node-1",
    )
    assert settlement.commit is None


def test_none_is_the_state_it_was_given_if_that_is_what_it_was():
    attempt = an_attempt()
    attempt.state = [1]
    assert bytes(told(SETTLEMENTS.completed(attempt, None)).state) == encode_record([1])
    attempt.state.append(2)
    with pytest.raises(ValidationError, match="in place"):
        SETTLEMENTS.completed(attempt, None)


def test_what_cannot_be_kept_is_no_completion():
    with pytest.raises(ValidationError, match="what 'job' returned"):
        SETTLEMENTS.completed(an_attempt(), ["no number"])
    with pytest.raises(PayloadTooLargeError, match="what 'job' returned"):
        SETTLEMENTS.completed(an_attempt(), [1] * 10_001)


def test_a_job_works_on_what_its_session_has_stored():
    asks: dict[str, Any] = {"state": bytes(NO_STATE), "session": "alice"}
    with pytest.raises(ValidationError, match="has no stored state"):
        an_attempt(**asks).read_input()
    blob = encode_record([7])
    stored = StateRecord(version=1, blob=blob, checksum=checksum(blob))
    assert an_attempt(**asks, stored=stored).read_input() == [7]


def test_a_failed_attempt_is_remembered_with_those_before_it():
    earlier = [AttemptError(n, 0, record_of(BusinessError(f"no. {n}"))) for n in range(1, KEPT_ERRORS + 2)]
    attempt = an_attempt(errors=encode_record(earlier), attempt=KEPT_ERRORS + 2)
    settlement = SETTLEMENTS.of(attempt, Retried(record_of(BusinessError("the last")), 3.0))
    assert settlement is not None
    assert (settlement.outcome, settlement.delay) == ("retry", 3.0)
    kept = read_errors(settlement.result)
    assert len(kept) == KEPT_ERRORS
    assert (kept[-1].attempt, kept[-1].error.message) == (KEPT_ERRORS + 2, "the last")
    failed = told(SETTLEMENTS.of(attempt, Failed(record_of(BusinessError("the last")))))
    assert [one.attempt for one in failed.earlier] == [one.attempt for one in earlier]


def test_a_history_that_cannot_be_read_is_none_and_one_that_is_too_long_is_cut():
    attempt = an_attempt(errors=b"\xc1")
    settlement = SETTLEMENTS.of(attempt, Retried(record_of(BusinessError("x")), 0.0))
    assert settlement is not None
    assert len(read_errors(settlement.result)) == 1
    long = record_of(BusinessError("x" * 16_000, context={str(n): "y" * 1_000 for n in range(20)}))
    many = [AttemptError(n, 0, long) for n in range(1, KEPT_ERRORS)]
    settlement = SETTLEMENTS.of(an_attempt(errors=encode_record(many)), Retried(long, 0.0))
    assert settlement is not None
    assert len(settlement.result) <= MAX_HISTORY_BYTES
    assert read_errors(settlement.result)[-1].attempt == 1


@pytest.mark.parametrize(
    ("stop", "outcome", "reason"),
    [
        (None, "cancelled", SESSION_STOPPED),
        (Stop("cancelled", "enough"), "cancelled", "enough"),
        (Stop("released", "draining"), "released", ""),
    ],
)
def test_a_job_that_is_not_begun_is_settled_by_what_stops_it(stop: Stop | None, outcome: str, reason: str):
    settlement = SETTLEMENTS.unbegun(an_attempt(stop=stop).claim)
    assert settlement is not None
    assert (settlement.outcome, settlement.reason) == (outcome, reason)
    assert SETTLEMENTS.unbegun(an_attempt(stop=Stop("lost", "")).claim) is None


def test_a_record_that_nobody_here_can_read_fails_or_waits_for_a_newer_node():
    job = Unreadable(id="id", token="token", reason="of version 99", deliveries=3)
    refused = SETTLEMENTS.refuse(job)
    assert (refused.outcome, refused.id, refused.token) == ("failed", "id", "token")
    assert "of version 99" in str(told(refused).error)
    left = SETTLEMENTS.leave_to_newer(job)
    assert (left.outcome, left.delay) == ("released", 4.0)
    often = msgspec.structs.replace(job, deliveries=1_000_000)
    assert SETTLEMENTS.leave_to_newer(often).delay == NEWER_LATER

"""Facts about a job to a verdict: why it does not run, runs so long, or has ended so; and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Final

from am2z_trio.model.codec import NIL, RecordDecoder
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.records import (
    DEADLINE,
    DEBOUNCED,
    EXPIRED,
    PARENT_ENDED,
    SESSION_STOPPED,
    STALLED,
    UNREADABLE,
    AttemptError,
    JobFacts,
    ResultRecord,
)
from am2z_trio.model.retry import Retry
from am2z_trio.model.views.diagnosis import Diagnosis, Gate, Remedy

from .gates import gates_of
from .spans import span

WORTH_A_WORD: Final = 1_000
"""Milliseconds."""

_decode_result: Final = RecordDecoder[ResultRecord](ResultRecord)
_decode_errors: Final = RecordDecoder[list[AttemptError]](list[AttemptError])


def unknown_job(job: str) -> Diagnosis:
    """There is no record of it."""
    told = "there is no record of it: it was never submitted, or it has ended and is no longer kept"
    return Diagnosis(job=job, status="", verdict=told)


def diagnose(facts: JobFacts) -> Diagnosis:
    """What stands between the job and its end."""
    if facts.status in ("waiting", "later"):
        return _of_waiting(facts)
    if facts.status == "active":
        return _of_active(facts)
    return _of_ended(facts)


def _diagnosis(
    facts: JobFacts,
    verdict: str,
    *,
    gates: Sequence[Gate] = (),
    blocked_by: str = "",
    granted: bool | None = False,
    starts_in: float | None = None,
    remedies: Sequence[Remedy] = (),
) -> Diagnosis:
    return Diagnosis(
        job=facts.id,
        status=facts.status,
        processor=facts.processor,
        session=facts.session,
        at=facts.now,
        verdict=verdict,
        blocked_by=blocked_by,
        granted_next=granted,
        parked=bool(facts.waits),
        starts_in=starts_in,
        gates=list(gates),
        remedies=list(remedies),
    )


# --- that has not begun --------------------------------------------------------------------------


def _of_waiting(facts: JobFacts) -> Diagnosis:
    gates = gates_of(facts)
    claim = [gate.state for gate in gates if gate.of == "claim"]
    granted = False if "shut" in claim else None if "unknown" in claim else True
    shut = next((gate for gate in gates if gate.state == "shut"), None)
    unknown = next((gate for gate in gates if gate.state == "unknown"), None)
    told = _earlier(facts)
    waits = f"waits{_since(facts, facts.came)}"
    if shut is not None:
        verdict = f"{waits}: {shut.evidence}{_consequence(shut)}{told}"
    elif unknown is not None and unknown.of == "worker":
        verdict = f"starts with the next claim: nothing holds it back, and {unknown.evidence}{told}"
    elif unknown is not None:
        verdict = f"{waits}: {unknown.evidence}{told}"
    else:
        verdict = f"starts at once: nothing holds it back{told}"
    return _diagnosis(
        facts,
        verdict,
        gates=gates,
        blocked_by="" if shut is None else shut.name,
        granted=granted,
        starts_in=_starts_in(gates),
        remedies=_remedies(facts, shut),
    )


def _since(facts: JobFacts, then: int | None) -> str:
    """For how long, where that is worth a word."""
    passed = 0 if then is None else facts.now - then
    return "" if passed < WORTH_A_WORD else f" {span(passed / 1000)}"


def _starts_in(gates: Sequence[Gate]) -> float | None:
    """When the last of the gates that are shut opens by itself, if all of them do."""
    shut = [gate.moves_in for gate in gates if gate.state == "shut"]
    known = [left for left in shut if left is not None]
    return max(known) if known and len(known) == len(shut) else None


_CONSEQUENCES: Final = {
    "record": "; the next claim makes it a dead letter",
    "deadline": "; the next claim ends it as cancelled",
}


def _consequence(gate: Gate) -> str:
    return _CONSEQUENCES.get(gate.name, "")


def _earlier(facts: JobFacts) -> str:
    """What the attempt before has failed with."""
    if facts.attempt <= 1 or not facts.errors:
        return ""
    try:
        errors = _decode_errors(facts.errors)
    except AM2ZError:
        return ""
    if not errors:
        return ""
    last = errors[-1]
    if last.error.code == Retry.code:
        return f"; attempt {last.attempt} asked to be run again: {last.error.message}"
    return f"; attempt {last.attempt} failed: {last.error.code}: {last.error.message}"


def _remedies(facts: JobFacts, shut: Gate | None) -> list[Remedy]:
    if shut is None:
        return []
    find = _REMEDIES.get(shut.name)
    return [] if find is None else find(facts)


def _wait(facts: JobFacts) -> list[Remedy]:
    names = dict.fromkeys(wait.name for wait in facts.waits if wait.name)
    if names:
        send = f"am2z job signal {facts.id} "
        return [Remedy(action="signal", target=facts.id, text=f"{send}{quote(name)} JSON") for name in names]
    return [Remedy(action="wait", target=facts.id, text="it goes on by itself")]


def _cancel(jobs: Sequence[str]) -> list[Remedy]:
    return [Remedy(action="cancel", target=job, text=f"am2z job cancel {job}") for job in jobs]


def _resume(facts: JobFacts) -> list[Remedy]:
    name = facts.processor
    return [Remedy(action="resume", target=name, text=f"am2z queue resume {name}")]


def _serve(facts: JobFacts) -> list[Remedy]:
    name = facts.processor
    return [Remedy(action="serve", target=name, text=f"start a worker that has {name} registered")]


def _more_active(facts: JobFacts) -> list[Remedy]:
    name = facts.processor
    more = Remedy(action="raise", target=name, text=f"raise global_concurrency of {name}")
    return [more, *_cancel(facts.queue.holders)]


def _more_of_session(facts: JobFacts) -> list[Remedy]:
    name, session = facts.processor, facts.at_session
    more = Remedy(action="raise", target=name, text=f"raise session_concurrency of {name}")
    return [more, *_cancel(() if session is None else session.holders)]


def _more_slots(facts: JobFacts) -> list[Remedy]:
    name = facts.processor
    more = Remedy(action="serve", target=name, text=f"start more workers of {name}, or raise its concurrency")
    nodes = facts.queue.nodes
    drained = [node.name for node in nodes if node.draining]
    full = [node.name for node in nodes if node.full and not node.draining]
    return [
        *(Remedy(action="undrain", target=one, text=f"am2z node undrain {one}") for one in drained),
        *(Remedy(action="look", target=one, text=f"am2z node show {one}") for one in full),
        more,
    ]


def _free_turn(facts: JobFacts) -> list[Remedy]:
    turn = facts.turn
    return _wait(facts) if turn is None or not turn.holder else _cancel([turn.holder])


def _look_at_failures(facts: JobFacts) -> list[Remedy]:
    name = facts.processor
    return [Remedy(action="look", target=name, text=f"am2z dead ls processor:{name}")]


_REMEDIES: Final = {
    "due": _wait,
    "rate": _wait,
    "line": _wait,
    "stopping": _wait,
    "paused": _resume,
    "served": _serve,
    "active": _more_active,
    "session": _more_of_session,
    "turn": _free_turn,
    "slot": _more_slots,
    "circuit": _look_at_failures,
}


# --- that has begun ------------------------------------------------------------------------------


def _of_active(facts: JobFacts) -> Diagnosis:
    holder, remedies = facts.holder, _cancel([facts.id])
    name = holder.name if holder is not None else "a node that nobody knows"
    ran = _since(facts, facts.began)
    where = f"on {name}{' for' if ran else ''}{ran}"
    if holder is None or holder.lease is None or holder.lease < facts.now or not holder.heard:
        told = f"was running {where}, which is not heard: it goes back to its queue when that is certain"
        return _diagnosis(facts, told, remedies=_wait(facts))
    if facts.cancel is not None:
        told = f"is to end, and runs still {where}: {facts.cancel}"
        return _diagnosis(facts, told, remedies=[_stacks(name)])
    if facts.calls is None or facts.calls:
        calls = (
            "many jobs" if facts.calls is None else "1 job" if facts.calls == 1 else f"{facts.calls:,} jobs"
        )
        told = f"runs {where}, and waits for {calls} that it has called"
        found = [Remedy(action="look", target=job, text=f"am2z why {job}") for job in facts.called]
        return _diagnosis(facts, told, remedies=found)
    if facts.in_back:
        told = f"runs {where}, and goes on when its queue's limits have room again"
        return _diagnosis(facts, told, remedies=_more_active(facts))
    told = f"runs {where}{_how_far(facts)}{_earlier(facts)}"
    return _diagnosis(facts, told, remedies=[_stacks(name), *remedies])


def _stacks(node: str) -> Remedy:
    return Remedy(action="look", target=node, text=f"am2z node stacks {node}")


def _how_far(facts: JobFacts) -> str:
    parts = [f"attempt {facts.attempt}"]
    if facts.progress:
        parts.append(f"{facts.progress * 100:.0f} % done")
    if facts.deadline is not None:
        left = (facts.deadline - facts.now) / 1000
        parts.append(f"deadline in {span(left)}" if left >= 0 else f"deadline passed {span(-left)} ago")
    return f": {', '.join(parts)}"


# --- that has ended ------------------------------------------------------------------------------


def _of_ended(facts: JobFacts) -> Diagnosis:
    if facts.status == "completed":
        return _diagnosis(facts, f"has completed{_ago(facts)}")
    settled = facts.settled
    reason = "" if settled is None else settled.reason
    if facts.status == "cancelled":
        told = _WHY_CANCELLED.get(reason, reason) or "nobody says why"
        return _diagnosis(facts, f"was cancelled{_ago(facts)}: {told}")
    attempts = f" after {facts.attempt:,} attempts" if facts.attempt > 1 else ""
    told = f"has failed{_ago(facts)}{attempts}: {_why_failed(facts, reason)}"
    again = [Remedy(action="retry", target=facts.id, text=f"am2z dead redrive {facts.id}")]
    return _diagnosis(facts, told, remedies=again if facts.dead_till is not None else [])


def _ago(facts: JobFacts) -> str:
    when = _since(facts, facts.ended)
    return f"{when} ago" if when else ""


_WHY_CANCELLED: Final = {
    DEADLINE: "its deadline passed before it was done",
    SESSION_STOPPED: "its session was stopped",
    DEBOUNCED: DEBOUNCED,
    EXPIRED: EXPIRED,
    PARENT_ENDED: PARENT_ENDED,
}


def _why_failed(facts: JobFacts, reason: str) -> str:
    if reason.startswith(UNREADABLE):
        return reason
    settled = facts.settled
    if settled is None or settled.result == NIL:
        return STALLED if reason == "stalled" else reason or "its record does not say why"
    try:
        error = _decode_result(settled.result).error
    except AM2ZError:
        return "its outcome cannot be read"
    return "its record does not say why" if error is None else f"{error.code}: {error.message}"

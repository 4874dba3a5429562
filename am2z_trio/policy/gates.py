"""The gates that a job meets before its code runs, in the order in which it meets them.

Those `of` the claim are the conditions that `claim` goes by, in its order, and may never say anything else
than what it does: `open` and `shut` are promises, and where that hangs on more than was looked at the gate is
`unknown`. The claim that is meant is one by a node that has room for all that waits, which asks again for as
long as it is told to do so at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from am2z_trio.model.records import JobFacts, QueueFacts, WaitFacts
from am2z_trio.model.views.diagnosis import Gate

from .spans import span

ENDED = frozenset({"", "completed", "failed", "cancelled"})


def gates_of(facts: JobFacts) -> list[Gate]:
    """Of a job that waits or is delayed."""
    return [gate for gate in _gates(facts) if gate is not None]


def _gates(facts: JobFacts) -> Iterator[Gate | None]:
    yield _record(facts)
    yield _due(facts)
    yield _deadline(facts)
    yield _paused(facts)
    yield _served(facts)
    yield _stopping(facts)
    yield _rate(facts)
    yield _session(facts)
    yield _active(facts)
    yield _turn(facts)
    yield _line(facts)
    yield _slot(facts)
    yield _circuit(facts)
    yield _parent(facts)


def _record(facts: JobFacts) -> Gate:
    if facts.flaw:
        return Gate(name="record", state="shut", evidence=f"its record is spoilt: {facts.flaw}")
    return Gate(name="record", state="open", evidence="its record is whole")


# --- when --------------------------------------------------------------------------------------


def _due(facts: JobFacts) -> Gate:
    if facts.status != "later":
        return Gate(name="due", state="open", evidence="due")
    if facts.due is None:
        return Gate(name="due", state="unknown", evidence="it is delayed, and nobody knows until when")
    left = (facts.due - facts.now) / 1000
    if facts.waits and left > 0:
        return _parked(facts)
    if left <= 0:
        return Gate(name="due", state="open", evidence=f"due since {span(-left)}")
    return Gate(name="due", state="shut", evidence=f"{_delay(facts)}, {span(left)} more", moves_in=left)


def _parked(facts: JobFacts) -> Gate:
    told = [waits_told(wait, facts.now) for wait in facts.waits]
    times = [wait.until for wait in facts.waits if wait.until is not None]
    left = max(0, min(times) - facts.now) / 1000 if times else None
    return Gate(name="due", state="shut", evidence="; ".join(told), moves_in=left)


def waits_told(wait: WaitFacts, now: int) -> str:
    """What a parked job waits for, since when, and for how long at the most."""
    what = f"it waits for signal {wait.name!r}" if wait.name else "it sleeps"
    since = f", since {span(max(0, now - wait.since) / 1000)}"
    until = "" if wait.until is None else f", {span(max(0, wait.until - now) / 1000)} more"
    return f"{what}{since}{until}"


def _delay(facts: JobFacts) -> str:
    if facts.left:
        return f"it is left to a newer node: {facts.left}"
    if facts.attempt > 1:
        return f"it backs off before attempt {facts.attempt}"
    if facts.stalls:
        return "it was lost with its worker, and comes back apart from what was lost with it"
    if facts.aside:
        return "the rate limit has set it aside"
    return "it is delayed"


def _deadline(facts: JobFacts) -> Gate:
    if facts.expires is not None:
        left = (facts.expires - facts.now) / 1000
        if left <= 0:
            return Gate(name="deadline", state="shut", evidence=f"it has expired {span(-left)} ago")
        if facts.deadline is None:
            return Gate(name="deadline", state="open", evidence=f"expires in {span(left)}, unless it begins")
    if facts.deadline is None:
        return Gate(name="deadline", state="open", evidence="no deadline")
    left = (facts.deadline - facts.now) / 1000
    if left < 0:
        return Gate(name="deadline", state="shut", evidence=f"its deadline passed {span(-left)} ago")
    return Gate(name="deadline", state="open", evidence=f"deadline in {span(left)}")


def _paused(facts: JobFacts) -> Gate:
    if facts.queue.paused:
        return Gate(name="paused", state="shut", evidence=f"{facts.processor} is paused")
    return Gate(name="paused", state="open", evidence="not paused")


# --- what limits the queue -----------------------------------------------------------------------


def starts_left(queue: QueueFacts) -> float:
    """How many more jobs the rate limit lets start now."""
    return queue.limits.starts - queue.starts if queue.limits.starts else inf


def places_left(queue: QueueFacts) -> tuple[float, float]:
    """How many more may be active, at least and at most: jobs that have stepped aside may go on first."""
    if not queue.limits.most_active:
        return inf, inf
    most = queue.limits.most_active - (queue.active - queue.away)
    return (most - queue.back if queue.unsettled else most), most


def _rate(facts: JobFacts) -> Gate | None:
    queue, limits = facts.queue, facts.queue.limits
    if not limits.starts:
        return None
    told = f"{queue.starts:,} of {limits.starts:,} starts in {span(limits.per)}"
    if starts_left(queue) > 0:
        return Gate(name="rate", state="open", evidence=f"rate {queue.starts:,}/{limits.starts:,}")
    again = facts.now if queue.first_start is None else queue.first_start + limits.per * 1000
    left = max(0.0, (again - facts.now) / 1000)
    return Gate(name="rate", state="shut", evidence=f"{told}, which is all that may be", moves_in=left)


def _active(facts: JobFacts) -> Gate | None:
    queue = facts.queue
    most = queue.limits.most_active
    if not most:
        return None
    counts, (least, room) = queue.active - queue.away, places_left(queue)
    jobs = "job" if counts == 1 else "jobs"
    verb = "is" if counts == 1 else "are"
    if room <= 0:
        told = f"{counts:,} {jobs} of {facts.processor} {verb} active, which is all that may be"
        told = f"{told} (global_concurrency={most:,}){_longest(facts, queue.longest)}"
        return Gate(name="active", state="shut", evidence=told)
    if least <= 0:
        told = f"{queue.back:,} jobs that have begun go on first (global_concurrency={most:,})"
        return Gate(name="active", state="unknown", evidence=told)
    return Gate(name="active", state="open", evidence=f"active {counts:,}/{most:,}")


def _session(facts: JobFacts) -> Gate | None:
    queue, session = facts.queue, facts.at_session
    most = queue.limits.per_session
    if not most or session is None:
        return None
    room, limit = most - session.active, f"session_concurrency={most:,}"
    if room <= 0:
        jobs = (
            "1 job of its session is"
            if session.active == 1
            else f"{session.active:,} jobs of its session are"
        )
        told = f"{jobs} active, which is all that may be ({limit}){_longest(facts, session.longest)}"
        return Gate(name="session", state="shut", evidence=told)
    ahead = None if facts.line is None else facts.line.ahead
    before = _of_session_before(facts) if ahead is None else ahead
    if queue.unsettled and queue.back:
        return Gate(name="session", state="unknown", evidence=f"jobs that have begun go on first ({limit})")
    if before < room:
        return Gate(name="session", state="open", evidence=f"session {session.active:,}/{most:,}")
    told = f"{before:,} of its session before it, and {room:,} more may be active ({limit})"
    return Gate(name="session", state="unknown" if ahead is None else "shut", evidence=told)


def _longest(facts: JobFacts, since: int | None) -> str:
    return "" if since is None else f"; the longest has run for {span((facts.now - since) / 1000)}"


def _of_session_before(facts: JobFacts) -> int:
    """How many jobs of its session may be granted before it, at most; where these were not looked at."""
    queue, line, session = facts.queue, facts.line, facts.at_session
    if not facts.priority and line is None and session is not None:
        # It joins the end of the line.
        return session.listed + queue.due - 1
    if facts.priority and line is not None and line.place is not None and session is not None:
        return session.listed + line.place + queue.due
    return queue.waiting + queue.due - 1


# --- which one -----------------------------------------------------------------------------------


def _turn(facts: JobFacts) -> Gate | None:
    turn, line = facts.turn, facts.line
    if turn is None:
        return None
    if turn.holder:
        told = f"job {turn.holder} works on its session's state"
        return Gate(
            name="turn",
            state="shut",
            evidence=f"{told}, {turn.before:,} before it in line" if turn.in_line else told,
        )
    if turn.in_line:
        told = f"it is called when the one before it has begun or ended, {turn.before:,} before it in line"
        return Gate(name="turn", state="unknown", evidence=told)
    if line is not None and line.same_turn:
        told = "another job before it works on the same session's state"
        return Gate(name="turn", state="shut", evidence=told)
    if _may_be_taken_before(facts):
        told = "a job before it may work on the same session's state"
        return Gate(name="turn", state="unknown", evidence=told)
    return Gate(name="turn", state="open", evidence="its session's state is free")


def _may_be_taken_before(facts: JobFacts) -> bool:
    """Whether a claim may grant its turn to one that was not looked at."""
    queue, line, session = facts.queue, facts.line, facts.at_session
    listed = 0 if session is None else session.listed
    if facts.parent is not None and queue.lanes + queue.due > 1:
        # Jobs of several sessions may take one turn, if one job has called them.
        return True
    if line is None:
        return bool(queue.waiting if facts.priority else listed) or queue.due > 1
    if line.same_turn is not None:
        return False
    return not facts.priority or line.place != 0 or bool(listed) or queue.due > 0


def _line(facts: JobFacts) -> Gate | None:
    queue, line = facts.queue, facts.line
    if facts.turn is not None and facts.turn.in_line:
        return None
    least, most = places_left(queue)
    starts = starts_left(queue)
    least, most = min(least, starts), min(most, starts)
    if most == inf:
        return Gate(name="line", state="open", evidence=_place(facts))
    ahead = None if line is None else line.ahead
    if ahead is not None and ahead >= most > 0:
        told = f"{ahead:,} before it in line, and {most:,.0f} more may start"
        return Gate(name="line", state="shut", evidence=told)
    others = queue.waiting + queue.due - 1
    if others < least or _is_served_before(facts, least):
        return Gate(name="line", state="open", evidence=_place(facts))
    told = f"{_place(facts)}, and {max(0.0, least):,.0f} more may start"
    return Gate(name="line", state="unknown", evidence=told)


def _is_served_before(facts: JobFacts, room: float) -> bool:
    """Whether it is among the first so many, whatever those before it are."""
    queue, line = facts.queue, facts.line
    if line is None or queue.due or queue.unsettled:
        return False
    if line.ahead is not None:
        # The only line there is.
        return queue.lanes == 1 and line.ahead < room
    return bool(facts.priority) and queue.lanes == 0 and line.place is not None and line.place < room


def _place(facts: JobFacts) -> str:
    line = facts.line
    if line is None:
        return "it joins the line when it is due"
    if line.place is None:
        return "beyond the 10,000th in line"
    before = line.place if line.ahead is None else line.ahead
    among = f" of {facts.queue.lanes:,} lines that are served in turn" if facts.queue.lanes > 1 else ""
    after = ", after all without a priority" if facts.priority and line.ahead is None else ""
    return f"next in line{among}{after}" if before == 0 else f"{before:,} before it in line{among}{after}"


# --- who works -----------------------------------------------------------------------------------


def _served(facts: JobFacts) -> Gate:
    queue = facts.queue
    if queue.workers:
        nodes = "1 node" if queue.workers == 1 else f"{queue.workers:,} nodes"
        return Gate(name="served", of="worker", state="open", evidence=f"served by {nodes}")
    told = f"no node serves {facts.processor}"
    if queue.seen is not None:
        told = f"no node has served {facts.processor} for {span((facts.now - queue.seen) / 1000)}"
    elif queue.announced:
        told = f"{told}, and none ever has"
    else:
        told = f"{told}, and nobody has ever announced it"
    return Gate(name="served", of="worker", state="shut", evidence=told)


def _slot(facts: JobFacts) -> Gate | None:
    queue = facts.queue
    if not queue.workers:
        return None
    free = queue.parked - (0 if facts.depth else queue.parked_for_calls)
    if free > 0:
        nodes = "1 node waits" if free == 1 else f"{free:,} nodes wait"
        return Gate(name="slot", of="worker", state="open", evidence=f"{nodes} for work")
    if queue.parked:
        told = "its nodes begin only what other jobs wait for (max_waiting_parents)"
        return Gate(name="slot", of="worker", state="shut", evidence=told)
    if told := _none_claims(queue):
        return Gate(name="slot", of="worker", state="shut", evidence=told)
    slots = queue.workers * queue.options.concurrency if queue.options is not None else 0
    if slots and queue.active - queue.away >= slots:
        told = f"all slots are taken: {queue.active - queue.away:,}/{slots:,}"
        return Gate(name="slot", of="worker", state="shut", evidence=told)
    silent = [node.name for node in queue.nodes if not node.heard]
    if silent and len(silent) == len(queue.nodes):
        told = (
            f"nobody hears {silent[0]}" if len(silent) == 1 else f"none of its {len(silent)} nodes is heard"
        )
        return Gate(name="slot", of="worker", state="shut", evidence=told)
    told = f"no node asks for work just now ({queue.active:,} active)"
    return Gate(name="slot", of="worker", state="unknown", evidence=told)


def _none_claims(queue: QueueFacts) -> str:
    """That all nodes that serve it have said so, and why; empty where one has not."""
    drained = [node for node in queue.nodes if node.draining]
    full = [node for node in queue.nodes if node.full and not node.draining]
    count = len(drained) + len(full)
    if not count or count != queue.workers:
        return ""
    if not full:
        return (
            f"{drained[0].name}, which serves it, is drained, and claims no more jobs"
            if count == 1
            else f"all {count} nodes that serve it are drained, and claim no more jobs"
        )
    first = full[0]
    if count == 1:
        return f"{first.name}, which serves it, claims no jobs for now: {first.full}"
    others = f"; {len(drained):,} of them {'is' if len(drained) == 1 else 'are'} drained" if drained else ""
    return (
        f"none of the {count} nodes that serve it claims jobs for now: of {first.name}, {first.full}{others}"
    )


# --- once it is granted --------------------------------------------------------------------------


def _stopping(facts: JobFacts) -> Gate | None:
    session = facts.at_session
    if session is None or session.stopping is None:
        return None
    told = f"session {facts.session} is being stopped, which ends it"
    return Gate(name="stopping", of="run", state="shut", evidence=told)


def _circuit(facts: JobFacts) -> Gate | None:
    breaker = facts.breaker
    if breaker.state == "closed":
        return None
    left = (breaker.until - facts.now) / 1000
    name = f"the circuit of {facts.processor}"
    if breaker.state == "open" and left > 0:
        told = f"{name} is open, as it has failed too often: it is tried again in {span(left)}"
        return Gate(name="circuit", of="run", state="shut", evidence=told, moves_in=left)
    told = f"{name} is being tried: some jobs are let through"
    return Gate(name="circuit", of="run", state="unknown", evidence=told)


def _parent(facts: JobFacts) -> Gate | None:
    parent = facts.parent
    if parent is None:
        return None
    if parent.status in ENDED:
        told = f"job {parent.id}, which has called it, has ended: so will this one"
        return Gate(name="parent", of="run", state="shut", evidence=told)
    return Gate(name="parent", of="run", state="open", evidence=f"called by job {parent.id}")

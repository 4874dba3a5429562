"""What needs a person: how the namespace stands now, and how it stood before, to a list of findings.

Nothing here is asked for: who gathers a `Snapshot` bounds that. What was not gathered is `None`, and nothing
is found of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from am2z_trio.model.views.findings import About, Check, Finding, Severity

from .blocked import blocking
from .checkup import examine
from .health import LATE
from .spans import span
from .standings import NodeStanding, QueueStanding, ScheduleStanding, SessionStanding, Snapshot

SILENT_FOR: Final = 1.0
"""Seconds for which a node may be not heard: it may be about to connect again."""
HELD_FOR: Final = 60.0
"""Seconds for which a queue may be at its limit."""
MANY_TIMES: Final = 10
"""So many times what is usual is too much."""
OLDEST: Final = 1.0
"""Seconds that a job may always wait, whatever is usual."""
FEW: Final = 20
"""Jobs of which no share is told."""
MUCH: Final = 0.1
"""Share of jobs that have failed above which it may be told, and"""
MUCH_MORE: Final = 3
"""so many times what is usual."""
MORE_DEAD: Final = 10
"""Dead letters that are more than before."""
MANY_RESTARTS: Final = 3
"""So often a node may not come anew in a short while."""
STOPPING_FOR: Final = 60.0
"""Seconds for which a session may be in its stop, whatever its grace is."""
_ABOUT: Final[dict[str, About]] = {
    "node_silent": "node",
    "loop_late": "node",
    "node_restarts": "node",
    "node_drained": "node",
    "mixed_versions": "server",
    "schedule_failed": "schedule",
    "schedule_overdue": "schedule",
    "schedule_missed": "schedule",
    "schedule_unserved": "schedule",
    "session_stopping": "session",
}
"""What the target is of findings of a code; of others it is a queue."""
_SERVER: Final = "server_"
_SEVERITIES: Final[dict[str, Severity]] = {"warn": "warning", "bad": "critical"}
_ORDER: Final[dict[Severity, int]] = {"critical": 0, "warning": 1, "info": 2}


def about(code: str) -> About:
    """What findings of this code are about."""
    return "server" if code.startswith(_SERVER) else _ABOUT.get(code, "queue")


def findings(now: Snapshot, before: Snapshot | None = None) -> list[Finding]:
    """What is found, the worst first, then by code and target; of one code and target, one. `before` is an
    earlier snapshot of the same namespace, for what has changed since."""
    earlier = {} if before is None else {queue.processor: queue for queue in before.queues}
    found: dict[tuple[str, str], Finding] = {}
    timed = {} if before is None else {schedule.id: schedule for schedule in before.schedules}
    for finding in (
        *_of_server(now),
        *_of_nodes(now),
        *blocking(now.nodes, now.at),
        *_of_queues(now, earlier),
        *_of_schedules(now, timed),
        *_of_sessions(now),
    ):
        found.setdefault((finding.code, finding.target), finding)
    return sorted(found.values(), key=lambda one: (_ORDER[one.severity], one.code, one.target))


# --- the server and its nodes --------------------------------------------------------------------


def _of_server(now: Snapshot) -> Iterator[Finding]:
    if now.server is None:
        return
    for check in examine(now.server, now.expected):
        if check.state != "ok":
            yield _finding_of(check)


def _finding_of(check: Check) -> Finding:
    code, severity = f"{_SERVER}{check.name}", _SEVERITIES[check.state]
    return Finding(code=code, about="server", severity=severity, text=check.text, action=check.remedy)


def _of_nodes(now: Snapshot) -> Iterator[Finding]:
    for node in now.nodes:
        for found in (_silent(now.at, node), _late(node), _restarts(node), _drained(node)):
            if found is not None:
                yield found
    versions = sorted({node.version for node in now.nodes if node.version})
    if len(versions) > 1:
        told = f"nodes of {len(versions)} versions are at work: {', '.join(versions)}"
        do = "finish the deployment"
        yield Finding(code="mixed_versions", about="server", severity="info", text=told, action=do)


def _silent(at: int, node: NodeStanding) -> Finding | None:
    silent = node.silent_for
    if silent is None or silent < SILENT_FOR:
        return None
    jobs = "no job" if not node.claims else "1 job" if node.claims == 1 else f"{node.claims:,} jobs"
    said = "has not answered" if node.is_heard else "has not been heard"
    return Finding(
        code="node_silent",
        about="node",
        severity="critical" if node.claims else "warning",
        text=f"{node.name} {said} for {span(silent)}, and holds {jobs}",
        target=node.name,
        since=at - round(silent * 1000),
        action=f"am2z node show {node.name}",
    )


def _late(node: NodeStanding) -> Finding | None:
    if node.loop_lag < LATE:
        return None
    at = f", at {node.kept_by} above all" if node.kept_by else ""
    return Finding(
        code="loop_late",
        about="node",
        severity="warning",
        text=f"the event loop of {node.name} is late by {span(node.loop_lag)} in one of a hundred times{at}",
        target=node.name,
        action="run what keeps it in a thread: a plain function as a processor",
    )


def _restarts(node: NodeStanding) -> Finding | None:
    if node.restarts < MANY_RESTARTS:
        return None
    return Finding(
        code="node_restarts",
        about="node",
        severity="warning",
        text=f"the nodes of {node.host} have come anew {node.restarts} times lately; {node.name} is the last",
        target=node.name,
        action=f"look at why they end: the logs of {node.host}",
    )


def _drained(node: NodeStanding) -> Finding | None:
    name, told = node.name, f"{node.name} is drained, and claims no more jobs: {_jobs(node.claims)} left"
    action = f"am2z node undrain {name}, or end its process"
    finding = Finding(
        code="node_drained", severity="info", text=told, target=name, about="node", action=action
    )
    return finding if node.is_drained else None


# --- queues --------------------------------------------------------------------------------------


def _of_queues(now: Snapshot, earlier: dict[str, QueueStanding]) -> Iterator[Finding]:
    for queue in now.queues:
        for look in _OF_ONE:
            found = look(queue)
            if found is not None:
                yield found
        before = earlier.get(queue.processor)
        if before is not None:
            for found in (_dead_rising(queue, before), _failed_share(queue, before)):
                if found is not None:
                    yield found


def _unserved(queue: QueueStanding) -> Finding | None:
    at, seen, stats, name = queue.pressure.at, queue.pressure.seen, queue.stats, queue.processor
    if stats.workers or not stats.waiting + stats.delayed + stats.active:
        return None
    told = "by nobody, and never was" if seen is None else f"by nobody for {_ago(at, seen)}"
    return Finding(
        code="unserved",
        severity="critical" if stats.waiting or stats.active else "warning",
        text=f"{name} is served {told}: {_waiting(stats.waiting + stats.delayed)}",
        target=name,
        since=seen,
        action=f"start a worker that has {name} registered",
    )


def _paused(queue: QueueStanding) -> Finding | None:
    waiting, name = queue.stats.paused, queue.processor
    if not waiting:
        return None
    told = f"{name} is paused, and {_waiting(waiting)}"
    return Finding(code="paused", severity="info", text=told, target=name, action=f"am2z queue resume {name}")


def _held(queue: QueueStanding) -> Finding | None:
    stats, name, held = queue.stats, queue.processor, queue.held_for
    if held is None or held <= HELD_FOR or not stats.waiting:
        return None
    return Finding(
        code="held",
        severity="warning",
        text=f"{name} has been at its limit for {span(held)}: {_jobs(stats.active)} are active, and "
        f"{_waiting(stats.waiting)}",
        target=name,
        since=queue.pressure.at - round(held * 1000),
        action=f"raise global_concurrency of {name}, or look at what runs",
    )


def _is_unusual(seconds: float, usual: float) -> bool:
    return seconds > max(OLDEST, MANY_TIMES * usual)


def _oldest(queue: QueueStanding) -> Finding | None:
    oldest, usual, name = queue.oldest, queue.usual_oldest, queue.processor
    if oldest is None or usual is None or not _is_unusual(oldest, usual):
        return None
    return Finding(
        code="oldest",
        severity="warning",
        text=f"a job of {name} has waited for {span(oldest)}; usually none waits for more than {span(usual)}",
        target=name,
        since=queue.pressure.at - round(oldest * 1000),
        action=f"am2z job ls queue:{name} status:waiting",
    )


def _breaker(queue: QueueStanding) -> Finding | None:
    breaker, name = queue.pressure.breaker, queue.processor
    left = (breaker.until - queue.pressure.at) / 1000
    if breaker.state != "open" or left <= 0:
        return None
    return Finding(
        code="breaker",
        severity="warning",
        text=f"the circuit of {name} is open, as it has failed too often: it is tried again in {span(left)}",
        target=name,
        action=f"am2z dead ls processor:{name}",
    )


def _longest(queue: QueueStanding) -> Finding | None:
    longest, usual, name = queue.longest, queue.usual_longest, queue.processor
    if longest is None or usual is None or not _is_unusual(longest, usual):
        return None
    return Finding(
        code="running_long",
        severity="warning",
        text=f"a job of {name} has run for {span(longest)}; 99 of 100 take no more than {span(usual)}",
        target=name,
        since=queue.pressure.at - round(longest * 1000),
        action=f"am2z why {queue.longest_job}",
    )


def _integrity(queue: QueueStanding) -> Finding | None:
    count, name = queue.integrity, queue.processor
    if not count:
        return None
    return Finding(
        code="integrity",
        severity="critical",
        text=f"{_jobs(count)} of {name} found a state in the last hour that is not what was written",
        target=name,
        action=f"am2z job ls queue:{name} code:STATE_INTEGRITY; am2z session verify SESSION",
    )


_OF_ONE: Final = (_unserved, _paused, _held, _oldest, _breaker, _longest, _integrity)


def _dead_rising(now: QueueStanding, before: QueueStanding) -> Finding | None:
    name, more = now.processor, now.stats.dead - before.stats.dead
    at, then = now.pressure.at, before.pressure.at
    if more < MORE_DEAD:
        return None
    return Finding(
        code="dead_rising",
        severity="warning",
        text=f"{name} has {more:,} dead letters more than {_ago(at, then)} ago, {now.stats.dead:,} in all",
        target=name,
        since=then,
        action=f"am2z dead groups processor:{name}",
    )


def _failed_share(now: QueueStanding, before: QueueStanding) -> Finding | None:
    stats, then, name = now.stats, before.stats, now.processor
    failed, completed = stats.failed - then.failed, stats.completed - then.completed
    ended, usual = failed + completed, then.failed / max(1, then.failed + then.completed)
    if ended < FEW or failed <= max(MUCH, MUCH_MORE * usual) * ended:
        return None
    return Finding(
        code="failed_share",
        severity="warning",
        text=f"{failed:,} of the last {ended:,} jobs of {name} have failed, {failed / ended:.0%}; "
        f"usually {usual:.1%} do",
        target=name,
        since=before.pressure.at,
        action=f"am2z dead groups processor:{name}",
    )


# --- schedules, and sessions ---------------------------------------------------------------------


def _of_schedules(now: Snapshot, earlier: dict[str, ScheduleStanding]) -> Iterator[Finding]:
    for schedule in now.schedules:
        found = _held_up(schedule, now.at) or _unserved_schedule(schedule)
        if found is not None:
            yield found
        before = earlier.get(schedule.id)
        missed = 0 if before is None else schedule.passed_by - before.passed_by
        if missed > 0:
            text = f"{_times(missed)} of schedule {schedule.id} passed by with no run of its own lately"
            yield _of_schedule(schedule, "schedule_missed", text, f"am2z cron show {schedule.id}")


def _held_up(schedule: ScheduleStanding, at: int) -> Finding | None:
    id, overdue = schedule.id, schedule.overdue
    if schedule.failed:
        text = f"schedule {id} is paused, as its last run has failed"
        return _of_schedule(schedule, "schedule_failed", text, f"am2z cron resume {id}")
    if overdue is None:
        return None
    text = f"schedule {id} has been due for {span(overdue)}, and no node has run it"
    since = at - round(overdue * 1000)
    return _of_schedule(schedule, "schedule_overdue", text, "start a worker: each fires all schedules", since)


def _unserved_schedule(schedule: ScheduleStanding) -> Finding | None:
    if schedule.is_served:
        return None
    name = schedule.processor
    text = f"schedule {schedule.id} makes jobs of {name}, which no node serves"
    action = f"start a worker that has {name} registered"
    return _of_schedule(schedule, "schedule_unserved", text, action)


def _of_schedule(
    schedule: ScheduleStanding, code: str, text: str, action: str, since: int | None = None
) -> Finding:
    return Finding(
        code=code,
        about="schedule",
        severity="warning",
        text=text,
        target=schedule.id,
        queue=schedule.processor,
        session=schedule.session,
        since=since,
        action=action,
    )


def _of_sessions(now: Snapshot) -> Iterator[Finding]:
    for session in now.sessions:
        if session.stopping_for > STOPPING_FOR and session.jobs:
            yield _stopping(session, now.at)


def _stopping(session: SessionStanding, at: int) -> Finding:
    on = f" on {', '.join(session.nodes[:3])}" if session.nodes else ""
    return Finding(
        code="session_stopping",
        about="session",
        severity="warning",
        text=f"session {session.id} has been in its stop for {span(session.stopping_for)}: "
        f"{_jobs(session.jobs)} of it{on} do not end",
        target=session.id,
        session=session.id,
        since=at - round(session.stopping_for * 1000),
        action="look where they are: am2z tree --stacks",
    )


def _times(count: int) -> str:
    return "1 time" if count == 1 else f"{count:,} times"


def _ago(now: int, then: int) -> str:
    return span((now - then) / 1000)


def _waiting(count: int) -> str:
    return f"{_jobs(count)} wait{'s' if count == 1 else ''}"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"

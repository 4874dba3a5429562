"""What needs a person: each finding where it is due, and none where all is well."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.model.records import BreakerFacts, QueuePressure, QueueStats, ServerFigures
from am2z_trio.model.views.findings import Finding
from am2z_trio.model.views.health import Blocked
from am2z_trio.policy.checkup import examine
from am2z_trio.policy.findings import about, findings
from am2z_trio.policy.forecast import forecast, size
from am2z_trio.policy.spans import seconds_of, span
from am2z_trio.policy.standings import (
    NodeStanding,
    QueueStanding,
    ScheduleStanding,
    SessionStanding,
    Snapshot,
)
from am2z_trio.policy.versions import known_bad

NOW = 1_700_000_000_000
MB = 1_000_000
WELL = ServerFigures(
    kind="valkey",
    version="9.1.2",
    used=200 * MB,
    limit=1_000 * MB,
    policy="noeviction",
    aof=True,
)


def queue(
    name: str = "charge", *, at: int = NOW, seen: int | None = NOW - 1_000, **parts: Any
) -> QueueStanding:
    stats = {name: parts.pop(name) for name in tuple(parts) if name in QueueStats.__struct_fields__}
    pressure = {name: parts.pop(name) for name in ("held", "breaker") if name in parts}
    return QueueStanding(
        processor=name,
        stats=QueueStats(**{"workers": 1, **stats}),
        pressure=QueuePressure(queue=name, at=at, seen=seen, **pressure),
        **parts,
    )


def found(*queues: QueueStanding, before: QueueStanding | None = None, **parts: Any) -> list[Finding]:
    earlier = None if before is None else Snapshot(at=before.pressure.at, queues=[before])
    return findings(Snapshot(at=NOW, queues=list(queues), **parts), earlier)


def test_where_all_is_well_nothing_is_found():
    calm = queue(waiting=3, active=2, completed=100, failed=1, dead=1, oldest=0.2, usual_oldest=0.1)
    assert found(calm, server=WELL, nodes=[NodeStanding(name="a", version="1")], before=calm) == []


@pytest.mark.parametrize(
    ("standing", "code", "severity", "says"),
    [
        (
            queue(workers=0, waiting=34, seen=NOW - 720_000),
            "unserved",
            "critical",
            "for 12 m 00 s: 34 jobs wait",
        ),
        (
            queue(workers=0, delayed=1, seen=None),
            "unserved",
            "warning",
            "by nobody, and never was: 1 job waits",
        ),
        (queue(paused=7), "paused", "info", "charge is paused, and 7 jobs wait"),
        (queue(waiting=9, active=20, held=True, held_for=362.0), "held", "warning", "its limit for 6 m 02 s"),
        (queue(waiting=9, oldest=90.0, usual_oldest=3.0), "oldest", "warning", "has waited for 1 m 30 s"),
        (
            queue(active=1, longest=90.0, longest_job="j", usual_longest=3.0),
            *("running_long", "warning", "has run for 1 m 30 s; 99 of 100 take no more than 3.0"),
        ),
        (queue(integrity=2), "integrity", "critical", "2 jobs of charge found a state in the last hour"),
        (
            queue(breaker=BreakerFacts(state="open", until=NOW + 12_000)),
            *("breaker", "warning", "it is tried again in 12.0 s"),
        ),
    ],
)
def test_a_queue_that_needs_somebody_is_found(standing: QueueStanding, code: str, severity: str, says: str):
    (one,) = found(standing)
    assert (one.code, one.severity, one.target) == (code, severity, "charge")
    assert says in one.text
    assert one.action


@pytest.mark.parametrize(
    "standing",
    [
        queue(workers=0, dead=5),
        queue(waiting=9, active=20, held=True, held_for=59.0),
        queue(active=20, held_for=600.0),
        queue(waiting=9, oldest=0.9, usual_oldest=0.001),
        queue(waiting=9, oldest=900.0),
        queue(active=9, longest=0.9, usual_longest=0.001),
        queue(active=9, longest=900.0),
        queue(breaker=BreakerFacts(state="open", until=NOW - 1)),
        queue(breaker=BreakerFacts(state="half-open", until=NOW + 1_000)),
    ],
)
def test_what_is_usual_is_not_found(standing: QueueStanding):
    assert found(standing) == []


def test_dead_letters_that_rise_are_found():
    before = queue(at=NOW - 60_000, dead=3)
    (one,) = found(queue(dead=15), before=before)
    assert (one.code, one.since) == ("dead_rising", NOW - 60_000)
    assert one.text == "charge has 12 dead letters more than 1 m 00 s ago, 15 in all"
    assert found(queue(dead=12), before=before) == []


def test_more_failures_than_usual_are_found():
    before = queue(at=NOW - 60_000, completed=980, failed=20)
    (one,) = found(queue(completed=1_000, failed=40), before=before)
    assert one.text == "20 of the last 40 jobs of charge have failed, 50%; usually 2.0% do"
    # What fails always is no news, and few jobs tell nothing.
    assert found(queue(completed=2, failed=5), before=queue(at=NOW - 1, completed=2, failed=0)) == []
    usual = queue(at=NOW - 60_000, completed=500, failed=500)
    assert found(queue(completed=520, failed=520), before=usual) == []


def test_nodes_that_do_not_get_on_are_found():
    nodes = [
        NodeStanding(name="a", loop_lag=0.3, kept_by="shop.py:42"),
        NodeStanding(name="b", silent_for=2.0, is_heard=True),
        NodeStanding(name="c", host="h", restarts=3),
        NodeStanding(name="d", loop_lag=0.2, host="h", restarts=2),
        NodeStanding(name="e", is_drained=True, claims=1),
    ]
    assert {one.code: one.text for one in found(nodes=nodes)} == {
        "loop_late": "the event loop of a is late by 300 ms in one of a hundred times, "
        "at shop.py:42 above all",
        "node_silent": "b has not answered for 2.0 s, and holds no job",
        "node_drained": "e is drained, and claims no more jobs: 1 job left",
        "node_restarts": "the nodes of h have come anew 3 times lately; c is the last",
    }
    assert {one.about for one in found(nodes=nodes)} == {"node"}


def test_processors_that_keep_the_event_loop_are_found_with_the_worst_place():
    def blocked(processor: str, line: int, longest: float, ago: float) -> Blocked:
        return Blocked(
            processor=processor, file="shop.py", line=line, function="f", times=2, longest=longest, ago=ago
        )

    nodes = [
        NodeStanding(name="a", blocked=(blocked("charge", 7, 6.0, 30.0), blocked("mail", 1, 5.5, 9.0))),
        NodeStanding(name="b", blocked=(blocked("charge", 9, 41.0, 90.0),)),
    ]
    first, second = found(nodes=nodes)
    assert (first.code, first.target, first.about, first.since) == (
        *("loop_blocked", "charge", "queue"),
        NOW - 30_000,
    )
    assert "4 jobs of charge kept the event loop, 30.0 s ago last" in first.text
    assert "for 41.0 s at shop.py:9 on b" in first.text
    assert second.target == "mail"


def test_schedules_that_do_not_run_are_found():
    def standing(id: str, **parts: Any) -> ScheduleStanding:
        return ScheduleStanding(id=id, processor="charge", session="s", **parts)

    now = Snapshot(
        at=NOW,
        schedules=[
            standing("fine", passed_by=3),
            standing("failed", failed=True),
            standing("late", overdue=90.0),
            standing("missed", passed_by=5),
            standing("nobody", is_served=False),
        ],
    )
    before = Snapshot(at=NOW - 60_000, schedules=[standing(one, passed_by=3) for one in ("fine", "missed")])
    told = findings(now, before)
    assert [(one.code, one.target) for one in told] == [
        ("schedule_failed", "failed"),
        ("schedule_missed", "missed"),
        ("schedule_overdue", "late"),
        ("schedule_unserved", "nobody"),
    ]
    assert {(one.about, one.queue, one.session) for one in told} == {("schedule", "charge", "s")}
    assert told[1].text == "2 times of schedule missed passed by with no run of its own lately"
    assert told[2].since == NOW - 90_000


def test_a_session_that_does_not_stop_is_found():
    def standing(seconds: float, jobs: int) -> SessionStanding:
        return SessionStanding(id="alice", stopping_for=seconds, jobs=jobs, nodes=("a",))

    (one,) = findings(Snapshot(at=NOW, sessions=[standing(90.0, 2)]))
    assert (one.code, one.about, one.target) == ("session_stopping", "session", "alice")
    assert "for 1 m 30 s: 2 jobs of it on a do not end" in one.text
    for fine in (standing(59.0, 2), standing(90.0, 0)):
        assert findings(Snapshot(at=NOW, sessions=[fine])) == []


def test_what_a_finding_is_about_is_known_by_its_code():
    codes = {"held": "queue", "node_silent": "node", "loop_late": "node", "server_memory": "server"}
    codes |= {"schedule_missed": "schedule", "session_stopping": "session", "integrity": "queue"}
    assert {code: about(code) for code in codes} == codes


def test_nodes_that_are_not_heard_and_versions_that_differ_are_found():
    nodes = [
        NodeStanding(name="a", version="0.1.0", silent_for=3.0, is_heard=False, claims=2),
        NodeStanding(name="b", version="0.2.0", silent_for=9.0, is_heard=False),
        NodeStanding(name="c"),
    ]
    told = [(one.code, one.severity, one.target) for one in found(nodes=nodes)]
    assert told == [
        ("node_silent", "critical", "a"),
        ("node_silent", "warning", "b"),
        ("mixed_versions", "info", ""),
    ]


@pytest.mark.parametrize(
    ("changes", "check", "state", "says"),
    [
        ({"used": 960 * MB}, "memory", "bad", "960 MB of 1.0 GB in use, 96 % of maxmemory"),
        ({"used": 810 * MB}, "memory", "warn", "81 %"),
        ({"limit": 0, "system": 1_000 * MB}, "memory", "warn", "maxmemory is not set"),
        ({"policy": "allkeys-lru"}, "policy", "bad", "the server drops jobs and states"),
        ({"policy": "allkeys-lru", "limit": 0}, "policy", "bad", "allkeys-lru"),
        ({"aof": False}, "persistence", "warn", "appendonly is no"),
        ({"snapshot_failed": True}, "snapshot", "bad", "could not write to disk"),
        ({"replicas": [1, 40]}, "replicas", "warn", "heard 40.0 s ago"),
        ({"ahead": -1.5}, "clock", "warn", "the server's clock is 1.5 s behind this machine's"),
        ({"kind": "redis", "version": "5.0.7"}, "version", "bad", "too old"),
        ({"kind": "redis", "version": "7.0.15"}, "version", "warn", "7.2.16 is the next version"),
    ],
)
def test_a_server_that_is_not_fit_is_found(changes: dict[str, Any], check: str, state: str, says: str):
    server = msgspec.structs.replace(WELL, **changes)
    (one,) = [one for one in examine(server) if one.name == check]
    assert (one.state, bool(one.remedy)) == (state, True)
    assert says in one.text
    severity = "critical" if state == "bad" else "warning"
    assert (f"server_{check}", severity) in [(one.code, one.severity) for one in found(server=server)]


def test_a_server_that_is_fit_passes_every_check():
    assert {one.state for one in examine(msgspec.structs.replace(WELL, replicas=[0, 1]))} == {"ok"}
    # What an answer took is no difference of clocks.
    assert {one.state for one in examine(msgspec.structs.replace(WELL, ahead=1.5, round_trip=2.0))} == {"ok"}
    assert [one.state for one in examine(ServerFigures(kind="memory"))] == ["ok"]


def test_memory_that_will_not_do_is_foreseen():
    expected = forecast(1_000.0, 3_600.0, each=1_300)
    assert (expected.count, size(expected.bytes)) == (3_600_000, "4.7 GB")
    (one,) = found(server=WELL, expected=expected)
    assert one.code == "server_forecast"
    assert "at 1,000.0 jobs/s, kept for 1 h 00 m, ended records will need 4.7 GB" in one.text
    bounded = forecast(1_000.0, 3_600.0, each=1_300, most=100_000)
    assert found(server=WELL, expected=bounded) == []


@pytest.mark.parametrize(
    ("kind", "version", "bad"),
    [
        ("redis", "6.2.18", True),
        ("redis", "6.2.20", False),
        ("redis", "7.0.15", True),
        ("redis", "7.2.13", True),
        ("redis", "7.2.16", False),
        ("redis", "7.4.8", True),
        ("redis", "7.4.9", False),
        ("redis", "8.0.4", True),
        ("redis", "8.1.0", True),
        ("redis", "8.2.5", True),
        ("redis", "8.2.6", False),
        ("redis", "8.6.2", True),
        ("redis", "8.8.0", False),
        ("redis", "9.0.0", False),
        ("valkey", "8.0.5", True),
        ("valkey", "8.1.4", True),
        ("valkey", "8.1.7", False),
        ("valkey", "9.0.3", True),
        ("valkey", "9.1.2", False),
        ("dragonfly", "1.0.0", False),
        ("redis", "unstable", False),
    ],
)
def test_versions_that_are_known_to_be_bad_are_known(kind: str, version: str, bad: bool):
    assert bool(known_bad(kind, version)) == bad


@pytest.mark.parametrize(
    ("version", "why", "better"),
    [
        ("6.2.18", "CVE-2025-49844", "6.2.20"),
        ("7.0.15", "CVE-2025-49844", "7.2.16"),
        ("7.4.5", "CVE-2026-23479", "7.4.9"),
        ("8.0.9", "CVE-2026-23479", "8.2.6"),
    ],
)
def test_the_next_version_is_told_that_has_none_of_the_flaws(version: str, why: str, better: str):
    said = known_bad("redis", version)
    assert why in said
    assert f"; {better} is the next" in said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1.0, "0 ms"),
        (0.32, "320 ms"),
        (0.9996, "1.0 s"),
        (4.2, "4.2 s"),
        (59.97, "1 m 00 s"),
        (362, "6 m 02 s"),
        (3_599.7, "1 h 00 m"),
        (11_100, "3 h 05 m"),
        (187_200, "2 d 04 h"),
    ],
)
def test_a_length_of_time_is_said_in_two_figures(seconds: float, said: str):
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90s", 90),
        ("1.5 h", 5_400),
        ("250ms", 0.25),
        ("1d", 86_400),
        ("soon", None),
        ("-1s", None),
        ("1", None),
    ],
)
def test_a_length_of_time_is_read(written: str, seconds: float | None):
    assert seconds_of(written) == seconds


COUNTS = st.integers(0, 10**9)
STATS = st.builds(
    QueueStats,
    **dict.fromkeys(("waiting", "active", "completed", "failed", "delayed", "paused", "dead"), COUNTS),
    workers=st.integers(0, 3),
)
TIMES = st.none() | st.floats(0, 10**9)
QUEUES = st.builds(
    QueueStanding,
    processor=st.sampled_from(["charge", "/{}\r\n", "\u202ex"]),
    stats=STATS,
    pressure=st.builds(
        QueuePressure,
        queue=st.just("q"),
        at=st.integers(0, 2 * NOW),
        seen=st.none() | st.integers(0, 2 * NOW),
        breaker=st.builds(
            BreakerFacts,
            state=st.sampled_from(["closed", "open", "half-open"]),
            until=st.integers(0, 2 * NOW),
        ),
    ),
    oldest=TIMES,
    usual_oldest=TIMES,
    held_for=TIMES,
)
SNAPSHOTS = st.builds(
    Snapshot,
    at=st.integers(0, 2 * NOW),
    queues=st.lists(QUEUES, max_size=4),
    nodes=st.lists(
        st.builds(NodeStanding, name=st.text(max_size=5), silent_for=TIMES, claims=COUNTS, version=st.text())
    ),
    server=st.none()
    | st.builds(
        ServerFigures,
        kind=st.sampled_from(["redis", "valkey", "memory"]),
        version=st.text(max_size=9),
        used=COUNTS,
        limit=COUNTS,
        system=COUNTS,
        ahead=st.floats(-1e9, 1e9),
        replicas=st.lists(COUNTS, max_size=3),
    ),
    expected=st.none() | st.builds(forecast, st.floats(0, 1e6), st.floats(0, 1e6)),
)


@given(SNAPSHOTS, st.none() | SNAPSHOTS)
def test_whatever_there_is_makes_findings_in_order_and_each_once(now: Snapshot, before: Snapshot | None):
    all_found = findings(now, before)
    keys = [(one.code, one.target) for one in all_found]
    assert len(set(keys)) == len(keys)
    order = ["critical", "warning", "info"]
    assert sorted(all_found, key=lambda one: order.index(one.severity)) == all_found
    assert msgspec.json.decode(msgspec.json.encode(all_found), type=list[Finding]) == all_found
    # Nothing is found of what was not looked at.
    assert findings(Snapshot(at=now.at), before) == []


@given(SNAPSHOTS)
def test_more_workers_never_make_a_queue_unserved(now: Snapshot):
    served = [
        msgspec.structs.replace(one, stats=msgspec.structs.replace(one.stats, workers=1))
        for one in now.queues
    ]
    assert "unserved" not in {one.code for one in findings(msgspec.structs.replace(now, queues=served))}

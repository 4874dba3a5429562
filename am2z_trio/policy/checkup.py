"""Whether a server is fit for its work: what it says of itself to a list of checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from am2z_trio.model.records import ServerFigures
from am2z_trio.model.views.findings import Check

from .forecast import Forecast, size
from .spans import span
from .versions import known_bad, version_of

OLDEST: Final = (6, 2, 0)
MOST_USED: Final = 0.8
"""Share of `maxmemory` above which memory is about to be full; of what the machine has, where none is set."""
ALMOST_FULL: Final = 0.95
MOST_AHEAD: Final = 1.0
"""Seconds by which the server's clock and this machine's may differ."""
MOST_BEHIND: Final = 10
"""Seconds for which a replica may be silent."""


def examine(server: ServerFigures, expected: Forecast | None = None) -> list[Check]:
    """All checks, in the order in which they are to be read; of a server in memory only those that it can
    fail."""
    if server.kind == "memory":
        return [Check(name="server", state="ok", text="in memory: it ends with this process")]
    return [check for check in _checks(server, expected) if check is not None]


def _checks(server: ServerFigures, expected: Forecast | None) -> Iterator[Check | None]:
    yield _version(server)
    yield _memory(server)
    yield _policy(server)
    yield _persistence(server)
    yield _snapshot(server)
    yield _replicas(server)
    yield _clock(server)
    if expected is not None:
        yield _forecast(server, expected)


def _version(server: ServerFigures) -> Check:
    kind, version = server.kind.capitalize(), version_of(server.version)
    name = f"{kind} {server.version or 'of an unknown version'}"
    if version is not None and server.kind == "redis" and version < OLDEST:
        return Check(name="version", state="bad", text=f"{name} is too old", remedy="use Redis 6.2 or later")
    why = known_bad(server.kind, server.version)
    if why:
        return Check(
            name="version", state="warn", text=f"{name}: {why}", remedy="bring the server up to date"
        )
    return Check(name="version", state="ok", text=name)


def _memory(server: ServerFigures) -> Check:
    room, of = server.limit, "maxmemory"
    if not room:
        room, of = server.system, "the machine's memory"
    if not room:
        return Check(name="memory", state="ok", text=f"{size(server.used)} in use, and no limit is known")
    share = server.used / room
    text = f"{size(server.used)} of {size(room)} in use, {share * 100:.0f} % of {of}"
    if share > ALMOST_FULL:
        remedy = "keep less, or give it more: nothing is accepted when it is full"
        return Check(name="memory", state="bad", text=text, remedy=remedy)
    if share > MOST_USED:
        return Check(name="memory", state="warn", text=text, remedy="keep less, or give it more")
    if not server.limit:
        remedy = "set maxmemory below what the machine has: a full machine kills the server"
        return Check(name="memory", state="warn", text=f"{text}; maxmemory is not set", remedy=remedy)
    return Check(name="memory", state="ok", text=text)


def _policy(server: ServerFigures) -> Check | None:
    policy = server.policy
    if not policy:
        return None
    if policy == "noeviction":
        return Check(name="policy", state="ok", text="maxmemory-policy is noeviction")
    # Bad without a limit, too: one may be set at any time, and no runtime works on such a server.
    text = f"maxmemory-policy is {policy}: when memory is full, the server drops jobs and states"
    remedy = "CONFIG SET maxmemory-policy noeviction"
    return Check(name="policy", state="bad", text=text, remedy=remedy)


def _persistence(server: ServerFigures) -> Check:
    if server.aof:
        return Check(name="persistence", state="ok", text="every change is written to disk (appendonly yes)")
    text = "appendonly is no: what came since the last snapshot is lost when the server ends"
    return Check(name="persistence", state="warn", text=text, remedy="CONFIG SET appendonly yes")


def _snapshot(server: ServerFigures) -> Check | None:
    if not server.snapshot_failed:
        return None
    text = "the server could not write to disk the last time it tried"
    return Check(name="snapshot", state="bad", text=text, remedy="look at the server's log and at its disk")


def _replicas(server: ServerFigures) -> Check | None:
    if not server.replicas:
        return None
    behind, many = max(server.replicas), len(server.replicas)
    which = "its replica was" if many == 1 else f"of {many} replicas one was"
    if behind > MOST_BEHIND:
        text = f"{which} heard {span(behind)} ago: a failover would lose what came since"
        return Check(name="replicas", state="warn", text=text, remedy="look at the replica and the network")
    return Check(name="replicas", state="ok", text=f"replicas: {many}, heard {span(behind)} ago at most")


def _clock(server: ServerFigures) -> Check:
    ahead = server.ahead
    away = abs(ahead)
    side = "ahead of" if ahead > 0 else "behind"
    if away - server.round_trip > MOST_AHEAD:
        text = f"the server's clock is {span(away)} {side} this machine's"
        return Check(name="clock", state="warn", text=text, remedy="let both keep the time by NTP")
    return Check(name="clock", state="ok", text=f"the server's clock is {span(away)} {side} this machine's")


def _forecast(server: ServerFigures, expected: Forecast) -> Check:
    room = (server.limit or server.system) - server.used
    text = (
        f"at {expected.rate:,.1f} jobs/s, kept for {span(expected.age)}, ended records will need "
        f"{size(expected.bytes)} ({expected.count:,} of {size(expected.each)})"
    )
    if (server.limit or server.system) and expected.bytes > max(room, 0):
        remedy = "keep results for less long (result_ttl), or give the server more memory"
        return Check(name="forecast", state="warn", text=f"{text}: more than is free", remedy=remedy)
    return Check(name="forecast", state="ok", text=text)

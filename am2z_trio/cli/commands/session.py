"""`am2z session`: sessions, their jobs in counts, and their states in versions."""

from __future__ import annotations

import argparse
import difflib
from functools import partial
from typing import Any, Final

import msgspec

from am2z_trio.admin import Admin
from am2z_trio.admin.exclusions import added, told
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.moments import time_or_epoch
from am2z_trio.model.records.states import Author
from am2z_trio.model.views.search import Exclusion
from am2z_trio.model.views.sessions import SessionRow, StateShown

from ..display import note, say
from ..exits import DONE, FAILED, MISSING, REFUSED
from ..given import add_signal, signal_value
from ..operators import add_reason, answered, open_admin, require_one
from ..output import Output, as_map
from ..parsing import Commands, add_command, add_group, add_of_one, add_yes
from ..watch import add_watch
from .bulk import done_to_all
from .verifying import MOST, verify_all

_add_of_one = partial(add_of_one, what="session")

EXAMPLES = (
    "am2z session ls                    sessions with jobs",
    "am2z session show alice",
    "am2z session state alice --version 3",
    "am2z session diff alice 3 4        what version 4 has changed",
    "am2z session stop alice --grace 2 --yes",
    "am2z session stop --where 'session:team-*' --yes",
    "am2z session verify alice          is the state what was written?",
    "am2z session signal alice approval '{\"yes\": true}'",
    "am2z session restore alice 3       as a new version; those that there were are kept",
    "am2z session ls 'team-*' -session:team-boss",
    "am2z session verify --all --limit 1000",
)


class StateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a state."""

    session: str
    version: int
    checksum: str
    updated: str
    by: Author
    """Who has written it."""
    state: Any


class ListedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is listed, in the words of `SessionRow`."""

    session: str
    state: str
    waiting: int
    active: int
    delayed: int
    version: int
    written: str
    """When its state was; empty where it has none."""
    nodes: list[str]


COLUMNS = [(name, name) for name in ("session", "state", "active", "waiting", "delayed", "version", "nodes")]

PAGE: Final = 200
"""Sessions that are asked for at a time."""


def add(commands: Commands) -> None:
    family = add_group(commands, "session", "look at sessions and their states; stop them", example=EXAMPLES)
    listing = add_command(family, "ls", _list, "sessions that have jobs", example=(EXAMPLES[0], EXAMPLES[9]))
    wanted = "NAME PREFIX* -PREFIX* running>0 waiting>0 version>10 idle>1h locked ...; default: all"
    listing.add_argument("query", nargs="*", metavar="QUERY", help=wanted)
    add_watch(listing)
    _add_of_one(family, "show", _show, "one session in counts", EXAMPLES[1])
    state = _add_of_one(family, "state", _state, "its state, and which version that is", EXAMPLES[2])
    state.add_argument("--version", type=int, metavar="N", help="an earlier one, where they are kept")
    add_reason(state)
    diff = _add_of_one(family, "diff", _diff, "what one version has changed of another", EXAMPLES[3])
    diff.add_argument("old", type=int, nargs="?", metavar="OLD", help="default: the one before NEW")
    diff.add_argument("new", type=int, nargs="?", metavar="NEW", help="default: the newest")
    add_reason(diff)
    stop = add_command(
        family,
        "stop",
        _stop,
        "stop one on every node by a cancel of its scope, or many",
        example=EXAMPLES[4:6],
    )
    stop.add_argument("session", nargs="?", metavar="SESSION")
    stop.add_argument("--where", metavar="QUERY", help="or all of these ids: session:NAME, session:PREFIX*")
    stop.add_argument(
        "--grace", type=float, default=0.0, metavar="SECONDS", help="how long running jobs may take (0)"
    )
    add_yes(stop, "stop it, or all of them")
    add_reason(stop)
    line = "send it what one of its jobs waits for"
    add_signal(_add_of_one(family, "signal", _signal, line, EXAMPLES[7]))
    restore = _add_of_one(family, "restore", _restore, "make an earlier version the newest", EXAMPLES[8])
    restore.add_argument("version", type=int, metavar="VERSION")
    add_reason(restore)
    _add_verify(family)


def _add_verify(family: Commands) -> None:
    verify = add_command(
        family,
        "verify",
        _verify,
        "whether its state is what was written, or those of all",
        description="Whether the state of a session, and the versions of it that are kept, are what was "
        "written. With --all those of all sessions that have jobs: the exit status is 1 if one is not; with "
        "--json an object of each that is not, and a last one that says how many were looked at.",
        example=(EXAMPLES[6], EXAMPLES[10]),
    )
    which = verify.add_mutually_exclusive_group(required=True)
    which.add_argument("session", nargs="?", metavar="SESSION")
    which.add_argument("--all", action="store_true", help="of all sessions that have jobs")
    most = f"with --all: at most so many ({MOST:,})"
    verify.add_argument("--limit", type=int, default=MOST, metavar="N", help=most)
    further = "with --all: go on where an earlier run has ended"
    verify.add_argument("--cursor", default="", metavar="C", help=further)


async def _signal(options: argparse.Namespace) -> int:
    value = await signal_value(options)
    async with open_admin(options) as admin:
        answer = await admin.signal_session(options.session, options.name, value, reason=options.reason)
        return answered(options, options.session, answer)


async def _list(options: argparse.Namespace) -> int:
    found, cursor, query = dict[str, ListedSession](), "", " ".join(options.query)
    excluded = list[Exclusion]()
    async with open_admin(options) as admin:
        while True:
            page = await admin.sessions(query=query, limit=PAGE, cursor=cursor)
            found |= {row.session: _listed(row) for row in page.rows}
            excluded = added(excluded, page.excluded) if not found else []
            cursor = page.cursor
            if not cursor:
                break
    rows = [found[id] for id in sorted(found)]
    Output(options.json).rows(
        COLUMNS,
        rows if options.json else map(_in_words, rows),
        none="no such session has jobs" if query else "no session has jobs",
    )
    for line in told(excluded, "session") if not options.json else []:
        note(str(line))
    return DONE


def _listed(row: SessionRow) -> ListedSession:
    return ListedSession(
        session=row.session,
        state=row.state,
        waiting=row.waiting,
        active=row.active,
        delayed=row.delayed,
        version=row.version,
        written="" if row.size is None else _time(row.updated),
        nodes=list(row.nodes),
    )


def _in_words(row: ListedSession) -> dict[str, object]:
    return {**as_map(row), "nodes": ", ".join(row.nodes)}


def _time(at: int) -> str:
    return time_or_epoch(at).isoformat()


async def _show(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        row = (await admin.session(options.session)).row
    if not row.version and not row.jobs:
        say(f"am2z: session {options.session!r} has neither a state nor jobs", error=True)
        return MISSING
    Output(options.json).one(_listed(row) if options.json else _in_words(_listed(row)))
    return DONE


async def _no_version(options: argparse.Namespace, admin: Admin, number: int | None) -> int:
    found = await admin.session(options.session)
    # Where no earlier ones are kept the newest is not among them.
    there = [one.version for one in found.versions] or [found.row.version] * bool(found.row.version)
    if not there:
        say(f"am2z: session {options.session!r} has no state", error=True)
    else:
        which = "an earlier version" if number is None else f"version {number}"
        kept = ", ".join(map(str, there))
        say(f"am2z: {which} of session {options.session!r} is not kept; kept: {kept}", error=True)
    return MISSING


async def _state(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        found = await admin.state(options.session, options.version, reveal=True, reason=options.reason)
        if found is None:
            return await _no_version(options, admin, options.version)
    row = StateRow(
        session=options.session,
        version=found.version.version,
        checksum=found.version.checksum,
        updated=_time(found.version.updated),
        by=found.version.by,
        state=found.value.value,
    )
    Output(options.json).one(row)
    return DONE


async def _diff(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        look = partial(admin.state, options.session, reveal=True, reason=options.reason)
        after = await look(options.new, against=options.old)
        if after is None:
            return await _no_version(options, admin, options.new)
        before = None if after.before is None else await look(after.before)
        if before is None:
            return await _no_version(options, admin, options.old)
    old, new = before.version.version, after.version.version
    lines = list(
        difflib.unified_diff(
            _lines(before), _lines(after), f"version {old}", f"version {new}", lineterm="", n=3
        )
    )
    if options.json:
        Output(True).line({"session": options.session, "old": old, "new": new, "diff": lines})
    else:
        for line in lines or ["the same"]:
            say(line)
    return DONE


def _lines(one: StateShown) -> list[str]:
    return msgspec.json.format(_in_order(one.value.value)).decode().split("\n")


def _in_order(value: object) -> bytes:
    """As JSON, whose keys are texts whatever they were, in their order."""
    plain = msgspec.json.decode(msgspec.json.encode(value, enc_hook=str))
    return msgspec.json.encode(plain, order="sorted")


async def _stop(options: argparse.Namespace) -> int:
    require_one(options, "session")
    if options.where is not None and options.grace:
        raise ConfigurationError("--grace goes with one session: those of --where have none")
    async with open_admin(options) as admin:
        if options.where is not None:
            return await done_to_all(options, admin, "stop")
        if not options.yes:
            told = await admin.preview_stop_session(options.session)
            more = "more than " if told.more or told.silent else ""
            jobs = f"{more}{len(told.running)} running and {told.waiting + told.delayed} waiting jobs"
            say(f"session {options.session!r} has {jobs}. Nothing was changed: --yes stops it", error=True)
            return REFUSED
        answer = await admin.stop_session(options.session, grace=options.grace, reason=options.reason)
        return answered(options, options.session, answer)


async def _restore(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        answer = await admin.restore_state(options.session, options.version, reason=options.reason)
        return answered(options, options.session, answer)


async def _verify(options: argparse.Namespace) -> int:
    if options.all:
        return await verify_all(options)
    async with open_admin(options) as admin:
        answer = await admin.verify_state(options.session)
        row = (await admin.session(options.session)).row
        if answer.done and row.size is None:
            return await _no_version(options, admin, None)
    found = {"session": options.session, "sound": answer.done, "version": row.version, "text": answer.text}
    Output(options.json).told(f"session {options.session!r}: {answer.text}", found)
    return DONE if answer.done else FAILED

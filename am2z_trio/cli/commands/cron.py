"""`am2z cron`: schedules, and what a cron text means."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from am2z_trio.admin import Admin
from am2z_trio.engine.schedules.plan import Schedule
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.evolution import of_version
from am2z_trio.model.schedules import MISSED, OVERLAPS, ScheduleView
from am2z_trio.model.views.actions import Answer
from am2z_trio.policy.cron import Cron, Every, Timing

from ..display import say
from ..exits import DONE, REFUSED
from ..given import add_state_version
from ..operators import add_reason, answered, open_admin
from ..output import Column, Output, as_map
from ..parsing import Command, Commands, add_command, add_group, add_yes, moment
from ..watch import add_watch

EXAMPLES: Final = (
    "am2z cron ls                       every schedule, those that come next in front",
    "am2z cron show nightly             one of them, its next times and last runs",
    'am2z cron next "30 2 * * *" --tz Europe/Berlin -n 3 --year',
    'am2z cron add nightly app.report "30 2 * * *" --tz Europe/Berlin --state \'{"of": "sales"}\'',
    'am2z cron add pulse app.pulse "every 30"',
    "am2z cron run nightly",
    'am2z cron pause nightly --reason "until the report is mended"',
    "am2z cron resume nightly",
    "am2z cron backfill nightly 2026-11-01T00:00Z 2026-11-08T00:00Z --yes",
    "am2z cron rm nightly --yes",
)
COLUMNS: Final[list[Column]] = [
    ("schedule", "id"),
    ("when", "when"),
    ("zone", "tz"),
    ("next", "next"),
    ("processor", "processor"),
    ("session", "session"),
    ("last", "last"),
    ("status", "last_status"),
    ("fired", "fired"),
    ("skipped", "skipped"),
    ("passed by", "passed_by"),
    ("paused", "paused"),
]
TIMES: Final[list[Column]] = [("at", "at"), ("utc", "utc"), ("in", "wait"), ("note", "note")]
RUNS: Final[list[Column]] = [
    ("at", "at"),
    ("outcome", "outcome"),
    ("late", "late"),
    ("job", "job"),
    ("status", "status"),
]
PAGE: Final = 1_000


class Time(msgspec.Struct, frozen=True, kw_only=True):
    """A time that a cron text means."""

    at: datetime
    utc: datetime
    wait: str
    """In how long."""
    note: str = ""
    """What the setting of the clock makes of it."""


def add(commands: Commands) -> None:
    family = add_group(commands, "cron", "look at schedules; make and pause them", example=EXAMPLES)
    line = "every schedule, those that come next in front"
    add_watch(add_command(family, "ls", _list, line, example=EXAMPLES[:1]))
    _of_one(family, "show", _show, "one schedule, its next times and its last runs", EXAMPLES[1])
    _add_next(family)
    _add_add(family)
    add_reason(_of_one(family, "run", _run, "run it once, now, beside its times", EXAMPLES[5]))
    pause = _of_one(family, "pause", _pause, "let it come no more, until it is resumed", EXAMPLES[6])
    pause.add_argument("--reason", default="", metavar="TEXT", help="why, for whoever looks, and the audit")
    add_reason(_of_one(family, "resume", _resume, "let it come again, from now on", EXAMPLES[7]))
    backfill = _of_one(family, "backfill", _backfill, "run it for past times that had no job", EXAMPLES[8])
    backfill.add_argument("start", metavar="FROM", type=moment, help="such as 2026-11-01T00:00Z")
    backfill.add_argument("end", metavar="TO", type=moment, help="included")
    add_yes(backfill, "run it")
    add_reason(backfill)
    remove = _of_one(family, "rm", _remove, "remove it; its jobs go on", EXAMPLES[9])
    add_yes(remove, "remove it")
    add_reason(remove)


def _of_one(family: Commands, name: str, run: Command, line: str, example: str) -> argparse.ArgumentParser:
    parser = add_command(family, name, run, line, example=(example,))
    parser.add_argument("id", metavar="SCHEDULE", help="its id, as `am2z cron ls` has it")
    return parser


def _add_next(family: Commands) -> None:
    line = "when a cron text comes; asks no Redis"
    parser = add_command(family, "next", _next, line, example=(EXAMPLES[2],), redis=False)
    _add_when(parser)
    parser.add_argument("-n", type=int, default=10, metavar="N", help="how many; default: 10")
    note = "and what becomes of its times within a year where clocks are set"
    parser.add_argument("--year", action="store_true", help=note)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")


def _add_add(family: Commands) -> None:
    parser = add_command(family, "add", _add, "write a schedule down, or change it", example=EXAMPLES[3:5])
    parser.add_argument("id", metavar="SCHEDULE", help="its id, as you like")
    parser.add_argument("processor", metavar="PROCESSOR", help="its name; somebody serves it, or has lately")
    _add_when(parser)
    parser.add_argument("--state", metavar="JSON|@FILE", help="what each run is given; default: {}")
    add_state_version(parser)
    parser.add_argument("--session", metavar="ID", help="without --state, on its stored state")
    parser.add_argument("--overlap", choices=OVERLAPS, default="skip")
    parser.add_argument("--missed", choices=MISSED, default="once")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--limit", type=int, metavar="N", help="runs in all")
    parser.add_argument("--pause-on-failure", action="store_true")
    parser.add_argument("--note", default="", metavar="TEXT")
    add_reason(parser)


def _add_when(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("when", metavar="EXPR", help="a cron text, or `every SECONDS`")
    parser.add_argument("--tz", default="UTC", metavar="ZONE", help="such as Europe/Berlin; default: UTC")


def _timing(options: argparse.Namespace) -> Timing:
    word, _, seconds = options.when.strip().partition(" ")
    if word.lower() != "every":
        return Cron(options.when, tz=options.tz)
    try:
        return Every(float(seconds))
    except ValueError:
        raise ConfigurationError(f"EXPR={options.when!r}: must be a cron text, or `every SECONDS`") from None


def _state(text: str | None, session: str | None) -> Any:
    if text is None:
        return {} if session is None else None
    try:
        source = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        return msgspec.json.decode(source)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--state: must be JSON, or @ and a file of it: {error}") from error


async def _asked(options: argparse.Namespace, ask: Callable[[Admin, Output], Awaitable[int]]) -> int:
    """With the service for operators, and what prints."""

    async with open_admin(options) as admin:
        return await ask(admin, Output(options.json))


async def _list(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        found, offset = list[ScheduleView](), 0
        while page := await admin.schedules(offset=offset, limit=PAGE):
            found, offset = found + page, offset + PAGE
        output.rows(COLUMNS, found, none="there are no schedules")
        return DONE

    return await _asked(options, ask)


async def _show(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        view = await admin.schedule(options.id)
        times = await admin.schedule_times(options.id, 5)
        runs = await admin.schedule_runs(options.id, limit=10)
        if output.as_json:
            output.line({**as_map(view), "times": times, "runs": runs})
            return DONE
        following = ", ".join(at.isoformat() for at in times) or "never, as it is"
        output.one({**as_map(view), "next": following})
        output.rows(RUNS, runs, none="it has not run yet, or notes no runs")
        return DONE

    return await _asked(options, ask)


async def _next(options: argparse.Namespace) -> int:
    timing, output, now = _timing(options), Output(options.json), datetime.now(UTC)
    found = [_told(at, now) for at in timing.next(options.n)]
    if options.year:
        found += [_told(shift.at, now, shift.note) for shift in timing.year()]
    if not output.as_json:
        say(timing.explain())
    output.rows(TIMES, found, none="it comes no more")
    return DONE


def _told(at: datetime, now: datetime, note: str = "") -> Time:
    days, seconds = divmod(round((at - now).total_seconds()), 24 * 3600)
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    wait = f"{days} d" if days else f"{hours} h {minutes} m" if hours else f"{minutes} m {seconds % 60} s"
    return Time(at=at, utc=at.astimezone(UTC), wait=wait, note=note)


async def _add(options: argparse.Namespace) -> int:
    plan = Schedule(
        options.id,
        options.processor,
        _timing(options),
        of_version(_state(options.state, options.session), options.state_version),
        session=options.session,
        overlap=options.overlap,
        missed=options.missed,
        jitter=options.jitter,
        limit=options.limit,
        pause_on_failure=options.pause_on_failure,
        note=options.note,
    )

    async def ask(admin: Admin, output: Output) -> int:
        return await _changed(options, admin, await admin.add_schedule(plan, reason=options.reason))

    return await _asked(options, ask)


async def _changed(options: argparse.Namespace, admin: Admin, answer: Answer) -> int:
    """Say what became of a change, and how the schedule stands; that there is none is exit status 3."""
    view = await admin.schedule(options.id)
    if not answer.done:
        return answered(options, options.id, answer)
    Output(options.json).done(f"schedule {options.id}: {answer.text}", view)
    return DONE


async def _run(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        answer = await admin.run_schedule(options.id, reason=options.reason)
        if not answer.done:
            return await _changed(options, admin, answer)
        output.done(answer.text, {"schedule": options.id, "job": answer.job}, made=answer.job)
        return DONE

    return await _asked(options, ask)


async def _pause(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        return await _changed(options, admin, await admin.pause_schedule(options.id, reason=options.reason))

    return await _asked(options, ask)


async def _resume(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        return await _changed(options, admin, await admin.resume_schedule(options.id, reason=options.reason))

    return await _asked(options, ask)


async def _backfill(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        span, dry = (options.start, options.end), not options.yes
        told = await admin.backfill_schedule(options.id, *span, dry_run=dry, reason=options.reason)
        many = f"{len(told.times):,} times had no job, {told.had:,} had one"
        what = "Nothing was changed: --yes runs these" if dry else f"{told.queued:,} jobs were made"
        (output.told if dry else output.done)(f"{many}. {what}", told)
        return REFUSED if dry and told.times else DONE

    return await _asked(options, ask)


async def _remove(options: argparse.Namespace) -> int:
    async def ask(admin: Admin, output: Output) -> int:
        if not options.yes:
            view = await admin.schedule(options.id)
            say(f"schedule {view.id} has fired {view.fired:,} times; --yes removes it", error=True)
            return REFUSED
        answer = await admin.remove_schedule(options.id, reason=options.reason)
        if not answer.done:
            return await _changed(options, admin, answer)
        output.done(f"schedule {options.id}: {answer.text}", {"schedule": options.id, "removed": True})
        return DONE

    return await _asked(options, ask)

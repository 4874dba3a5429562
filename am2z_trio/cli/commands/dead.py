"""`am2z dead`: jobs that have failed for good, looked at, run again or dropped."""

from __future__ import annotations

import argparse

from am2z_trio.admin import Admin
from am2z_trio.admin.query import parse
from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.views.actions import Answer

from ..exits import DONE
from ..given import given_json
from ..operators import add_reason, answered, open_admin
from ..output import Output
from ..parsing import Commands, add_command, add_group
from ..watch import add_watch
from .job import act, add_of_many, add_search, add_show, list_jobs

EXAMPLES = (
    "am2z dead groups                                  by what has gone wrong",
    "am2z dead ls queue:charge error:'card declined*'",
    "am2z dead redrive --where queue:charge --probe --rate 5/s --yes",
    "am2z dead edit 01k9x62c0d-9001 --state @mended.json",
    "am2z dead drop --where 'queue:mail age>2d' --yes",
    "am2z dead show 01k9x62c0d-9001                    what it was given, and why it has failed",
)

GROUPS = [
    ("jobs", "jobs"),
    ("queue", "queue"),
    ("sessions", "sessions"),
    ("what", "kind"),
]


def add(commands: Commands) -> None:
    family = add_group(commands, "dead", "jobs that have failed for good", example=EXAMPLES)
    add_search(family, _list, "those that a query asks for, or all", EXAMPLES[1])
    groups = add_command(family, "groups", _groups, "by what has gone wrong", example=EXAMPLES[:1])
    groups.add_argument("query", nargs="*", metavar="QUERY")
    add_watch(groups)
    add_show(family, "one, with all that is known of it", EXAMPLES[5])
    redrive = add_command(family, "redrive", _redrive, "queue one again, or many", example=EXAMPLES[2:3])
    add_of_many(redrive)
    redrive.add_argument("--probe", action="store_true", help="try one first; if it fails again, stop")
    redrive.add_argument("--rate", metavar="N/s", help="no more than so many in a second")
    edit = add_command(
        family, "edit", _edit, "run it as a new job, given something else", example=EXAMPLES[3:4]
    )
    edit.add_argument("job", metavar="JOB", help="its id in full")
    edit.add_argument("--state", required=True, metavar="JSON", help="JSON, @FILE, or - for the input")
    add_reason(edit)
    add_of_many(add_command(family, "drop", _drop, "drop one, or many", example=EXAMPLES[4:5]))


async def _list(options: argparse.Namespace) -> int:
    return await list_jobs(options, _dead(" ".join(options.query)))


def _dead(query: str) -> str:
    return f"status:dead {query}".strip()


def _dead_where(query: str | None) -> str | None:
    """The dead letters among what is asked for; what asks for nothing is left as it is, to be refused."""
    return query if query is None or not parse(query).asks_for_something else _dead(query)


async def _groups(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        groups = await admin.dead_groups(_dead(" ".join(options.query)))
    Output(options.json).rows(GROUPS, groups, none="there are no dead letters")
    return DONE


async def _redrive(options: argparse.Namespace) -> int:
    rate = None if options.rate is None else _rate(options.rate)
    options.where = _dead_where(options.where)

    async def one(admin: Admin) -> Answer:
        return await admin.retry(options.job, reason=options.reason)

    return await act(options, "retry", one, rate=rate, probe=options.probe)


def _rate(text: str) -> float:
    try:
        return float(text.removesuffix("/s"))
    except ValueError:
        raise ConfigurationError(f"--rate: {text!r} is no number of jobs a second: 5/s") from None


async def _edit(options: argparse.Namespace) -> int:
    state = await given_json(options.state)

    async with open_admin(options) as admin:
        answer = await admin.edit(options.job, state, reason=options.reason)
        return answered(options, options.job, answer)


async def _drop(options: argparse.Namespace) -> int:
    options.where = _dead_where(options.where)

    async def one(admin: Admin) -> Answer:
        return await admin.drop(options.job, reason=options.reason)

    return await act(options, "drop", one)

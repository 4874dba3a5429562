"""`am2z findings`: what needs a person."""

from __future__ import annotations

import argparse

from am2z_trio.model.arguments import refusal
from am2z_trio.policy.spans import seconds_of, span

from ..exits import DONE, FAILED
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command
from ..watch import add_watch

EXAMPLES = (
    "am2z findings                      queues that nobody serves, memory that runs out, silent nodes",
    "am2z findings --silence held --for 2h --reason 'the import runs'",
    "am2z findings --json | jq -r 'select(.severity == \"critical\").text'",
)

COLUMNS = [("severity", "severity"), ("code", "code"), ("what", "text"), ("do", "action")]


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "findings",
        _findings,
        "what needs a person",
        description="Looks at all queues, nodes, schedules and the server, and lists what needs a person, "
        "the worst first. The exit status is 1 if any of it is critical.",
        example=EXAMPLES,
    )
    looks_or_acts = parser.add_mutually_exclusive_group()
    add_watch(parser, looks_or_acts)
    looks_or_acts.add_argument(
        "--silence", metavar="CODE", help="show findings of this code no more, to nobody"
    )
    parser.add_argument("--target", default="", metavar="NAME", help="with --silence: of this target alone")
    parser.add_argument("--for", default="1h", dest="length", metavar="SPAN", help="how long, as in 90m (1h)")
    parser.add_argument("--reason", default="", metavar="TEXT", help="with --silence: why")


async def _silence(options: argparse.Namespace) -> int:
    seconds = seconds_of(options.length)
    if seconds is None:
        raise refusal("--for", options.length, "must be a length of time, as in 90s, 30m, 1h or 1d")
    async with open_admin(options) as admin:
        reason = options.reason or "none was given"
        silence = await admin.silence(options.silence, seconds, target=options.target, reason=reason)
    Output(options.json).done(f"{options.silence} is silenced for {span(seconds)}", silence)
    return DONE


async def _findings(options: argparse.Namespace) -> int:
    if options.silence:
        return await _silence(options)
    async with open_admin(options) as admin:
        found = await admin.findings()
    Output(options.json).rows(COLUMNS, found, none="nothing needs you")
    return FAILED if any(one.severity == "critical" for one in found) else DONE

"""`am2z node`: who is there, and what may be done with them."""

from __future__ import annotations

import argparse
from typing import Final

import anyio

from am2z_trio.admin import Admin
from am2z_trio.model.errors import UnknownOutcomeError
from am2z_trio.model.moments import time_of
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.nodes import NodeView
from am2z_trio.policy.spans import span

from ..display import many, say
from ..exits import DONE, FAILED, MISSING, REFUSED
from ..operators import add_reason, open_admin
from ..output import Output, as_map
from ..parsing import Command, Commands, add_command, add_group, add_yes
from ..watch import add_watch
from .tree import is_there, lines_of

EXAMPLES = (
    "am2z node ls                       every node: state, host, process, jobs",
    "am2z node show worker-b-81d0c2f4   and what it thinks of itself",
    "am2z node drain worker-b-81d0c2f4 --grace 60 --yes --wait --reason 'a new kernel'",
    "am2z node undrain worker-b-81d0c2f4",
    "am2z node stacks worker-b-81d0c2f4 the lines where its jobs are",
)

TIMES: Final = (
    *("uptime", "loop_silent", "loop_lag_p50", "loop_lag_p99"),
    *("store_silent", "round_trip", "lease_left"),
)
"""Figures that are in seconds."""

LOOK_EVERY: Final = 0.25
"""Seconds between looks at what still runs."""

COLUMNS = [
    ("node", "id"),
    ("status", "status"),
    ("host", "host"),
    ("pid", "pid"),
    ("claims", "claims"),
    ("serves", "served"),
    ("lease", "lease"),
    ("version", "version"),
    ("on", "library"),
]


def add(commands: Commands) -> None:
    family = add_group(commands, "node", "look at nodes; drain them", example=EXAMPLES)
    add_watch(add_command(family, "ls", _list, "every node that may claim jobs", example=EXAMPLES[:1]))
    _of_one(family, "show", _show, "one node, and its own judgement of itself", EXAMPLES[1])
    drain = _of_one(family, "drain", _drain, "have it claim no more jobs, until it is undrained", EXAMPLES[2])
    later = "after so long what runs goes back to its queues; default: never"
    drain.add_argument("--grace", type=float, metavar="SECONDS", help=later)
    drain.add_argument("--wait", action="store_true", help="until nothing runs there any more")
    add_yes(drain, "drain it")
    add_reason(drain)
    add_reason(_of_one(family, "undrain", _undrain, "have it claim jobs again", EXAMPLES[3]))
    _of_one(family, "stacks", _stacks, "the lines where the code of its jobs is", EXAMPLES[4])


def _of_one(family: Commands, name: str, run: Command, line: str, example: str) -> argparse.ArgumentParser:
    parser = add_command(family, name, run, line, example=(example,))
    parser.add_argument("node", metavar="NODE", help="its id, as `am2z node ls` has it")
    return parser


async def _list(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        nodes = await admin.nodes()
    Output(options.json).rows(COLUMNS, nodes, none="there are no nodes: nobody serves anything")
    return DONE


async def _show(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        found = {one.id: one for one in await admin.nodes()}.get(options.node)
        if found is None:
            await is_there(admin, options.node)
            return MISSING
        try:
            health = await admin.node_health(options.node)
        except UnknownOutcomeError:
            health = None
    told = as_map(found)
    if options.json:
        Output(True).line({**told, "silent": health is None, "health": health})
    else:
        Output(False).one({**_in_words(found), **({"silent": True} if health is None else _judged(health))})
    return DONE if health is not None and health.live else FAILED


def _in_words(node: NodeView) -> dict[str, object]:
    started = time_of(node.started)
    served = (f"{name} ({limit} at a time)" for name, limit in node.concurrency.items())
    return {
        **as_map(node),
        "started": "" if started is None else started.isoformat(timespec="seconds"),
        "lease": span(node.lease),
        "concurrency": ", ".join(served),
    }


def _judged(health: NodeHealth) -> dict[str, object]:
    """What it says of itself. Times are in seconds, and told as such."""
    figures = {
        name: span(value) if name in TIMES and value is not None else value
        for name, value in as_map(health.figures).items()
    }
    kept = (
        f"{one.file}:{one.line} in {one.function}, seen {many(one.seen, 'time')}"
        for one in health.figures.kept_by
    )
    blocked = (
        f"{one.processor} at {one.file}:{one.line}, {many(one.times, 'job')}, up to {span(one.longest)}"
        for one in health.figures.blocked
    )
    return {
        "live": health.live,
        "ready": health.ready,
        "why": "; ".join(reason.text for reason in health.reasons),
        **figures,
        "kept_by": "; ".join(kept),
        "blocked": "; ".join(blocked),
    }


async def _drain(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        if not await is_there(admin, options.node):
            return MISSING
        if not options.yes:
            told = await admin.preview_drain(options.node)
            held = len(told.running)
            jobs = f"{held}+ jobs" if told.more else many(held, "job")
            asked = f"node {options.node} holds {jobs}. {told.outcome}"
            say(f"{asked} Nothing was changed: --yes drains it", error=True)
            return REFUSED
        try:
            answer = await admin.drain_node(options.node, grace=options.grace, reason=options.reason)
        except UnknownOutcomeError as error:
            say(f"am2z: {error.message}", error=True)
            return FAILED
        left = await _held(admin, options.node)
        while left and options.wait:
            await anyio.sleep(LOOK_EVERY)
            left = await _held(admin, options.node)
    state = "is drained" if answer.done else "was drained already"
    text = f"node {options.node} {state}; it holds {many(left, 'job')}"
    done = {"node": options.node, "drained": True, "changed": answer.done, "claims": left}
    Output(options.json).done(text, done)
    return DONE


async def _held(admin: Admin, node: str) -> int:
    """How many jobs it holds; of one that has gone, none."""
    return {one.id: one.claims for one in await admin.nodes()}.get(node, 0)


async def _undrain(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        if not await is_there(admin, options.node):
            return MISSING
        try:
            answer = await admin.undrain_node(options.node, reason=options.reason)
        except UnknownOutcomeError as error:
            say(f"am2z: {error.message}", error=True)
            return FAILED
    text = f"node {options.node} {'claims jobs again' if answer.done else 'was not drained'}"
    Output(options.json).done(text, {"node": options.node, "drained": False, "changed": answer.done})
    return DONE


async def _stacks(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        if not await is_there(admin, options.node):
            return MISSING
        (tree,) = (await admin.tree(node=options.node, depth=3)).nodes
        if tree.silent:
            say(f"am2z: node {options.node} is silent", error=True)
            return FAILED
        for row in tree.rows:
            stack = await admin.stack(row.job) if row.scope == "job" else None
            if stack is None:
                continue
            if options.json:
                Output(True).line(stack)
            else:
                say(f"job {row.job} of {row.processor}  {row.state}")
                for line in lines_of(stack, 1):
                    say(line)
    return DONE

"""`am2z tree`: what runs now, from the nodes down to the tasks of jobs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

import msgspec

from am2z_trio.admin import Admin
from am2z_trio.model.views.stack import JobStack
from am2z_trio.model.views.tree import NodeTree

from ..display import note, say
from ..exits import DONE, FAILED, MISSING
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command
from ..scopes import told
from ..watch import add_watch

EXAMPLES = (
    "am2z tree                          everything that runs, on all nodes",
    "am2z tree --session alice --stacks",
    "am2z tree --json | jq 'select(.scope == \"job\" and .ran > 60)'",
    "am2z tree --watch 2                again every two seconds",
)

MOST_STACKS: Final = 50
"""Jobs whose lines are asked for; of more, those that are shown first."""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "tree",
        _tree,
        "what runs now: nodes, sessions, workers, jobs and their tasks",
        description="Asks every node what it runs. One that does not answer within a second is shown as "
        "silent, and the exit status is 1 then. With --json it is a line per row, or per silent node.",
        example=EXAMPLES,
    )
    parser.add_argument("--node", metavar="NODE", help="of this node alone")
    parser.add_argument("--session", metavar="SESSION", help="of this session alone; '' for jobs without one")
    parser.add_argument("--processor", metavar="NAME", help="of this processor alone")
    parser.add_argument("--job", metavar="JOB", help="of this job alone")
    levels = "0 nodes, 1 sessions, 2 workers, 3 jobs, 4 tasks"
    parser.add_argument("--depth", type=int, default=4, choices=range(5), help=levels)
    parser.add_argument("--stacks", action="store_true", help="with the lines where the code of jobs is")
    add_watch(parser)


async def _tree(options: argparse.Namespace) -> int:
    output = Output(options.json)

    async with open_admin(options) as admin:
        if options.node is not None and not await is_there(admin, options.node):
            return MISSING
        return await _show(admin, options, output)


async def is_there(admin: Admin, node: str) -> bool:
    """Whether there is such a node; says so if not."""
    if any(one.id == node for one in await admin.nodes()):
        return True
    say(f"am2z: there is no node {node!r}; `am2z node ls` lists them", error=True)
    return False


async def _show(admin: Admin, options: argparse.Namespace, output: Output) -> int:
    trees = await whole(admin, options)
    stacks = await _stacks(admin, trees) if options.stacks else {}
    for tree in trees:
        if tree.silent or tree.refusal:
            why = tree.refusal or "silent: it has not answered within a second"
            found = {"node": tree.node, "silent": tree.silent, "refusal": tree.refusal}
            output.told(f"node {tree.node}  ({why})", found)
        for row in tree.rows:
            if row.scope == "task" and row.job in stacks and not options.json:
                # Its job's lines name it, and say where it is.
                continue
            stack = stacks.get(row.job) if row.scope == "job" else None
            if options.json:
                shown = {"node": tree.node, **msgspec.structs.asdict(row)}
                output.line(shown if stack is None else {**shown, "stack": stack})
            else:
                say("   " * row.level + " ".join(told(row)))
                for line in lines_of(stack, row.level + 1) if stack is not None else ():
                    say(line)
    if not trees:
        note("there are no nodes")
    return FAILED if any(tree.silent or tree.refusal for tree in trees) else DONE


async def whole(admin: Admin, options: argparse.Namespace) -> list[NodeTree]:
    """All pages of all nodes."""
    asked = {name: getattr(options, name) for name in ("session", "processor", "job", "depth")}
    found: list[NodeTree] = []
    for tree in (await admin.tree(node=options.node, **asked)).nodes:
        rows, following = list(tree.rows), tree.next
        while following is not None:
            (page,) = (await admin.tree(node=tree.node, offset=following, **asked)).nodes
            rows += page.rows
            following = page.next
        found.append(msgspec.structs.replace(tree, rows=rows, next=None))
    return found


async def _stacks(admin: Admin, trees: list[NodeTree]) -> dict[str, JobStack]:
    jobs = [row.job for tree in trees for row in tree.rows if row.scope == "job"]
    found: dict[str, JobStack] = {}
    for job in jobs[:MOST_STACKS]:
        stack = await admin.stack(job)
        if stack is not None:
            found[job] = stack
    return found


def lines_of(stack: JobStack, level: int) -> Iterator[str]:
    """Where each of its tasks is, the innermost line first."""
    for task in stack.tasks:
        if task.silent:
            yield "   " * level + f"{task.kind} {task.name} does not say where it is"
        for index, frame in enumerate(reversed(task.frames)):
            name = f"{task.kind} {task.name} at" if index == 0 else "called from"
            yield "   " * level + f"{name} {frame.file}:{frame.line} in {frame.function}: {frame.text}"
    if stack.more:
        yield "   " * level + f"and {stack.more} tasks more"

"""`am2z status`: whether nodes are live and ready, for a person and for probes."""

from __future__ import annotations

import argparse
import socket

import msgspec

from am2z_trio.admin import Admin
from am2z_trio.model.errors import UnknownOutcomeError, ValidationError
from am2z_trio.model.views.health import NodeHealth
from am2z_trio.model.views.nodes import NodeView

from ..display import say
from ..exits import DONE, FAILED, MISSING
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command
from ..watch import add_watch

EXAMPLES = (
    "am2z status                        every node, and what keeps it from being ready",
    "am2z status --ready                exit status 0 if all nodes of this host are ready",
    "am2z status --live --node worker-b-81d0c2f4",
)


class StatusRow(msgspec.Struct, frozen=True, kw_only=True):
    """A node as it judges itself."""

    node: str
    host: str
    live: bool
    ready: bool
    why: str
    claims: int
    loop_ms: float
    """In one of a hundred times the event loop is later than that."""
    memory_mb: float


COLUMNS = [
    ("node", "node"),
    ("host", "host"),
    ("live", "live"),
    ("ready", "ready"),
    ("claims", "claims"),
    ("loop ms", "loop_ms"),
    ("MB", "memory_mb"),
    ("why not", "why"),
]


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "status",
        _status,
        "whether nodes are live and ready",
        description="Asks nodes for their own judgement. With --ready or --live it is a probe: it asks the "
        "nodes of this host alone, or the one that is named, and the exit status is 1 if one of them is not, "
        "3 if there is none. A node that does not answer within a second is not live.",
        example=EXAMPLES,
    )
    wanted = parser.add_mutually_exclusive_group()
    wanted.add_argument("--ready", action="store_true", help="fail unless they are ready")
    wanted.add_argument("--live", action="store_true", help="fail unless they are live")
    parser.add_argument("--node", metavar="NODE", help="this one alone")
    add_watch(parser)


async def _status(options: argparse.Namespace) -> int:
    probes = options.ready or options.live

    async with open_admin(options) as admin:
        nodes = await admin.nodes()
        if options.node is not None:
            nodes = [one for one in nodes if one.id == options.node]
        elif probes:
            nodes = [one for one in nodes if one.host == socket.gethostname()]
        rows = [_row(one, await _judged(admin, one.id)) for one in nodes]
    if not rows and options.node is not None:
        say(f"am2z: there is no node {options.node!r}; `am2z node ls` lists them", error=True)
        return MISSING
    Output(options.json).rows(COLUMNS, rows, none="there are no nodes here")
    if not probes:
        return DONE
    if not rows:
        return MISSING
    return DONE if all(row.ready if options.ready else row.live for row in rows) else FAILED


async def _judged(admin: Admin, node: str) -> NodeHealth | str:
    try:
        return await admin.node_health(node)
    except (UnknownOutcomeError, ValidationError) as error:
        return error.message


def _row(node: NodeView, health: NodeHealth | str) -> StatusRow:
    if isinstance(health, str):
        return StatusRow(
            node=node.id,
            host=node.host,
            live=False,
            ready=False,
            why=health,
            claims=node.claims,
            loop_ms=0,
            memory_mb=0,
        )
    return StatusRow(
        node=node.id,
        host=node.host,
        live=health.live,
        ready=health.ready,
        why="; ".join(reason.text for reason in health.reasons),
        claims=health.figures.claims,
        loop_ms=round(health.figures.loop_lag_p99 * 1000, 1),
        memory_mb=round(health.figures.memory_mb, 1),
    )

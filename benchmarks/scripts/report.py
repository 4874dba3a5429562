"""How long one script holds Redis at most, operation by operation: `python -m benchmarks.scripts --help`.

Everything else waits while a script runs, so what one call does must be bounded, whatever has piled up. Each
operation meets its worst backlog on a private server; the table shows its longest script call as SLOWLOG has
it and how many commands that call ran, which a busy machine does not change. Sizes are those of `SIZES`,
times `--scale`: at 1 that takes a few minutes and a gigabyte of memory.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import redis

from am2z_trio.cli.display import table
from am2z_trio.embedded.server import open_embedded_server

from .backlog import SIZES, Bench
from .operations import OPERATIONS
from .probe import Call, Connection, drive


def measure(
    connection: Connection, sizes: Mapping[str, int], only: Sequence[str] = ()
) -> dict[str, list[Call]]:
    """Run every operation on a server, which is emptied; returns the script calls of each."""
    found: dict[str, list[Call]] = {}
    connection.config_set("slowlog-log-slower-than", 0)
    connection.config_set("slowlog-max-len", 1000)
    for name in only or OPERATIONS:
        connection.flushall()
        bench = Bench(connection, sizes, found=found)
        drive(bench.store.join())
        OPERATIONS[name](bench)
    connection.flushall()
    return found


def render(rounds: Sequence[dict[str, list[Call]]]) -> str:
    rows: list[tuple[str, ...]] = []
    for operation in rounds[0]:
        worst = [max(one[operation], key=lambda call: call.ms) for one in rounds]
        least = min(worst, key=lambda call: call.ms)
        cpu = min(max(call.cpu for call in one[operation]) for one in rounds)
        most = max(call.commands for one in rounds for call in one[operation])
        calls = str(len(rounds[0][operation]))
        rows.append((operation, least.script, calls, f"{least.ms:.1f}", f"{cpu:.1f}", str(most)))
    return table(("operation", "longest script", "calls", "worst ms", "cpu ms", "most commands"), rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes times this (1)")
    parser.add_argument(
        "--rounds", type=int, default=1, help="rounds; shown is the best round's worst call (1)"
    )
    parser.add_argument("--only", nargs="+", choices=OPERATIONS, metavar="STEP", help=", ".join(OPERATIONS))
    parser.add_argument("--redis-binary", metavar="PATH", help="server program; default: the embedded one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every operation's worst call here")
    options = parser.parse_args(arguments)

    async def run() -> list[dict[str, list[Call]]]:
        async with open_embedded_server(binary=options.redis_binary) as server:
            print(f"redis server {server.version}, scale {options.scale:g}", file=sys.stderr)
            connection: Connection = redis.Redis.from_url(server.url, socket_timeout=None)
            with connection:
                sizes = {name: int(size * options.scale) for name, size in SIZES.items()}
                return [measure(connection, sizes, options.only or ()) for _ in range(options.rounds)]

    rounds = anyio.run(run, backend="trio")
    if options.json is not None:
        worst = {name: max(call.ms for one in rounds for call in one[name]) for name in rounds[0]}
        options.json.write_text(json.dumps(worst, indent=2), encoding="utf-8")
    print(render(rounds))

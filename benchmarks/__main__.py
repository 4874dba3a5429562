"""Run the benchmarks: every contender in a process of its own, round after round."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import redis

from am2z_trio.cli.display import progress
from am2z_trio.embedded.server import EmbeddedServer, open_embedded_server

from .jobs import PAYLOAD
from .report import render, summarise
from .workloads import WORKLOADS

CONTENDERS = ("redis/trio", "redis/asyncio", "local/trio", "local/asyncio", "floor/trio", "floor/asyncio")
PATIENCE = 300.0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of everything, interleaved (3)")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of a noop drain; others less (20000)")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--contender", nargs="+", choices=CONTENDERS, metavar="C", help=", ".join(CONTENDERS))
    parser.add_argument("--redis-binary", metavar="PATH", help="server program; default: the embedded one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    parser.add_argument("--quick", action="store_true", help="one round of 2,000 jobs: does it run at all?")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.jobs = 1, 2_000
    return options


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything on one private server, which is emptied before each measurement."""
    plan = [
        (workload, contender)
        for workload in options.only or WORKLOADS
        for contender in options.contender or CONTENDERS
        if not (contender.startswith("floor") and workload not in ("noop", "sleep"))
    ] * options.rounds
    rounds: list[dict[str, Any]] = []
    async with open_embedded_server(binary=options.redis_binary) as server:
        with progress("measuring", len(plan)) as advance:
            for workload, contender in plan:
                figures = await anyio.to_thread.run_sync(measure, server, workload, contender, options.jobs)
                rounds.append({"workload": workload, "contender": contender, "figures": figures})
                advance(1)
        about = {
            "python": platform.python_version(),
            **{name: version(name) for name in ("trio", "anyio", "msgspec", "redis", "hiredis")},
            "redis server": server.version,
            "durability": "none: no snapshot, no append-only file",
            "cores": os.cpu_count(),
            "payload bytes": len(PAYLOAD.text) + 15,
            "jobs": options.jobs,
        }
    return {"about": about, "rounds": rounds, "summary": summarise(rounds)}


def measure(server: EmbeddedServer, workload: str, contender: str, jobs: int) -> dict[str, float]:
    with redis.Redis.from_url(server.url) as admin:
        admin.flushall()
    store, _, host = contender.partition("/")
    command = [sys.executable, "-m", "benchmarks.contender", workload, store, host, server.url, str(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise SystemExit(f"{workload} {contender} failed:\n{done.stderr}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    options = parse()
    result = anyio.run(run, options, backend="trio")
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2), encoding="utf-8")
    print(", ".join(f"{name} {value}" for name, value in result["about"].items()))
    print()
    print(render(result["summary"]))


if __name__ == "__main__":
    main()

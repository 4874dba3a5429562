"""`am2z metrics`: what all nodes share, as Prometheus reads it: once, or as often as somebody scrapes it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.errors import AM2ZError, ConfigurationError
from am2z_trio.model.logs import Log
from am2z_trio.observe.listen import Metrics, listening

from ..connection import client
from ..display import note, shown
from ..exits import DONE
from ..operators import admin_over
from ..output import Output
from ..parsing import Commands, add_command

logger: Final = Log("am2z_trio.metrics")

EXAMPLES = (
    "am2z metrics --listen 127.0.0.1:9401   for Prometheus to scrape; one is enough",
    "am2z metrics | grep am2z_queue_oldest",
)

Look = Callable[[], Awaitable[None]]

LOOK_EVERY: Final = 5.0
"""Seconds between two looks while it listens: a scrape is answered from the last one."""


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "metrics",
        _metrics,
        "figures of all nodes together, for Prometheus",
        description="Prints the cluster's series once, or answers to /metrics until Ctrl-C or SIGTERM. A "
        "node's own series are at its own address (am2z worker --listen).",
        example=EXAMPLES,
    )
    parser.add_argument("--listen", metavar="ADDR", help="HOST:PORT at which to answer; port 0: any")


async def _metrics(options: argparse.Namespace) -> int:
    try:
        from am2z_trio.observe.prometheus import ClusterCollector, exposition
    except ImportError:
        raise ConfigurationError(
            "this needs prometheus-client: pip install 'am2z-trio[prometheus]'"
        ) from None

    async with client(options) as runtime:
        admin = admin_over(runtime)
        collector = ClusterCollector(admin, findings=admin.findings)
        await collector.look()
        if options.listen is not None:
            await _listen(
                runtime, options.listen, collector.look, lambda accept: exposition(collector, accept=accept)
            )
        elif options.json:
            Output(True).line(await admin.census())
        else:
            _print(exposition(collector).body.decode())
    return DONE


def _print(text: str) -> None:
    """As Prometheus reads it; but names move no terminal's cursor."""
    if sys.stdout.isatty():
        text = "".join(f"{shown(line)}\n" for line in text.splitlines())
    sys.stdout.write(text)


async def _listen(runtime: Runtime, where: str, look: Look, metrics: Metrics) -> None:
    """Answer until cancelled. While Redis is away, what was seen last is what is told."""
    async with listening(runtime, where, metrics=metrics) as (host, port):
        note(f"figures at http://{host}:{port}/metrics; Ctrl-C ends")
        while True:
            await anyio.sleep(LOOK_EVERY)
            try:
                await look()
            except AM2ZError as error:
                logger.warning("the figures are as they were: %s", error)

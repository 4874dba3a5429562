"""`am2z why`: why a job does not run, runs so long, or has ended as it has."""

from __future__ import annotations

import argparse
import textwrap
from typing import Final

from am2z_trio.model.views.diagnosis import Diagnosis

from ..display import say
from ..exits import DONE, MISSING
from ..operators import open_admin
from ..output import Output
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z why 01k9x62c0d-9001           what it waits for, and what to do about it",
    "am2z why 01k9x62c0d-9001 --json | jq -r .verdict",
)

SIGNS: Final = {"open": "✓", "shut": "✕", "unknown": "?"}
WIDTH: Final = 100


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "why",
        _why,
        "why a job does not run, runs so long, or has ended as it has",
        description="Names every gate on the job's way to a worker, in the order in which it meets them, "
        "with what is so and what may be done. Says what the next claim would do, and changes nothing.",
        example=EXAMPLES,
    )
    parser.add_argument("job", metavar="JOB", help="its id")


async def _why(options: argparse.Namespace) -> int:
    async with open_admin(options) as admin:
        found = await admin.explain(options.job)
    if options.json:
        Output(True).line(found)
    else:
        show(found)
    return DONE if found.status else MISSING


def show(found: Diagnosis) -> None:
    """The verdict; below it the gates, each that is not open on a line of its own; and what to do."""
    say(found.verdict)
    passed = [f"{SIGNS['open']} {gate.evidence}" for gate in found.gates if gate.state == "open"]
    for line in textwrap.wrap("  ".join(passed), WIDTH):
        say(f"  {line}")
    for gate in found.gates:
        if gate.state != "open":
            say(f"  {SIGNS[gate.state]} {gate.evidence}")
    for remedy in found.remedies:
        say(f"  next: {remedy.text}")

"""`am2z doctor`: whether the server is fit for its work."""

from __future__ import annotations

import argparse
from typing import Final

import msgspec

from am2z_trio.engine.runtime.queue import QueueRuntime
from am2z_trio.model.redis_options import RedisOptions

from ..display import say
from ..exits import DONE, FAILED
from ..operators import admin_over
from ..output import Output
from ..parsing import Commands, add_command

EXAMPLES = (
    "am2z doctor                        version, memory, persistence, clock, rights of this Redis",
    "am2z doctor --json | jq -r 'select(.state != \"ok\").remedy'",
)

SIGNS: Final = {"ok": "✓", "warn": "!", "bad": "✕"}


def add(commands: Commands) -> None:
    add_command(
        commands,
        "doctor",
        _doctor,
        "whether this Redis is fit for its work",
        description="Checks the server's version, memory, eviction policy, persistence, replicas and clock, "
        "this user's rights, and what memory the present rate of jobs will need. The exit status is 1 if any "
        "of it is bad.",
        example=EXAMPLES,
    )


async def _doctor(options: argparse.Namespace) -> int:
    # A server that may drop jobs is refused by all who work on it; here that is what is looked for.
    server = msgspec.structs.replace(RedisOptions.from_url(options.redis), allow_eviction=True)
    async with QueueRuntime(server, prefix=options.prefix, workers=False) as runtime:
        checks = await admin_over(runtime).examine()
    if options.json:
        output = Output(True)
        for check in checks:
            output.line(check)
    else:
        for check in checks:
            say(f"{SIGNS[check.state]} {check.name}: {check.text}")
            if check.remedy:
                say(f"    {check.remedy}")
    return FAILED if any(check.state == "bad" for check in checks) else DONE

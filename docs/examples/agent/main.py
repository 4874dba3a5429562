"""Talk to the agent: `python docs/examples/agent/main.py`, and then a line at a time.

    hello there                         say something
    please refund order 17              the agent asks a person
    /approve @you/turn-1764…            be that person; or /deny
    /history                            the conversation so far
    /quit

By itself it starts a Redis of its own, which ends with it. With `--redis redis://localhost` it may be killed
and started again, as may Redis: what waits for a decision waits on. `--as alice` is another session.
"""

from __future__ import annotations

import argparse
import sys
import time

import trio
from agent import Decision, Talk, ask, pay, say, think, turn

from am2z_trio import AM2ZError, Event, Job, QueueRuntime, Session


async def main() -> None:
    options = arguments()
    where = QueueRuntime(options.redis) if options.redis else QueueRuntime(embedded=True)
    async with where as runtime, trio.open_nursery() as nursery:
        runtime.register(turn, think, ask, pay, say)
        for pattern in ("agent:*", "job:progress", "job:completed"):
            runtime.on(pattern, show, session=options.who)
        async with runtime.session(options.who) as session:
            if await session.state.get() is None:
                await session.state.set(Talk())
            print(f"talking as {options.who}", flush=True)
            while (line := (await next_line()).strip()) != "/quit":
                try:
                    await obey(line, runtime, session, nursery)
                except AM2ZError as error:
                    print(f"! {error.message}", flush=True)
            # What waits for a decision is not waited for here.
            nursery.cancel_scope.cancel()


async def obey(line: str, runtime: QueueRuntime, session: Session, nursery: trio.Nursery) -> None:
    command, _, rest = line.partition(" ")
    if command in ("/approve", "/deny"):
        await runtime.signal(rest, "decision", Decision(yes=command == "/approve", by="you"))
    elif command == "/history":
        talk = await session.state.get(Talk)
        for said in talk.state.lines if talk is not None else ():
            print(f"{said.who}: {said.text}", flush=True)
    elif line:
        await session.signal("message", line)
        job = await runtime.submit(turn, session=session.id, job_id=f"turn-{time.time_ns()}")
        nursery.start_soon(follow, job)


async def follow(job: Job[Talk]) -> None:
    """Say so if it fails."""
    result = await job.result()
    if result.error is not None:
        print(f"! {result.error.message}", flush=True)


def show(event: Event) -> None:
    """What the agent does, as it does it."""
    if event.name == "agent:word":
        print(event.data, end=" ", flush=True)
    elif event.name == "agent:end":
        print(flush=True)
    elif event.name == "agent:asks":
        print(f"? pay {event.data['amount']} euros for order {event.data['order']}", flush=True)
        print(f"  /approve {event.data['job']}", flush=True)
    elif event.name == "job:completed" and event.processor == "turn":
        print("(answered)", flush=True)
    elif event.name == "job:progress":
        print(f"  thinking, {event.data['progress']:.0%}", flush=True)


async def next_line() -> str:
    return await trio.to_thread.run_sync(lambda: sys.stdin.readline() or "/quit", abandon_on_cancel=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--redis", metavar="URL", help="use this Redis; default: a private one")
    parser.add_argument("--as", dest="who", default="you", help="whose conversation it is")
    return parser.parse_args()


if __name__ == "__main__":
    trio.run(main)

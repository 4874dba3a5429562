"""One process of the real test: concurrent tasks that use the states, and write down what they were told.

`python client.py URL HISTORY SEED OPERATIONS`. `hold URL` instead: take a lock and say so, and on a line on
standard input write under it; for a process that is frozen meanwhile.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import anyio
import trio

from am2z_trio import (
    AM2ZError,
    LockLostError,
    NetworkError,
    RedisStateManager,
    SessionLock,
    StateConflictError,
)
from am2z_trio.testing.history import Recorder, save
from am2z_trio.testing.operations import (
    Acquire,
    Add,
    Call,
    CompareAndSet,
    Delete,
    Granted,
    LockedWrite,
    Read,
    Refused,
    Release,
    Seen,
    Updated,
    Write,
    Wrote,
)

TASKS = 6
LEASE = 0.5
PATIENCE = 0.5
"""Seconds before a caller gives up: what it asked for may happen all the same."""


class Client:
    def __init__(self, name: str, states: RedisStateManager, rng: random.Random) -> None:
        self.name = name
        self.states = states
        self.rng = rng
        self.recorder = Recorder()

    async def run(self, task: int, count: int) -> None:
        for number in range(count):
            value = f"{self.name}-{task}-{number}"
            with trio.move_on_after(PATIENCE):
                try:
                    if task == 0:
                        await self.use_lock(value)
                    else:
                        await self.use_state(value)
                except NetworkError:
                    pass

    async def use_state(self, value: str) -> None:
        session, kind = self.rng.choice(["s", "t"]), self.rng.randrange(10)
        if kind < 3:
            with self.call(session, Read()) as pending:
                found = await self.states.get(session)
                pending.returned(Seen(-1, None) if found is None else Seen(found.version, found.state))
        elif kind < 7:
            with self.call("n", Add(1)) as pending:
                done = await self.states.update("n", lambda n: (n or 0) + 1)
                pending.returned(Updated(done.version, done.state))
        elif kind < 8:
            with self.call(session, Write(value)) as pending:
                pending.returned(Wrote((await self.states.set(session, value)).version))
        elif kind < 9:
            seen = await self.states.get(session)
            if seen is not None:
                with self.call(session, CompareAndSet(seen.version, value)) as pending:
                    try:
                        written = await self.states.set(session, value, expected=seen)
                    except StateConflictError:
                        pending.failed()
                    else:
                        pending.returned(Wrote(written.version))
        else:
            with self.call(session, Delete()) as pending:
                pending.returned(Wrote(-1) if await self.states.delete(session) else Seen(-1, None))

    async def use_lock(self, value: str) -> None:
        lease = round(LEASE * 1e9)
        lock: SessionLock | None = None
        try:
            with self.call("l", Acquire(lease)) as pending:
                manager = self.states.lock("l", lease=LEASE)
                lock = await manager.__aenter__()
                pending.returned(Granted(lock.fencing))
            async with self.holding(manager, lock):
                with self.call("l", LockedWrite(lock.fencing, value)) as pending:
                    try:
                        pending.returned(Wrote(await lock.write(value)))
                    except LockLostError:
                        pending.returned(Refused())
        except LockLostError:
            pass

    def holding(self, manager, lock):
        client = self

        class Holding:
            async def __aenter__(self) -> None: ...

            async def __aexit__(self, *error) -> bool | None:
                with client.call("l", Release(lock.fencing)):
                    pass  # it is given back without waiting for an answer
                swallowed = await manager.__aexit__(*error)
                return bool(swallowed)

        return Holding()

    def call(self, session: str, call: Call):
        return self.recorder.call(self.name, session, call)


async def main(url: str, history: str, seed: str, count: str) -> None:
    async with RedisStateManager(url) as states:
        clients = [
            Client(f"p{seed}.{task}", states, random.Random(f"{seed}/{task}")) for task in range(TASKS)
        ]
        async with anyio.create_task_group() as tasks:
            for task, client in enumerate(clients):
                tasks.start_soon(client.run, task, int(count) // TASKS)
    save([operation for client in clients for operation in client.recorder.history], Path(history))


async def hold(url: str) -> None:
    async with RedisStateManager(url) as states:
        lock: SessionLock | None = None
        try:
            async with states.lock("frozen", lease=1.0) as lock:
                await lock.write("mine")
                print("held", lock.fencing, flush=True)
                await anyio.to_thread.run_sync(sys.stdin.readline)
                await lock.write("late")
                print("written", flush=True)
        except LockLostError:
            print("lost", flush=True)
        assert lock is not None
        try:
            # Whatever this process believes, the store refuses the write.
            lock.released = False
            await lock.write("too late")
        except AM2ZError as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        trio.run(hold, sys.argv[2])
    else:
        url, history, seed, count = sys.argv[1:]
        trio.run(main, url, history, seed, count)

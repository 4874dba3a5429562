"""The same promises for real: processes, sockets, Redis, and a proxy in between that breaks things."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anyio
import anyio.streams.text
import pytest

from am2z_trio import LocalRuntime, QueueOptions, QueueRuntime, RedisStateManager, processor
from am2z_trio.store.redis.keys import spell
from am2z_trio.testing.certificate import certify
from am2z_trio.testing.history import load
from am2z_trio.testing.linearizability import check
from am2z_trio.testing.models import LockedState, VersionedState
from am2z_trio.testing.operations import Add, Operation, Updated
from tests.chaos.faults import CutAfterReply, DropReply, DropRequest, HoldRequest, open_fault_proxy

CLIENT = str(Path(__file__).with_name("client.py"))
OPERATIONS = 1_200
"""Per process."""
SEED = int(os.environ.get("AM2Z_SOAK_SEED", "1"))
MATCH = spell("am2z", "guard").encode()
"""What every call of a script has, and nothing else."""
FAULTS = (
    DropReply(match=MATCH),
    DropRequest(match=MATCH),
    CutAfterReply(match=MATCH),
    HoldRequest(match=MATCH, after=20),
)


@processor(queue=QueueOptions(concurrency=50))
async def plus_one(n: int) -> int:
    await anyio.lowlevel.checkpoint()
    return n + 1


async def run_clients(
    url: str, directory: Path, seeds: Sequence[int], count: int = OPERATIONS
) -> list[Operation]:
    """Run one client process per seed at the same time, and merge what they wrote down."""
    paths = [directory / f"history-{seed}" for seed in seeds]

    async def run(seed: int, path: Path) -> None:
        command = [sys.executable, CLIENT, url, str(path), str(seed), str(count)]
        await anyio.run_process(command, stdout=None, stderr=None)

    async with anyio.create_task_group() as tasks:
        for seed, path in zip(seeds, paths, strict=True):
            tasks.start_soon(run, seed, path)
    return load(*paths)


def verify(history: list[Operation]) -> None:
    states = [o for o in history if o.key != "l"]
    check(states, VersionedState()).assert_ok()
    certify(states).assert_ok()
    check([o for o in history if o.key == "l"], LockedState(slack=5_000_000)).assert_ok()


@pytest.mark.trio
async def test_three_processes_over_a_network_that_breaks(redis_url: str, tmp_path: Path) -> None:
    async with open_fault_proxy(redis_url) as proxy:
        proxy.chance(0.004, FAULTS, random.Random(SEED))
        with anyio.fail_after(90):
            history = await run_clients(proxy.url, tmp_path, [SEED, SEED + 1, SEED + 2])
        hits: Any = proxy.hits
        assert sum(hits.values()) >= 10, hits
    verify(history)
    unknown = sum(o.returned is None for o in history)
    assert len(history) - unknown >= OPERATIONS
    async with RedisStateManager(redis_url) as states:
        left = await states.get("n", int)
    adds = [o for o in history if isinstance(o.call, Add)]
    done = sum(isinstance(o.result, Updated) for o in adds)
    assert left is not None
    assert done <= left.state <= len(adds)
    assert left.version == left.state


@pytest.mark.trio
async def test_fifty_updates_over_one_connection_end_at_fifty(redis_url: str) -> None:
    async with RedisStateManager(redis_url) as states, anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(states.update, "n", lambda n: (n or 0) + 1)
    async with RedisStateManager(redis_url) as states:
        left = await states.get("n", int)
    assert left is not None
    assert (left.state, left.version) == (50, 50)


@pytest.mark.trio
@pytest.mark.parametrize("count", [10, 50])
async def test_concurrent_transactions_all_count_on_every_runtime(count: int, redis_url: str) -> None:
    for runtime in (LocalRuntime(), QueueRuntime(redis_url)):
        async with runtime:
            runtime.register(plus_one)
            await runtime.state.set("n", 0)

            async def one(runtime: Any = runtime) -> None:
                (await runtime.execute(plus_one, session="n")).unwrap()

            async with anyio.create_task_group() as tasks:
                for _ in range(count):
                    tasks.start_soon(one)
            left = await runtime.state.get("n", int)
            assert left is not None
            assert left.state == count


@pytest.mark.trio
async def test_a_holder_frozen_beyond_its_lease_cannot_write(redis_url: str) -> None:
    async with await anyio.open_process([sys.executable, CLIENT, "hold", redis_url], stderr=None) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        said = anyio.streams.text.TextReceiveStream(holder.stdout)
        heard = ""
        with anyio.fail_after(30):
            while heard.count("\n") < 1:
                heard += await said.receive()
            holder.send_signal(signal.SIGSTOP)
            async with RedisStateManager(redis_url) as states, states.lock("frozen") as lock:
                assert await lock.read() == "mine"
                await lock.write("another's")
                # It wakes up in the midst of its block, and its line to read has come.
                await holder.stdin.send(b"\n")
                holder.send_signal(signal.SIGCONT)
                while heard.count("\n") < 3:
                    heard += await said.receive()
                assert [line.split()[0] for line in heard.splitlines()] == ["held", "lost", "LockLostError"]
                assert await lock.read() == "another's"
                await lock.write("still mine")


@pytest.mark.trio
async def test_a_killed_holder_frees_the_lock_within_its_lease(redis_url: str) -> None:
    async with await anyio.open_process([sys.executable, CLIENT, "hold", redis_url], stderr=None) as holder:
        assert holder.stdout is not None
        with anyio.fail_after(30):
            await holder.stdout.receive()
            holder.kill()
            async with RedisStateManager(redis_url) as states:
                with anyio.fail_after(20):
                    async with states.lock("frozen") as lock:
                        assert await lock.read() == "mine"

"""A runtime as a fixture: the ways that are documented work, and what a fixture may meet."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import trio

from am2z_trio import ConfigurationError, LocalRuntime, NetworkError, QueueRuntime, processor
from am2z_trio.testing import fixtures
from am2z_trio.testing.fixtures import in_own_task
from tests.support.pytests import has, pytest_of

EXAMPLES = re.findall(r"^```python\n(.*?)^```$", fixtures.__doc__ or "", re.MULTILINE | re.DOTALL)


@processor
async def double(n: int) -> int:
    return 2 * n


# Without a word about it, pytest-asyncio warns; that is for its users to say.
SCOPE = ("-o", "asyncio_default_fixture_loop_scope=function") if has("pytest_asyncio") else ()


@pytest.mark.parametrize(
    ("number", "plugin", "passed"), [(0, "anyio", 2), (1, "pytest_trio", 1), (2, "pytest_asyncio", 1)]
)
def test_the_documented_fixtures_work(number: int, plugin: str, passed: int, tmp_path: Path) -> None:
    if not has(plugin):
        pytest.skip(f"needs {plugin}")
    assert f"{passed} passed" in pytest_of(EXAMPLES[number], tmp_path, *SCOPE)


def test_it_may_be_entered_and_left_in_different_tasks() -> None:
    """As pytest-asyncio does: each of set-up, test and tear-down in a task of its own."""
    with asyncio.Runner() as runner:
        fixture = in_own_task(LocalRuntime())
        runtime = runner.run(fixture.__aenter__())

        async def test() -> None:
            runtime.register(double)
            assert (await runtime.execute(double, 21)).unwrap() == 42
            async with runtime.session("s") as session:
                assert (await session.execute(double, 1)).unwrap() == 2

        runner.run(test())
        runner.run(fixture.__aexit__(None, None, None))
        assert not runtime.is_entered
        assert asyncio.all_tasks(runner.get_loop()) == set()


def test_what_entering_raises_is_raised_at_set_up() -> None:
    async def enter() -> None:
        async with in_own_task(QueueRuntime("redis://localhost:1")):
            pytest.fail("entered")

    with pytest.raises(NetworkError, match="localhost:1"):
        asyncio.run(enter())


def test_what_the_block_raises_leaves_the_runtime() -> None:
    runtime = LocalRuntime()

    async def enter() -> None:
        async with in_own_task(runtime):
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(enter())
    assert not runtime.is_entered


def test_cancelled_it_has_left_the_runtime() -> None:
    runtime = LocalRuntime()

    async def main() -> None:
        inside = asyncio.Event()

        async def hold() -> None:
            async with in_own_task(runtime):
                inside.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(hold())
        await inside.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert not runtime.is_entered

    asyncio.run(main())


def test_on_trio_it_says_that_it_is_not_needed() -> None:
    async def enter() -> None:
        async with in_own_task(LocalRuntime()):
            pytest.fail("entered")

    with pytest.raises(ConfigurationError, match="is for asyncio"):
        trio.run(enter)

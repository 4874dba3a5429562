"""What leaves a runtime's block when several things have gone wrong: one exception, not groups in groups."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from am2z_trio import NetworkError, processor
from am2z_trio.engine.events.bus import Bus
from am2z_trio.engine.node.announcements import Announcements
from tests.support.waiting import until

on_both_hosts = pytest.mark.anyio


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What is put in here ends the node: the first raised by one of its services, the second by another."""
    errors: list[BaseException] = []
    real = Bus.run

    async def announce(_: Any) -> None:
        await until(lambda: errors)
        raise errors[0]

    async def dispatch(self: Bus, *args: Any, task_status: Any) -> None:
        try:
            await real(self, *args, task_status=task_status)
        finally:
            if len(errors) > 1:
                raise errors[1]

    monkeypatch.setattr(Announcements, "run", announce)
    monkeypatch.setattr(Bus, "run", dispatch)
    return errors


@on_both_hosts
async def test_an_error_of_the_block_leaves_it_and_the_nodes_is_a_note(make_runtime, fails, caplog):
    mine, theirs = ValueError("mine"), NetworkError("the server has gone")
    with anyio.fail_after(20), pytest.raises(ValueError, match="mine") as left:
        async with make_runtime():
            fails.append(theirs)
            try:
                await anyio.sleep_forever()
            finally:
                raise mine
    assert left.value is mine
    (note,) = mine.__notes__
    assert note.startswith("At the same time, at the end of the runtime: ")
    assert note.endswith("NetworkError: the server has gone")
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert any("the server has gone" in said for said in errors)


@on_both_hosts
async def test_a_group_of_the_block_leaves_it_as_it_is(make_runtime, fails):
    mine = ExceptionGroup("mine", [ValueError("one"), KeyError("two")])
    with anyio.fail_after(20), pytest.raises(ExceptionGroup) as left:
        async with make_runtime():
            raise mine
    assert left.value is mine
    with anyio.fail_after(20), pytest.raises(ExceptionGroup) as left:
        async with make_runtime():
            fails.append(NetworkError("gone"))
            try:
                await anyio.sleep_forever()
            finally:
                raise mine
    assert left.value is mine
    assert len(mine.__notes__) == 1


@on_both_hosts
async def test_what_tasks_of_the_block_raise_while_the_node_ends_is_one_group(make_runtime, fails):
    async def fail(how: type[Exception]) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise how("mine")

    with anyio.fail_after(20), pytest.raises(ExceptionGroup) as left:
        async with make_runtime(), anyio.create_task_group() as tasks:
            tasks.start_soon(fail, ValueError)
            tasks.start_soon(fail, KeyError)
            tasks.start_soon(anyio.sleep_forever)
            await anyio.lowlevel.checkpoint()
            fails.append(NetworkError("gone"))
    assert sorted(type(error).__name__ for error in left.value.exceptions) == ["KeyError", "ValueError"]
    assert "gone" in left.value.__notes__[0]


@on_both_hosts
async def test_several_errors_of_the_node_are_the_first_and_notes(make_runtime, fails):
    first, second = NetworkError("gone"), OSError("closed")
    with anyio.fail_after(20), pytest.raises((NetworkError, OSError)) as left:
        async with make_runtime():
            fails += [first, second]
            await anyio.sleep_forever()
    assert left.value in (first, second)
    assert len(left.value.__notes__) == 1


@pytest.mark.trio
async def test_an_interrupt_of_a_job_comes_before_the_blocks_error(make_runtime):
    @processor
    async def interrupted(n: int) -> int:
        raise KeyboardInterrupt

    with anyio.fail_after(20), pytest.raises(KeyboardInterrupt) as left:
        async with make_runtime() as runtime:
            runtime.register(interrupted)
            try:
                await runtime.execute(interrupted, 1)
                await anyio.sleep_forever()
            finally:
                raise ValueError("mine")
    assert "mine" in left.value.__notes__[0]


@on_both_hosts
async def test_groups_leave_a_locks_block_as_they_are(make_runtime):
    mine = ExceptionGroup("mine", [ValueError("one"), KeyError("two")])
    async with make_runtime() as runtime:
        with pytest.raises(ExceptionGroup) as left:
            async with runtime.state.lock("s"):
                raise mine
        assert left.value is mine

"""How late the event loop is, and what keeps it, is told by each node of itself."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import anyio
import pytest

from am2z_trio import processor
from am2z_trio.engine.node import pulse
from am2z_trio.engine.node.pulse import ASK_EVERY, REMEMBERED, Pulse
from am2z_trio.policy.health import LATE
from tests.support.waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "ASK_EVERY", 0.005)
    monkeypatch.setattr(pulse, "LOOK_EVERY", 0.005)


def held(felt: Pulse, seen: int) -> None:
    """Keep the event loop until it was looked at so often."""
    while sum(felt._seen.values()) < seen:
        time.sleep(0.001)


async def test_what_keeps_the_loop_is_named_and_counted(make_runtime):
    async with make_runtime() as runtime:
        felt = runtime.node.control.pulse

        @processor
        async def crunch(n: int) -> int:
            held(felt, 3)
            return n

        runtime.register(crunch)
        await runtime.execute(crunch, 1)
        await until(lambda: felt.lag(1.0) >= pulse.LATE)
        health = await runtime.health()
        places = [(place.file, place.function.rpartition(".")[2]) for place in health.figures.kept_by]
        assert (__file__, "held") in places
        assert sum(place.seen for place in health.figures.kept_by) >= 3
        assert health.figures.loop_lag_p99 >= pulse.LATE


async def test_an_idle_loop_is_in_time_and_blames_nobody(make_runtime):
    async with make_runtime() as runtime:
        felt = runtime.node.control.pulse
        await until(lambda: len(felt._ring) >= 5)
        assert felt.lag(0.5) < LATE
        assert all(place.file != __file__ for place in felt.kept_by())


async def test_a_pure_client_feels_its_pulse_too(redis_url, make_runtime):
    from am2z_trio import QueueRuntime

    async with QueueRuntime(redis_url, workers=False) as client:
        await until(lambda: client.node.control.pulse._ring)
        health = await client.health()
        assert (health.live, health.ready, health.figures.lease_left) == (True, True, None)


async def test_a_node_that_cannot_start_the_thread_goes_on_without(make_runtime, monkeypatch, caplog):
    from am2z_trio.concurrency import current_host

    host = type(current_host())
    real = host.run_in_thread

    async def run_in_thread(self: Any, fn: Any, *args: Any) -> Any:
        if "Pulse" in repr(fn):
            raise RuntimeError("can't start new thread")
        return await real(self, fn, *args)

    monkeypatch.setattr(host, "run_in_thread", run_in_thread)
    async with make_runtime() as runtime:
        await until(lambda: "how late the event loop is cannot be told" in caplog.text)
        assert (await runtime.health()).ready


@pytest.mark.trio
async def test_a_loop_that_was_stuck_was_late_for_all_who_would_have_asked():
    felt = Pulse(None)  # type: ignore[arg-type]
    for _ in range(REMEMBERED):
        felt._note(0.001)
    felt._note(10 * pulse.ASK_EVERY)
    assert felt.lag(0.5) == 0.001
    assert len(felt._ring) == REMEMBERED
    assert sorted(felt._ring)[-10:] == pytest.approx([n * pulse.ASK_EVERY for n in range(1, 11)])
    felt._note(1e9)
    assert len(felt._ring) == REMEMBERED
    assert felt.lag(0.0) > 1e8
    assert ASK_EVERY == 0.25


async def test_only_so_many_places_are_counted(monkeypatch):
    monkeypatch.setattr(pulse, "MOST_PLACES", 3)
    felt = Pulse(None)  # type: ignore[arg-type]

    def at(line: int) -> None:
        code = compile("\n" * line + "f()", f"file{line}.py", "exec")
        exec(code, {"f": lambda: felt._look(threading.get_ident())})

    monkeypatch.setattr(pulse, "is_of_users", lambda file: file.startswith("file"))
    for line in (1, 1, 2, 2, 3, 4):
        at(line)
    assert [(place.file, place.seen) for place in felt.kept_by()] == [
        ("file1.py", 2),
        ("file2.py", 2),
        ("file4.py", 1),
    ]


async def test_what_has_called_the_loop_itself_is_not_blamed():
    def unrolled_run(fn: Any) -> Any:
        return fn()

    assert pulse._spot_of(unrolled_run(sys._getframe))[2].endswith("unrolled_run")


async def test_its_silence_is_told_while_it_lasts(make_runtime):
    async with make_runtime() as runtime:
        felt = runtime.node.control.pulse
        assert felt.silent < 10
        told: list[float] = []

        @processor
        async def crunch(n: int) -> int:
            while not told:
                time.sleep(0.001)
                if felt.silent > 0.02:
                    told.append(felt.silent)
            return n

        runtime.register(crunch)
        with anyio.fail_after(30):
            await runtime.execute(crunch, 1)
        assert told
        await until(lambda: felt.silent == 0.0)

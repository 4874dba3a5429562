"""`am2z top` and `am2z metrics`: what nodes have counted, from the command line."""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from am2z_trio import LocalRuntime, QueueRuntime, processor
from am2z_trio.cli.connection import LEAVES_WITHIN, Client, client
from am2z_trio.cli.top import rows
from am2z_trio.cli.top.live import told_to
from am2z_trio.model.views.samples import QueueNow, Sample
from am2z_trio.observe.prometheus import families
from am2z_trio.policy.buckets import BUCKETS
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.cli.terminal import on_terminal
from tests.support.servers import SpawnRedis, without_old_servers


@processor(name="shop.price")
async def price(n: int) -> int:
    return n + 1


def work(redis_url: str, *names: str) -> None:
    """Seven jobs of a processor are run, and one waits of each that is named."""

    async def run() -> None:
        async with QueueRuntime(redis_url) as runtime:
            runtime.register(price)
            assert all(result.success for result in await runtime.execute_many(price, range(7)))
        async with QueueRuntime(redis_url, workers=False) as client:
            for name in names:
                other = processor(name=name)(price.fn)
                client.register(other)
                await client.submit(other, 1)

    trio.run(run)


def test_what_has_happened_is_shown(command: Command, redis_url: str):
    work(redis_url, "shop.later")
    shown = command("top", "--once")
    assert shown.status == 0
    assert re.search(r"^am2z top .* 1 wait  0 run ", shown.out)
    assert re.search(r"^shop.price +idle +0 +0 ", shown.out, re.MULTILINE)
    assert re.search(r"^shop.later +unserved +1 +0 ", shown.out, re.MULTILINE)
    rows = {row["queue"]: row for row in command("top", "--json").objects}
    assert rows["shop.price"]["rate"] == pytest.approx(7 / 60)
    assert sum(rows["shop.price"]["last"]) == 7
    assert rows["shop.price"]["run_p95"] > 0
    assert rows["shop.later"]["state"] == "unserved"
    assert list(rows) == ["shop.later", "shop.price"]
    assert command("top", "--json", "--sort", "rate").objects[0]["queue"] == "shop.price"


def test_where_there_is_nothing_that_is_no_error(command: Command):
    assert command("top", "--json").objects == []
    assert command("top").status == 0
    assert command("metrics").status == 0


@pytest.mark.parametrize("wrong", [("--every", "0"), ("--every", "nan"), ("--sort", "size")])
def test_a_wrong_option_is_one_error(command: Command, wrong: tuple[str, str]):
    answer = command("top", *wrong)
    assert answer.status == 2
    assert wrong[0] in answer.err


def test_the_clusters_series_are_printed(command: Command, redis_url: str):
    work(redis_url, "shop.later")
    found = {metric.name: metric for metric in text_string_to_metric_families(command("metrics").out)}
    assert found.keys() == {family.name.removesuffix("_total") for family in families.CLUSTER}
    waiting = {
        sample.labels["processor"]: sample.value
        for sample in found["am2z_queue_jobs"].samples
        if sample.labels["status"] == "waiting"
    }
    assert waiting == {"shop.price": 0, "shop.later": 1}
    census = command("metrics", "--json").object
    assert census["queues"]["shop.later"]["waiting"] == 1


def test_names_that_users_give_move_no_cursor(command: Command, redis_url: str, monkeypatch):
    names = [name for name in HOSTILE if len(name) <= 200]
    work(redis_url, *names)
    for shown in (command("top", "--once"), command("top", "--json"), command("metrics", "--json")):
        assert shown.status == 0
        assert is_harmless(shown.out)
    found = text_string_to_metric_families(command("metrics").out)
    assert {*names} <= {sample.labels.get("processor") for one in found for sample in one.samples}
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert is_harmless(command("metrics").out)


def test_prometheus_scrapes_until_a_signal(redis_url: str):
    work(redis_url, "shop.later")
    process = subprocess.Popen(
        [sys.executable, "-m", "am2z_trio.cli", "metrics", "--listen", "127.0.0.1:0"],
        env={**os.environ, "AM2Z_REDIS_URL": redis_url},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        # An old server is warned about first.
        urls = (re.search(r"http://\S+/metrics", line) for line in process.stderr)
        url = next(found for found in urls if found)
        with urllib.request.urlopen(url[0], timeout=20) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            text = answer.read().decode()
        assert 'am2z_queue_jobs{processor="shop.later",status="waiting"} 1.0' in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    finally:
        process.kill()
        process.communicate()


# --- on a terminal --------------------------------------------------------------------------


def test_on_a_terminal_keys_are_heeded_and_the_terminal_is_given_back(redis_url: str, command: Command):
    work(redis_url, "shop.later", *(name for name in HOSTILE if len(name) <= 200))
    with on_terminal("top", "--every", "0.2", redis=redis_url) as terminal:
        before = terminal.mode
        screen = terminal.until(shows="q quit")
        assert "shop.price" in screen
        assert re.search(r"^✕ .*is served by nobody", screen, re.MULTILINE)
        assert terminal.mode != before
        terminal.press("/LATER\r")
        terminal.until(is_so=lambda text: "shop.later" in text and "shop.price" not in text)
        terminal.press("\x1b[Bp")
        terminal.until(shows="pause shop.later on all nodes? y/n")
        terminal.press("y")
        terminal.until(shows="shop.later: ")
        terminal.press("\x1b")
        terminal.until(shows="shop.price")
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.written.endswith("\x1b[?1049l")
        assert terminal.mode == before
        assert is_harmless(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.written))
    assert command("queue", "show", "shop.later", "--json").object["paused"]
    audited = command("audit", "--json").objects
    assert {one["target"] for one in audited if one["action"] == "pause"} == {"shop.later"}


@processor(name="shop.fails")
async def fails(n: int) -> int:
    raise ValueError("no")


@processor(name="shop.holds")
async def holds(n: int) -> int:
    await trio.sleep_forever()
    return n


def test_a_job_is_explained_and_cancelled_and_dead_letters_are_run_again(redis_url: str, command: Command):
    async def at_work(found: Callable[[str], object]) -> None:
        async with QueueRuntime(redis_url, shutdown_grace=0) as runtime:
            runtime.register(fails, holds)
            assert not (await runtime.execute(fails, 1)).success
            job = await runtime.submit(holds, 1)
            while await job.status() != "active":
                await trio.sleep(0.01)
            await trio.to_thread.run_sync(found, job.id)
            ended = await job.result()
            assert ended.error is not None
            assert ended.error.code == "JOB_CANCELLED"
            # It has been run again, and has failed again.
            while len(await runtime.dead_letters.list(fails)) != 1:
                await trio.sleep(0.01)

    def operate(job: str) -> None:
        with on_terminal("top", "--every", "0.2", "--sort", "name", redis=redis_url) as terminal:
            terminal.until(shows="shop.holds")
            terminal.press("/fails\r\x1b[B")
            terminal.until(shows="1 of 2 with 'fails'")
            terminal.press("r")
            terminal.until(shows="run again the dead letter of shop.fails? y/n")
            terminal.press("y")
            terminal.until(shows="1 run again, 0 had moved on, 0 failed")
            terminal.press("\x1b")
            terminal.until(is_so=lambda text: "of 2 with" not in text and "run again" not in text)
            terminal.press("t")
            terminal.until(shows=f"job {job}")
            terminal.press("\x1b[Be")
            terminal.until(shows="am2z node stacks")
            terminal.press("x")
            terminal.press("c")
            terminal.until(shows="y/n")
            terminal.press("y")
            terminal.until(shows="it runs, and ends at its next checkpoint")
            terminal.press("q")
            assert terminal.ended() == 0

    trio.run(at_work, operate)
    audited = {(one["action"], one["face"]) for one in command("audit", "--json").objects}
    assert {("cancel", "cli")} <= audited
    assert any("retry" in action or "bulk" in action for action, _ in audited)


def test_ctrl_c_gives_the_terminal_back(redis_url: str):
    with on_terminal("top", redis=redis_url, columns=40, lines=8) as terminal:
        before = terminal.mode
        terminal.until(shows="am2z top")
        terminal.interrupt()
        assert terminal.ended() == 130
        assert terminal.written.endswith("\x1b[?1049l")
        assert terminal.mode == before


def test_while_redis_is_away_the_last_look_stays(spawn_redis: SpawnRedis, tmp_path: Path):
    server = spawn_redis(data_dir=tmp_path)
    work(server.url, "shop.later")
    with on_terminal("top", "--every", "0.2", redis=server.url) as terminal:
        terminal.until(shows="shop.later")
        server.stop()
        assert "shop.later" in terminal.until(shows="✕ as of ")
        server.start()
        terminal.until(is_so=lambda text: "as of" not in text)
        terminal.press("q")
        assert terminal.ended() == 0


def test_what_the_log_says_is_a_line_of_the_picture(spawn_redis: SpawnRedis, tmp_path: Path):
    server = spawn_redis(data_dir=tmp_path)
    with on_terminal("top", "--every", "0.2", redis=server.url) as terminal:
        terminal.until(shows="am2z top")
        server.stop()
        terminal.until(shows="WARNING: the connection to Redis for ")
        terminal.interrupt()
        assert terminal.ended() == 130
        said = terminal.said
    assert "WARNING" not in "".join(without_old_servers(said.splitlines(keepends=True)))


def test_a_command_that_ends_waits_for_redis_for_a_moment_alone():
    """Whatever it has still to say."""

    async def leave() -> float:
        async with LocalRuntime() as runtime:
            runtime.node.signs_off_within = LEAVES_WITHIN
            runtime.node.store.leave = trio.sleep_forever  # type: ignore[method-assign]
            began = trio.current_time()
        return trio.current_time() - began

    assert 0 < trio.run(leave, clock=MockClock(autojump_threshold=0)) < 1
    options = argparse.Namespace(redis="redis://localhost", prefix="am2z")
    assert isinstance(client(options), Client)


def test_one_look_is_one_object_with_nodes_and_findings(command: Command, redis_url: str):
    work(redis_url, "shop.later")
    look = command("top", "--json", "--whole").object
    assert {row["queue"]: row["state"] for row in look["queues"]} == {
        "shop.later": "unserved",
        "shop.price": "idle",
    }
    assert look["waiting"] == 1
    assert [one["code"] for one in look["findings"] if one["target"] == "shop.later"] == ["unserved"]
    assert look["nodes"] == []
    assert "shop.later is served by nobody" in command("top", "--once").out


# --- rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "state"),
    [
        (QueueNow(), "idle"),
        (QueueNow(waiting=1, workers=1), "flowing"),
        (QueueNow(active=1, workers=1), "flowing"),
        (QueueNow(waiting=1), "unserved"),
        (QueueNow(waiting=1, workers=1, held=True), "held"),
        (QueueNow(waiting=1, workers=1, held=True, paused=True), "paused"),
        (QueueNow(waiting=1, workers=1, breaker_open=True), "circuit open"),
        (QueueNow(waiting=1, paused=True), "unserved"),
    ],
)
def test_a_queue_is_said_to_be_what_matters_most(now: QueueNow, state: str):
    assert rows.state_of(now) == state


def test_a_call_of_the_log_that_does_not_fit_its_text_is_no_error_of_who_has_logged():
    lines = list[str]()
    with told_to(lines.append):
        assert logging.lastResort is not None
        for msg, arg in (("%d jobs", "no number"), ("%s jobs", "seven")):
            told = {"msg": msg, "args": (arg,), "levelno": logging.ERROR, "levelname": "ERROR"}
            logging.lastResort.handle(logging.makeLogRecord(told))
    assert lines == ["ERROR: %d jobs", "ERROR: seven jobs"]


def sample(slot: int, completed: int) -> Sample:
    none = (0,) * BUCKETS
    return Sample(
        at=1_700_000_000_000 + slot * 10_000, seconds=10, completed=completed, waits=none, runs=none
    )


def test_the_last_minute_is_shown_slot_by_slot():
    samples = [sample(0, 3), sample(1, 4), sample(3, 8), sample(6, 2)]
    row = rows.row_of("p", QueueNow(), samples)
    assert row.last == [4, 0, 8, 0, 0, 2]
    assert rows.spark(row.last) == "▄ █  ▂"
    assert rows.spark([0, 0]) == "  "
    assert rows.spark([]) == ""

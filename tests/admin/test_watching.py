"""What is wrong, through the service: why, logs, findings, the doctor; whose it must be, what is audited."""

from __future__ import annotations

import anyio
import msgspec
import pytest

from am2z_trio import Context, Every, JobNotFoundError, RetryPolicy, processor
from am2z_trio.admin import NotPermittedError, rounds, usual
from am2z_trio.admin import findings as watching
from am2z_trio.admin.findings import FindingsWatch
from am2z_trio.admin.following import new_lines
from am2z_trio.admin.redaction import HIDDEN
from am2z_trio.admin.rounds import NodeRounds
from am2z_trio.admin.usual import FEW
from am2z_trio.model.records import LogLine, QueueStats
from am2z_trio.policy import findings
from tests.admin.test_service import audited, until_status
from tests.support.desks import admin
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@processor
async def sell(n: int, ctx: Context) -> int:
    ctx.log.warning("card 4111")
    return n


@processor
async def buy(n: int) -> int:
    return n


async def test_what_a_job_has_logged_is_hidden_unless_it_is_revealed_which_is_written_down(make_runtime):
    async with make_runtime(job_logs=10) as runtime:
        runtime.register(sell)
        job = await runtime.submit(sell, 1, session="team-a/1")
        await job.result()
        await runtime.node._job_logs.flush()
        viewer = admin(runtime, "viewer")
        assert [(line.level, line.text) for line in await viewer.job_logs(job.id)] == [("WARNING", HIDDEN)]
        with pytest.raises(NotPermittedError, match="reveal"):
            await viewer.job_logs(job.id, reveal=True)
        found = await admin(runtime, "operator").job_logs(job.id, reveal=True, reason="a complaint")
        assert [line.text for line in found] == ["card 4111"]
        assert await audited(runtime) == [
            ("job_logs", job.id, "refused"),
            ("job_logs", job.id, ""),
            ("job_logs", job.id, "done"),
        ]


async def test_what_a_job_logs_is_followed_through_its_runs_and_written_down_once(make_runtime):
    go_on = [anyio.Event(), anyio.Event()]

    @processor(retry=RetryPolicy(max_attempts=2, backoff=0))
    async def sell_slowly(n: int, ctx: Context) -> int:
        attempt = ctx.meta.attempt
        for line in range(3):
            ctx.log.info("%d: %d", attempt, line)
        await go_on[attempt - 1].wait()
        if attempt == 1:
            raise OSError("once")
        return n

    async with make_runtime(job_logs=4) as runtime:
        runtime.register(sell_slowly)
        job = await runtime.submit(sell_slowly, 1)
        with pytest.raises(NotPermittedError, match="reveal"):
            async with admin(runtime, "viewer").follow_logs(job.id):
                pass
        seen = list[str]()
        with anyio.fail_after(PATIENCE):
            async with admin(runtime, "operator").follow_logs(job.id) as lines:
                async for line in lines:
                    seen.append(line.text)
                    if seen[-1] == "1: 2":
                        go_on[0].set()
                    if seen[-1] == "2: 2":
                        go_on[1].set()
        assert [text for text in seen if text[1:3] == ": "] == [
            f"{attempt}: {line}" for attempt in (1, 2) for line in range(3)
        ]
        assert await audited(runtime) == [
            ("follow_logs", job.id, "refused"),
            ("follow_logs", job.id, ""),
            ("follow_logs", job.id, "done"),
        ]


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ("", "", ""),
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abc", "bcd", "d"),
        ("abc", "cde", "de"),
        ("abc", "def", "def"),
        ("aa", "aaa", "a"),
        ("aba", "bac", "c"),
        ("abc", "c", ""),
        ("abc", "", ""),
    ],
)
def test_lines_that_were_seen_are_not_new(before: str, now: str, new: str):
    def lines(text: str) -> list[LogLine]:
        return [LogLine(0, "INFO", letter) for letter in text]

    assert new_lines(lines(before), lines(now)) == lines(new)


async def test_of_a_job_of_others_it_is_said_that_there_is_none(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(sell, buy)
        mine = await runtime.submit(sell, 1, session="team-a/1")
        others = await runtime.submit(buy, 1, session="team-b/1")
        for job in (mine, others):
            await job.result()
        desk = admin(runtime, sessions=("team-a/*",), queues=("sell",))
        assert (await desk.explain(mine.id)).status == "completed"
        assert await desk.explain(others.id) == msgspec.structs.replace(
            await desk.explain("nobody"), job=others.id
        )
        assert await desk.job_logs(mine.id) == []
        for reveal in (False, True):
            with pytest.raises(JobNotFoundError):
                await desk.job_logs(others.id, reveal=reveal)


async def test_a_finding_is_silenced_for_everybody_by_one_whose_it_is(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(sell, buy)
        for name in ("sell", "buy"):
            await runtime.pause(name)
            await runtime.submit(name, 1)
        desk, seller = admin(runtime), admin(runtime, "operator", queues=("sell",))
        found = {one.target for one in await desk.findings() if one.code == "paused"}
        assert found == {"sell", "buy"}
        assert {one.target for one in await seller.findings()} - {""} == {"sell"}
        for target in ("", "buy"):
            with pytest.raises(NotPermittedError):
                await seller.silence("paused", 60, reason="known", target=target)
        with pytest.raises(NotPermittedError):
            # Of a node, which may be called as it likes.
            await seller.silence("node_silent", 60, reason="known", target="sell")
        done = await seller.silence("paused", 60, reason="known", target="sell")
        assert (done.code, done.target, done.by) == ("paused", "sell", "ada@laptop")
        assert {one.target for one in await desk.findings() if one.code == "paused"} == {"buy"}
        shown = await desk.findings(silenced=True, watch=FindingsWatch(runtime))
        assert {one.target for one in shown if one.code == "paused"} == found
        assert await audited(runtime) == [
            ("silence", "paused", "refused"),
            ("silence", "paused buy", "refused"),
            ("silence", "node_silent sell", "refused"),
            ("silence", "paused sell", ""),
            ("silence", "paused sell", "done"),
        ]


@processor
async def sometimes(n: int) -> int:
    if n < 0:
        await anyio.sleep_forever()
    return n


async def test_what_is_not_as_usual_in_a_queue_is_found(make_runtime, monkeypatch):
    monkeypatch.setattr(usual, "LATELY", -3600.0)
    for module in (findings, watching):
        monkeypatch.setattr(module, "OLDEST", 0.0)
    runtime = make_runtime()
    runtime.register(sometimes)
    async with runtime:
        assert all(result.success for result in await runtime.execute_many(sometimes, range(FEW)))
    async with runtime:
        # A node that has left has told all that it has counted.
        desk, watch = admin(runtime), FindingsWatch(runtime)
        assert "running_long" not in {one.code for one in await desk.findings(watch=watch)}
        job = await runtime.submit(sometimes, -1)
        await until_status(runtime, job.id, "active")
        with anyio.fail_after(PATIENCE):
            # Machines differ in what their jobs take, and so in when it is too long.
            while True:
                found = {one.code: one for one in await desk.findings(watch=FindingsWatch(runtime))}
                if "running_long" in found:
                    break
                await anyio.sleep(0.05)
        assert found["running_long"].target == "sometimes"
        assert found["running_long"].action == f"am2z why {job.id}"
        await job.cancel("the test is over")


@processor
async def breaks(n: int) -> int:
    raise OSError("no")


async def test_schedules_that_do_not_run_are_found_by_those_whose_they_are(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(sell, breaks)
        always = {"state": 1, "session": "team-a/1"}
        await runtime.schedules.upsert("fails", breaks, Every(0.1), pause_on_failure=True, **always)
        await runtime.schedules.upsert("fine", sell, Every(3600), **always)
        with anyio.fail_after(PATIENCE):
            while (await runtime.schedules.get("fails")).paused is None:
                await anyio.sleep(0.05)
        desk = admin(runtime, sessions=("team-a/*",))
        runtime.unregister(sell)
        with anyio.fail_after(PATIENCE):
            while (await desk.queue_stats()).get("sell", QueueStats()).workers:
                await anyio.sleep(0.01)
        found = {(one.code, one.target) for one in await desk.findings() if one.code.startswith("schedule_")}
        assert found == {("schedule_failed", "fails"), ("schedule_unserved", "fine")}
        for others in (admin(runtime, sessions=("team-b/*",)), admin(runtime, queues=("buy",))):
            assert not [one for one in await others.findings() if one.about == "schedule"]


async def test_a_session_that_does_not_stop_is_found(make_runtime, monkeypatch):
    monkeypatch.setattr(rounds, "ROUND", 0.0)
    monkeypatch.setattr(findings, "STOPPING_FOR", 0.0)
    async with make_runtime() as runtime:
        runtime.register(sometimes)
        job = await runtime.submit(sometimes, -1, session="team-a/1")
        await until_status(runtime, job.id, "active")
        await runtime.node.store.stop_session("team-a/1", running=False, refuse=60.0)
        desk = admin(runtime, sessions=("team-a/*",))
        with anyio.fail_after(PATIENCE):
            while not (told := [one for one in await desk.findings() if one.code == "session_stopping"]):
                await anyio.sleep(0.01)
        assert (told[0].target, told[0].about) == ("team-a/1", "session")
        assert "session_stopping" not in {
            one.code for one in await admin(runtime, sessions=("x",)).findings()
        }
        await runtime.stop_session("team-a/1")
        assert [one for one in await desk.findings() if one.code == "session_stopping"] == []


async def test_a_node_that_comes_anew_again_and_again_is_found(make_runtime, monkeypatch):
    async with make_runtime() as runtime:
        watch = NodeRounds(runtime)
        for at, nodes in enumerate(["ab", "ac", "ad", "ae", "ae"]):
            watch._note(dict.fromkeys(nodes, "h"), at)
        assert (watch._restarts_of("a", "h"), watch._restarts_of("e", "h")) == (0, 1)
        for at, id in enumerate("fghi"):
            watch._note({"a": "h", id: "h"}, at)
        assert watch._restarts_of("i", "h") == 3
        # Long ago.
        watch._note({"a": "h", "i": "h"}, 600_010)
        assert watch._restarts_of("i", "h") == 0


async def test_the_doctor_is_asked_by_who_may_look(make_runtime):
    async with make_runtime() as runtime:
        assert "rights" in {check.name for check in await admin(runtime, "viewer").examine()}

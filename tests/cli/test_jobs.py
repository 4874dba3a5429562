"""Jobs, dead letters and actions on many of them from the command line."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from am2z_trio import Context, Job, JobOptions, QueueRuntime, RetryPolicy, processor
from am2z_trio.cli.job_words import listed
from am2z_trio.cli.operators import operator
from am2z_trio.model.views.jobs import JobRow, TrailEntry
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.cli.dies import dies
from tests.support.servers import without_old_servers
from tests.support.waiting import PATIENCE, wait_until

Run = Callable[..., Any]


@processor(name="shop.price", retry=RetryPolicy(max_attempts=1))
async def price(state: dict[str, Any]) -> dict[str, Any]:
    if state.get("n") == 5:
        raise ValueError(f"no price for {state['sku']}")
    return {**state, "priced": True}


@processor(name="shop.approve")
async def approve(order: str, ctx: Context) -> str:
    return f"{order}: {await ctx.wait_for('approval', str, timeout=3600)}"


@pytest.fixture
def do(redis_url: str) -> Run:
    """Do something in the server before a command looks at it, or after; with `serves`, with a worker."""

    def done(work: Callable[[QueueRuntime], Awaitable[Any]], serves: bool = False) -> Any:
        async def run() -> Any:
            async with QueueRuntime(redis_url, workers=serves) as runtime:
                runtime.register(price, approve)
                return await work(runtime)

        return trio.run(run)

    return done


def submitted(*states: Any, **options: Any) -> Callable[[QueueRuntime], Awaitable[list[str]]]:
    async def submit(runtime: QueueRuntime) -> list[str]:
        return [(await runtime.submit(price, state, **options)).id for state in states]

    return submit


def ended(*states: Any, **options: Any) -> Callable[[QueueRuntime], Awaitable[list[str]]]:
    async def run(runtime: QueueRuntime) -> list[str]:
        jobs: list[Job[Any]] = [await runtime.submit(price, state, **options) for state in states]
        for job in jobs:
            await job.result()
        return [job.id for job in jobs]

    return run


def dead(count: int) -> list[dict[str, Any]]:
    return [{"n": 5, "sku": number} for number in range(count)]


def test_jobs_are_listed_as_a_query_asks(command: Command, do: Run):
    waiting = do(submitted({"n": 1}, {"n": 2}, session="alice"))
    done = do(ended({"n": 3}, session="bob"), serves=True)
    # Whoever served has taken those that waited, too.
    listed = command("job", "ls", "--json").objects
    *rows, end = listed
    assert {row["id"] for row in rows} == {*waiting, *done}
    assert end["looked_at"] >= 3
    assert end["cursor"] == ""
    *rows, _ = command("job", "ls", "session:bob", "status:completed", "--json").objects
    assert [row["id"] for row in rows] == done
    shown = command("job", "ls", "session:bob")
    assert done[0] in shown.out
    assert "looked at" in shown.err
    wrong = command("job", "ls", "colour:red")
    assert wrong.status == 2
    assert "at character 1" in wrong.err


def test_a_list_without_jobs_says_which_term_has_excluded_most(command: Command, do: Run):
    do(submitted({"n": 1}, {"n": 2}, session="alice"))
    said = command("job", "ls", "queue:shop.price", "age>1d", "session:al*")
    assert (said.status, said.out) == (0, "")
    assert [*without_old_servers(said.err.splitlines())] == [
        "none was found",
        "of the 2 jobs that were looked at, age>1d excludes most: 2",
        "age>1d excludes 2 of 2, 2 of which fit all else",
        "queue:shop.price excludes none of these",
        "session:al* excludes none of these",
        "looked at 2 of 2",
    ]
    end = command("job", "ls", "queue:shop.price", "status:active", "--json").object
    assert end["excluded"] == [
        {"terms": "status:active", "of": 0, "excluded": 0, "alone": 0, "elsewhere": 2},
        {"terms": "queue:shop.price", "of": 0, "excluded": 0, "alone": 0, "elsewhere": 0},
    ]
    *_, end = command("job", "ls", "--json").objects
    assert end["excluded"] == []
    said = command("session", "ls", "al*", "running>0")
    assert "of the one session that was looked at, running>0 excludes most: 1" in said.err


def test_a_list_goes_on_with_its_cursor(command: Command, do: Run):
    ids = do(submitted(*({"n": n} for n in range(5))))
    found, cursor = list[str](), ""
    while True:
        *rows, end = command(
            "job", "ls", "status:waiting", "--limit", 2, "--cursor", cursor, "--json"
        ).objects
        found += [row["id"] for row in rows]
        cursor = end["cursor"]
        if not cursor:
            break
    assert found == ids


def test_a_job_is_shown_and_revealed(command: Command, do: Run):
    (id,) = do(ended({"n": 5, "sku": "x", "token": "t"}, session="alice"), serves=True)
    shown = command("job", "show", id, "--json").object
    assert (shown["row"]["status"], shown["input"]["value"]) == ("failed", None)
    revealed = command("job", "show", id, "--reveal", "--json").object
    assert revealed["input"]["value"] == {"n": 5, "sku": "x", "token": "[hidden]"}
    assert "no price for x" in command("job", "show", id).out
    assert command("job", "show", "nobody").status == 3


def test_a_job_is_cancelled_put_first_and_waited_for(command: Command, do: Run):
    first, second = do(submitted({"n": 1}, {"n": 2}, options=JobOptions(delay=600)))
    assert command("job", "cancel", first, "--json").object["done"] is True
    again = command("job", "cancel", first)
    assert again.status == 4
    assert "it was cancelled" in again.out
    assert command("job", "next", second, "--json").object["done"] is True
    waits = command("job", "wait", second, "--timeout", 0.1, "--json")
    assert (waits.status, waits.object["ended"]) == (1, False)
    cancelled = command("job", "wait", first, "--json")
    assert (cancelled.status, cancelled.object["error"]["code"]) == (1, "JOB_CANCELLED")
    (done,) = do(ended({"n": 3}), serves=True)
    waited = command("job", "wait", done, "--json")
    assert (waited.status, waited.object["state"]) == (0, {"n": 3, "priced": True})
    assert command("job", "wait", "nobody").status == 3


def test_a_job_is_sent_a_signal(command: Command, do: Run):
    async def waiting(runtime: QueueRuntime) -> str:
        job = await runtime.submit(approve, "17", job_id="order-17")
        while await job.status() != "parked":
            await trio.sleep(0.005)
        return job.id

    async def outcome(runtime: QueueRuntime) -> str:
        return (await (await runtime.job("order-17", str)).result()).unwrap()

    assert do(waiting, serves=True) == "order-17"
    assert "am2z job signal order-17 approval JSON" in command("why", "order-17").out
    assert re.search(
        r"^parked +it waits for signal 'approval', since .*, until 2\d\d\d-.*\+00:00$",
        command("job", "show", "order-17").out,
        re.MULTILINE,
    )
    shown = command("job", "show", "order-17")
    assert re.search(r"^status +parked$", shown.out, re.MULTILINE)
    assert not re.search(r"^due\b", shown.out, re.MULTILINE)
    row = command("job", "show", "order-17", "--json").object["row"]
    (wait,) = row["waits"]
    assert (wait["name"], wait["until"] - wait["since"]) == ("approval", 3_600_000)
    assert (row["status"], row["shown_as"]) == ("later", "parked")
    do(submitted({"n": 1}, options=JobOptions(delay=600)))
    listed = command("job", "ls", "status:parked")
    assert re.search(
        r"^order-17 .*parked .*it waits for signal 'approval', .* more", listed.out, re.MULTILINE
    )
    assert "looked at 2 of 2" in listed.err
    everything = command("job", "ls").out
    assert ("parked" in everything, "delayed" in everything) == (True, True)
    assert "waits for" not in command("job", "ls", "status:waiting").out
    *rows, _ = command("job", "ls", "status:parked", "--json").objects
    assert [(one["id"], one["shown_as"]) for one in rows] == [("order-17", "parked")]
    assert command("job", "signal", "order-17", "approval", '"by ada"', "--reason", "is fine").status == 0
    assert do(outcome, serves=True) == "17: by ada"
    late = command("job", "signal", "order-17", "approval")
    assert (late.status, "completed" in late.out + late.err) == (4, True)
    entries = [one for one in command("audit", "--json").objects if one.get("reason") == "is fine"]
    assert {(one["action"], one["target"]) for one in entries} == {("signal", "order-17")}
    assert command("job", "signal", "order-17", "approval", "{").status == 2


def test_a_session_is_sent_a_signal_that_its_job_takes(command: Command, do: Run):
    async def waiting(runtime: QueueRuntime) -> None:
        job = await runtime.submit(approve, "18", job_id="order-18", session="team/a")
        while await job.status() != "parked":
            await trio.sleep(0.005)

    async def outcome(runtime: QueueRuntime) -> str:
        return (await (await runtime.job("order-18", str, session="team/a")).result()).unwrap()

    do(waiting, serves=True)
    sent = command("session", "signal", "team/a", "approval", '"by bob"', "--reason", "so be it", "--json")
    assert (sent.status, sent.object["done"], sent.object["target"]) == (0, True, "team/a")
    assert do(outcome, serves=True) == "18: by bob"
    entries = [one for one in command("audit", "--json").objects if one.get("reason") == "so be it"]
    assert {(one["action"], one["target"]) for one in entries} == {("signal_session", "team/a")}
    assert "by bob" not in command("audit").out
    wrong = command("session", "signal", "team/a", "approval", "\udcff")
    assert (wrong.status, "JSON: not JSON" in wrong.err) == (2, True)


def test_what_was_lost_with_its_node_says_so(redis_url: str, command: Command, do: Run):
    lost = [TrailEntry(at=1_700_000_000_000 + n, what="lost", node="w1", attempt=1) for n in range(2)]
    row = JobRow(id="j", status="active", attempt=1, trail=(*lost, TrailEntry(9, "left", "w2", 1)))
    assert listed(row, now=0).lost == 2
    # And as an operator has it: the worker is killed while the job runs.
    started = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent / "dies.py"), redis_url], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    id = started.stdout.readline().strip()
    started.kill()
    started.communicate()

    async def outcome(runtime: QueueRuntime) -> bool:
        runtime.register(dies)
        return (await (await runtime.job(id, int)).result()).success

    assert do(outcome, serves=True)
    heading, _, line = command("job", "ls", f"id:{id}").out.splitlines()
    assert line[heading.index("lost") : heading.index("lost") + 4].strip() == "1"
    assert re.search(r"ago: lost, attempt 1 on \S+$", command("job", "show", id).out, re.MULTILINE)


def test_a_job_is_enqueued(command: Command, do: Run, tmp_path):
    do(ended({"n": 1}), serves=True)
    given = tmp_path / "state.json"
    given.write_text('{"n": 7}')
    answer = command(
        *(
            "job",
            "enqueue",
            "shop.price",
            "--state",
            f"@{given}",
            "--session",
            "alice",
            "--id",
            "o-1",
            "--tag",
            "spring sale",
            "--json",
        )
    ).object
    assert (answer["done"], answer["job"]) == (True, "@alice/o-1")
    found = command("job", "ls", 'tag:"spring sale"', "--json").objects[0]
    assert (found["id"], found["tags"]) == ("@alice/o-1", ["spring sale"])
    assert re.search(r"^tags +spring sale$", command("job", "show", "@alice/o-1").out, re.MULTILINE)
    answer = command("job", "enqueue", "shop.price", "--state", "{}", "--at", "2999-12-31", "--json").object
    assert command("job", "enqueue", "shop.price", "--delay", "9", "--expires", "1").status == 2
    assert command("job", "ls", "status:delayed", "--json").objects[0]["id"] == answer["job"]
    assert command("job", "enqueue", "shop.price", "--at", "at noon").status == 2
    assert command("job", "enqueue", "shop.price", "--state", "{").status == 2
    assert command("job", "enqueue", "nobody", "--state", "{}").status == 3


def test_many_are_cancelled_only_with_yes(command: Command, do: Run):
    do(submitted(*({"n": n} for n in range(5)), session="alice"))
    refused = command("job", "cancel", "--where", "session:alice")
    assert (refused.status, "5 jobs match now. Nothing was changed" in refused.out) == (4, True)
    preview = command("job", "cancel", "--where", "session:alice", "--json").object
    assert (preview["matched"], preview["complete"]) == (5, True)
    record = command("job", "cancel", "--where", "session:alice", "--yes", "--json").object
    assert (record["state"], record["done"], record["failed"]) == ("done", 5, 0)
    assert command("job", "ls", "status:waiting", "--json").objects[:-1] == []
    # What has ended is kept, and nothing that could be cancelled.
    again = command("job", "cancel", "--where", "session:alice")
    assert (again.status, "0 jobs match now" in again.out) == (0, True)
    for query in ("", "-status:failed"):
        empty = command("job", "cancel", f"--where={query}", "--yes")
        assert empty.status == 2
        assert "never means all" in empty.err
    assert command("job", "cancel").status == 2
    (listed,) = command("bulk", "ls", "--json").objects
    assert (listed["id"], listed["who"]) == (record["id"], operator())
    assert command("bulk", "show", record["id"], "--json").object["done"] == 5
    assert command("bulk", "stop", record["id"]).status == 4
    assert command("bulk", "carry-on", record["id"], "--json").object["state"] == "done"
    assert command("bulk", "show", "nobody").status == 3


def test_dead_letters_are_grouped_edited_redriven_and_dropped(command: Command, do: Run):
    ids = do(ended(*dead(4)), serves=True)
    (group,) = command("dead", "groups", "--json").objects
    assert (group["jobs"], group["queue"]) == (4, "shop.price")
    assert group["kind"].endswith("ValueError: no price for #")
    *rows, _ = command("dead", "ls", "--json").objects
    assert {row["id"] for row in rows} == {*ids}
    assert command("dead", "show", ids[0], "--json").object["row"]["id"] == ids[0]
    edited = command("dead", "edit", ids[0], "--state", '{"n": 1}', "--json").object
    assert edited["job"] not in ids
    assert command("dead", "redrive", ids[0], "--json").object["done"] is True
    assert command("dead", "redrive", ids[0]).status == 4
    record = command(
        "dead", "redrive", "--where", "queue:shop.price", "--rate", "1000/s", "--yes", "--json"
    ).object
    assert (record["state"], record["done"]) == ("done", 3)
    assert command("dead", "redrive", "--where", "", "--yes").status == 2
    more = do(ended(*dead(2)), serves=True)
    assert command("dead", "drop", more[0], "--json").object["done"] is True
    assert command("dead", "drop", "--where", "queue:shop.price", "--yes", "--json").object["state"] == "done"
    assert command("dead", "ls", "--json").objects[:-1] == []


def test_a_job_is_printed_as_a_test(command: Command, do: Run):
    (id,) = do(ended({"n": 5, "sku": 'x"""; import os'}), serves=True)
    printed = command("job", "test", id)
    assert printed.status == 0
    tree = ast.parse(printed.out)
    assert "from shop import price" in printed.out
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef)]
    assert names == ["test_what_the_job_was_given"]
    assert "def test_" in command("job", "test", id, "--json").object["test"]
    (done,) = do(ended({"n": 1}), serves=True)
    assert command("job", "test", done).status == 3


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_names(command: Command, do: Run, name: str):
    (id,) = do(submitted({"n": 1}, session=name))
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    query = f'session:"{quoted}"'
    if len(query) <= 500:
        found = command("job", "ls", query, "--json")
        assert [row["session"] for row in found.objects[:-1]] == [name]
        assert is_harmless(command("job", "ls", query).out)
    assert is_harmless(command("job", "show", id).out)
    assert command("job", "show", id, "--json").object["row"]["session"] == name
    for what in (
        ("job", "show"),
        ("job", "cancel"),
        ("job", "retry"),
        ("job", "next"),
        ("job", "wait"),
        ("dead", "drop"),
        ("bulk", "show"),
        ("bulk", "stop"),
    ):
        missing = command(*what, "--", name)
        assert missing.status in (2, 3), what
        assert is_harmless(missing.err)
    assert command("job", "cancel", id, f"--reason={name[:300]}", "--json").object["done"] is True


def test_what_a_job_has_logged_is_shown(command: Command, redis_url: str):
    @processor
    async def sell(n: int, ctx: Context) -> int:
        ctx.log.info("selling %d", n)
        ctx.log.warning("no lorry\n\x1b[2J")
        return n

    async def run() -> list[str]:
        async with QueueRuntime(redis_url, job_logs=10) as runtime:
            runtime.register(sell)
            jobs = [await runtime.submit(sell, 5), await runtime.submit(price, {"n": 1})]
            await jobs[0].result()
        # Leaving it has sent what was not yet.
        return [job.id for job in jobs]

    sold, waiting = trio.run(run)
    lines = command("job", "logs", sold, "--json").objects
    assert [(line["level"], line["text"]) for line in lines] == [
        ("INFO", "selling 5"),
        ("WARNING", "no lorry\\n\\x1b[2J"),
    ]
    shown = command("job", "logs", sold)
    assert "selling 5" in shown.out
    assert is_harmless(shown.out)
    assert command("job", "logs", waiting, "--json").objects == []
    assert command("job", "logs", "nobody").status == 3


def following(redis_url: str, job: str) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-m", "am2z_trio.cli", "job", "logs", job, "--follow", "--json"]
    return subprocess.Popen(
        [*arguments, "--redis", redis_url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_what_a_job_logs_is_printed_as_it_does_until_it_ends(command: Command, redis_url: str):
    async def run() -> tuple[list[str], int]:
        go_on = trio.Event()

        @processor
        async def sell(n: int, ctx: Context) -> int:
            ctx.log.info("selling %d", n)
            await go_on.wait()
            ctx.log.warning("no lorry\n\x1b[2J")
            return n

        async with QueueRuntime(redis_url, job_logs=10) as runtime:
            runtime.register(sell)
            job = await runtime.submit(sell, 5)
            with following(redis_url, job.id) as tail:
                assert tail.stdout is not None
                lines = [await trio.to_thread.run_sync(tail.stdout.readline)]
                go_on.set()
                rest, _ = await trio.to_thread.run_sync(partial(tail.communicate, timeout=60))
            return [json.loads(line)["text"] for line in [*lines, *rest.splitlines()]], tail.returncode

    assert trio.run(run) == (["selling 5", "no lorry\\n\\x1b[2J"], 0)
    # Looking again and again is one thing that was done.
    end, begin = command("audit", "--json").objects
    assert (begin["action"], end["outcome"]) == ("follow_logs", "done")


def test_following_a_job_that_does_not_end_is_interrupted(command: Command, redis_url: str, do: Run):
    (waiting,) = do(submitted({"n": 1}))
    with following(redis_url, waiting) as tail:
        wait_until(lambda: command("audit", "--json").out, "the command to be at it")
        tail.send_signal(signal.SIGINT)
        out, _ = tail.communicate(timeout=60)
    assert (tail.returncode, out) == (130, "")
    assert command("job", "logs", "nobody", "--follow").status == 3


@pytest.mark.parametrize("command", [["job", "enqueue", "x", "--state"], ["session", "signal", "a", "x"]])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_what_is_never_given_is_not_waited_for_beyond_ctrl_c(
    tmp_path: Path, redis_url: str, command: list[str], how: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "in")
    arguments = [*command, f"@{tmp_path / 'in'}", "--redis", redis_url]
    with subprocess.Popen(
        [sys.executable, "-m", "am2z_trio.cli", *arguments], stderr=subprocess.PIPE
    ) as process:
        writer: list[int] = []

        def opened() -> bool:
            """Whether it is being read."""
            try:
                writer.append(os.open(tmp_path / "in", os.O_WRONLY | os.O_NONBLOCK))
            except OSError:
                return False
            return True

        wait_until(opened, "the command to read")
        process.send_signal(how)
        try:
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            os.close(writer[0])
    assert (process.returncode, said) == (130, b"")


def test_what_a_command_is_given_may_come_on_its_input(redis_url: str) -> None:
    arguments = ["session", "signal", "alice", "x", "-", "--redis", redis_url, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "am2z_trio.cli", *arguments],
        input=b'{"n": 1}',
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, [*without_old_servers(done.stderr.decode().splitlines())]) == (0, [])
    assert json.loads(done.stdout)["done"]

"""Every command there is, on a real Redis: with names that mean harm, for people and as JSON."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from typing import Final

import pytest
import trio

from am2z_trio import Context, Every, JobOptions, QueueRuntime, processor
from am2z_trio.cli.main import parser
from am2z_trio.cli.operators import admin_over
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.cli.test_nodes import Node
from tests.support.waiting import wait_until

Path = tuple[str, ...]

ASKED: Final[dict[Path, list[str]]] = {
    ("why",): ["{job}"],
    ("findings",): [],
    ("doctor",): [],
    ("status",): [],
    ("top",): ["--once"],
    ("tree",): ["--session", "{name}"],
    ("node", "ls"): [],
    ("node", "show"): ["{node}"],
    ("node", "drain"): ["{node}", "--yes"],
    ("node", "undrain"): ["{node}"],
    ("node", "stacks"): ["{node}"],
    ("job", "ls"): [],
    ("job", "show"): ["{job}"],
    ("job", "cancel"): ["{job}", "--reason", "{name}"],
    ("job", "retry"): ["{dead}"],
    ("job", "next"): ["{job}"],
    ("job", "signal"): ["{job}", "{name}", "7"],
    ("job", "enqueue"): ["{queue}", "--state", "7", "--session", "{name}", "--tag", "t"],
    ("job", "wait"): ["{dead}", "--timeout", "5"],
    ("job", "logs"): ["{dead}"],
    ("job", "test"): ["{dead}"],
    ("dead", "ls"): [],
    ("dead", "groups"): [],
    ("dead", "show"): ["{dead}"],
    ("dead", "redrive"): ["{dead}"],
    ("dead", "edit"): ["{dead}", "--state", "7"],
    ("dead", "drop"): ["{dead}"],
    ("bulk", "ls"): [],
    ("bulk", "show"): ["{bulk}"],
    ("bulk", "carry-on"): ["{bulk}"],
    ("bulk", "stop"): ["{bulk}"],
    ("queue", "ls"): [],
    ("queue", "show"): ["{queue}"],
    ("queue", "pause"): ["{queue}", "--reason", "{name}"],
    ("queue", "drain"): ["{queue}"],
    ("queue", "resume"): ["{queue}"],
    ("session", "ls"): [],
    ("session", "show"): ["{name}"],
    ("session", "state"): ["{name}"],
    ("session", "diff"): ["{name}"],
    ("session", "signal"): ["{name}", "{name}", "7"],
    ("session", "restore"): ["{name}", "1"],
    ("session", "verify"): ["{name}"],
    ("cron", "ls"): [],
    ("cron", "show"): ["{schedule}"],
    ("cron", "next"): ["30 2 * * *"],
    ("cron", "add"): ["{queue}", "{queue}", "every 60", "--state", "7", "--note", "{name}"],
    ("cron", "run"): ["{schedule}"],
    ("cron", "pause"): ["{schedule}", "--reason", "{name}"],
    ("cron", "resume"): ["{schedule}"],
    ("cron", "backfill"): ["{schedule}", "2026-01-01T00:00Z", "2026-01-01T00:05Z", "--yes"],
    ("cron", "rm"): ["{schedule}", "--yes"],
    ("event", "history"): ["--job", "{job}"],
    ("audit",): ["--since", "1h"],
    ("metrics",): [],
    # What takes all away comes last.
    ("session", "stop"): ["{name}", "--yes"],
    ("queue", "purge"): ["{queue}", "--yes"],
}
"""By command, what it is asked. `{name}`: the name itself, as that of a session with jobs and a state."""

ELSEWHERE: Final[dict[Path, str]] = {
    ("demo",): "tests.cli.test_commands:test_a_tree_with_odd_names_is_counted_and_moves_no_cursor",
    ("run",): "tests.cli.test_commands:test_run_survives_hostile_lines",
    ("worker",): "tests.cli.test_commands:test_a_worker_that_cannot_serve_says_why_in_one_line",
    ("web",): "tests.web.test_serving:test_a_programs_own_runtime_is_shown_and_works_where_that_is_said",
    ("event", "tail"): "tests.cli.test_event:test_what_happens_is_printed_as_it_does",
    (
        "check-states",
    ): "tests.cli.test_check_states:test_what_is_stored_and_cannot_be_read_is_listed_without_its_values",
    ("completion",): "tests.cli.test_look:test_a_shell_completes_every_command",
}
"""Those that ask no Redis, or go on until somebody ends them: where they are run."""

MANY: Final = 24
"""Of what commands change there are so many."""

NAMES: Final = ("alice", "a/b", "{}", *HOSTILE[3:6], "x" * 10_240)
"""The first one is no harm: what is asked about it is answered."""

FAILS_BY_RIGHTS: Final[dict[Path, set[int]]] = {
    ("findings",): {0, 1},
    ("doctor",): {0, 1},
    ("job", "wait"): {1},
    ("tree",): {0, 1},
}
"""Commands whose status says what they have found."""


def paths_below(parser: argparse.ArgumentParser, *path: str) -> Iterator[Path]:
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    for group in groups:
        for name, child in group.choices.items():
            yield from paths_below(child, *path, name)
    if not groups:
        yield path


def test_every_command_is_asked_here_or_elsewhere():
    assert {*paths_below(parser())} == ASKED.keys() | ELSEWHERE.keys()
    for test in ELSEWHERE.values():
        module, _, name = test.partition(":")
        assert callable(getattr(importlib.import_module(module), name)), test


class Known(dict[str, str]):
    """A situation, as `format_map` asks for it."""

    def __init__(self, situation: Situation) -> None:
        super().__init__()
        self._situation = situation

    def __missing__(self, what: str) -> str:
        return self._situation[what]


class Situation:
    """What there is of a name, as commands ask for it: of what they change, one after the other."""

    def __init__(self, name: str, node: str) -> None:
        self.name, self.node, self.queue = name, node, name[:200]
        self.pools: dict[str, list[str]] = {}

    def __getitem__(self, what: str) -> str:
        return self.pools[what].pop() if what in self.pools else getattr(self, what)

    async def prepare(self, url: str) -> None:
        name, queue = self.name, self.queue

        @processor(name=queue)
        async def work(n: int, ctx: Context) -> int:
            ctx.log.warning("%s", name)
            raise ValueError(name)

        async with QueueRuntime(
            url, state_history=5, event_history=1_000, job_logs=5, shutdown_grace=0
        ) as runtime:
            runtime.register(work)
            dead = [await runtime.submit(work, n, options=JobOptions(tags=["t"])) for n in range(MANY)]
            for job in dead:
                assert not (await job.result()).success
        async with QueueRuntime(url, workers=False, state_history=5) as client:
            client.register(work)
            waiting = [await client.submit(work, n, session=name) for n in range(MANY)]
            for n in (1, 2):
                await client.state.set(name, {"n": n, queue: queue})
            schedules = [f"{n} {queue[:150]}" for n in range(MANY)]
            for schedule in schedules:
                await client.schedules.upsert(schedule, work, Every(3600), state=1, note=queue)
            admin = admin_over(client)
            bulks = [await admin.begin_bulk("cancel", "queue:nobody", reason=queue) for _ in range(MANY)]
        self.pools = {
            "job": [job.id for job in waiting],
            "dead": [job.id for job in dead],
            "schedule": schedules,
            "bulk": [bulk.id for bulk in bulks],
        }


@pytest.mark.parametrize("name", NAMES, ids=[*map(str, range(len(NAMES)))])
def test_every_command_answers_for_people_and_as_json_whatever_the_names(
    redis_url: str, command: Command, name: str
):
    with Node(redis_url, (name,)).serving() as node:
        wait_until(lambda: node.id, "the node to be there")
        known = Situation(name, node.id)
        trio.run(known.prepare, redis_url)
        for path, asked in ASKED.items():
            for form in (["--json"], []):
                words = [word.format_map(Known(known)) for word in asked]
                said = command(*path, *form, *words)
                about = (path, words, said)
                assert "Traceback" not in said.err, about
                # What a scraper is told are the names as they are; on a terminal they are not.
                assert is_harmless(said.out) or path == ("metrics",), about
                assert is_harmless(said.err), about
                assert said.status in {0, 1, 2, 3, 4}, about
                if form:
                    assert said.objects or said.status, about
                if name == NAMES[0]:
                    assert said.status in FAILS_BY_RIGHTS.get(path, {0}), about

"""`am2z why`, `findings` and `doctor` on real Redis: situations are named rightly, in words and as JSON."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec
import pytest
from anyio.from_thread import start_blocking_portal

from am2z_trio.concurrency import current_host
from am2z_trio.model.options import QueueOptions
from am2z_trio.model.views.diagnosis import Diagnosis
from am2z_trio.model.views.findings import Check, Finding
from am2z_trio.testing.conformance import Bench, Node, job
from tests.cli.conftest import HOSTILE, Command, is_harmless
from tests.store.test_conformance import RedisBackend
from tests.store.test_explained import SITUATIONS, announce, claim_all, its_deadline_has_passed

FIGURES = re.compile(r"\d[\d,.]*(?: (?:ms|s|m|h|d)\b)?(?: \d+ [smh]\b)?")


def in_words(text: str) -> str:
    """Without figures: some time passes between what is prepared and the command."""
    # For less than a second it is not said for how long.
    said = FIGURES.sub("#", text).replace(" for #", "").replace("waits #:", "waits:")
    return said.replace("has failed # ago:", "has failed:")


@asynccontextmanager
async def at_work(backend: RedisBackend) -> AsyncIterator[tuple[Bench, Node]]:
    """A node that is there while the command runs, by the clock that the command has."""
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        bench.clock.now = round(time.time() * 1000)
        yield bench, await bench.node()
        nursery.cancel_scope.cancel()


class Stage:
    """Situations on the suite's server, each in the midst of which a command is run."""

    def __init__(self, url: str, server: Any) -> None:
        self._backend = RedisBackend(url, server)

    @asynccontextmanager
    async def _prepare(self, situation: Any) -> AsyncIterator[Any]:
        async with at_work(self._backend) as (bench, node):
            yield await situation(bench, node)

    @contextmanager
    def prepared(self, situation: Any) -> Iterator[Any]:
        with (
            start_blocking_portal("trio") as portal,
            portal.wrap_async_context_manager(self._prepare(situation)) as expected,
        ):
            yield expected


@pytest.fixture
def stage(redis_url: str, redis_server: Any) -> Stage:
    return Stage(redis_url, redis_server)


@pytest.mark.parametrize(
    "situation",
    # One that waits for seconds to pass; the others are what they are whatever the time.
    [one for one in SITUATIONS if one is not its_deadline_has_passed],
    ids=lambda found: found.__name__,
)
def test_why_names_a_situation(situation: Any, stage: Stage, command: Command):
    with stage.prepared(situation) as expected:
        told, as_json = command("why", "j"), command("why", "j", "--json")
    found = msgspec.json.decode(as_json.out, type=Diagnosis)
    assert in_words(expected.says) in in_words(found.verdict)
    assert (found.blocked_by, found.granted_next if expected.waits else None) == (
        expected.blocked_by,
        expected.granted if expected.waits else None,
    )
    assert told.status == as_json.status == (0 if found.status else 3)
    assert in_words(told.out).startswith(in_words(found.verdict))
    assert expected.remedy in told.out
    for gate in found.gates:
        if gate.state != "open":
            sign = {"shut": "✕", "unknown": "?"}[gate.state]
            assert in_words(f"  {sign} {gate.evidence}") in in_words(told.out)


async def nobody_works(bench: Bench, node: Node) -> None:
    limits = await announce(node, QueueOptions(global_concurrency=1))
    await node.store.enqueue([job("x"), job("j")])
    await claim_all(node, limits)
    node.store.withdraw_nowait(["q"])
    await node.store.ping()


def test_findings_tell_of_a_queue_that_nobody_serves(stage: Stage, command: Command):
    with stage.prepared(nobody_works):
        told, as_json = command("findings"), command("findings", "--json")
    found = [msgspec.json.decode(line, type=Finding) for line in as_json.out.splitlines()]
    (unserved,) = [one for one in found if one.code == "unserved"]
    assert (unserved.severity, unserved.target) == ("critical", "work")
    assert "work is served by nobody" in unserved.text
    assert told.status == as_json.status == 1
    assert "unserved" in told.out


def test_the_doctor_looks_at_everything(stage: Stage, command: Command):
    told, as_json = command("doctor"), command("doctor", "--json")
    checks = [msgspec.json.decode(line, type=Check) for line in as_json.out.splitlines()]
    names = [check.name for check in checks]
    assert {"version", "memory", "policy", "persistence", "clock", "rights"} <= set(names)
    assert told.status == as_json.status == int(any(check.state == "bad" for check in checks))
    for check in checks:
        assert f"{check.name}: " in told.out
        assert bool(check.remedy) == (check.state != "ok")
    assert [check.state for check in checks if check.name in ("policy", "clock", "rights")] == ["ok"] * 3


async def some_have_ended(bench: Bench, node: Node) -> None:
    await node.store.enqueue([job(f"j{n}") for n in range(60)])
    for grant in await node.claim(60):
        await node.settle(grant)


def test_the_doctor_foresees_what_memory_is_needed(stage: Stage, command: Command):
    with stage.prepared(some_have_ended):
        told = command("doctor")
    says = r"forecast: at 0\.1 jobs/s, kept for 1 h 00 m, ended records will need 468 kB \(360 of 1\.3 kB\)"
    assert re.search(says, told.out), told.out


def test_the_doctor_says_what_is_bad(spawn_redis: Any, command: Command):
    server = spawn_redis({"maxmemory": "10mb", "maxmemory-policy": "allkeys-lru"})
    told = command("doctor", "--redis", server.url)
    assert told.status == 1
    assert "✕ policy: maxmemory-policy is allkeys-lru" in told.out
    assert "CONFIG SET maxmemory-policy noeviction" in told.out
    # Without a limit, too: a worker is refused there.
    server.call("CONFIG", "SET", "maxmemory", "0")
    assert command("doctor", "--redis", server.url).status == 1
    refused = command("job", "ls", "--redis", server.url)
    assert (refused.status, "may drop jobs" in refused.err) == (2, True)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_id_is_no_more_than_a_text(name: str, command: Command):
    told, as_json = command("why", "--", name), command("why", "--json", "--", name)
    assert (told.status, as_json.status) == (3, 3)
    assert is_harmless(told.out + told.err)
    assert is_harmless(as_json.out)
    assert msgspec.json.decode(as_json.out, type=Diagnosis).job == name


def test_a_finding_that_is_silenced_is_not_shown(stage: Stage, command: Command):
    with stage.prepared(nobody_works):
        assert "unserved" in command("findings").out
        done = command("findings", "--silence", "unserved", "--for", "2h", "--reason", "is known")
        assert (done.status, done.out) == (0, "unserved is silenced for 2 h 00 m\n")
        assert "unserved" not in command("findings").out
    assert command("findings", "--silence", "held", "--for", "soon").status == 2

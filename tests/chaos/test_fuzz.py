"""The protocol's fuzz in a small size: each fault happens, no promise is broken; seeded bugs are found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from am2z_trio.model.records import Settlement
from benchmarks.scripts.probe import drive
from tests.chaos.fuzz import Tally, Violation, Wire, run
from tests.chaos.test_auditor import Town
from tests.mutants.test_script_mutants import Mutant, mutate

FAULTS = (
    "request lost",
    "reply lost",
    "twice",
    "again, late",
    "late",
    "message lost",
    "a node dies",
    "a caller dies",
    "a node stands still",
    "scripts flushed",
    "the server goes back",
)
PROVES = (
    "claims answered again",
    "settle: replay",
    "settle: fenced",
    "settle: conflict",
    "enqueue: dup",
    "reconcile: held",
    "reconcile: lost",
    "jobs given as they came",
    "jobs accepted with others",
    "promises kept",
)
"""What the faults lead to."""


@pytest.fixture
def wire(redis_server: Any) -> Iterator[Wire]:
    wire = Wire(redis_server.socket)
    yield wire
    wire.close()


def fuzz(redis_server: Any, wire: Wire, faults: int, seed: int = 1) -> Tally:
    with redis_server.client() as connection:
        return run(wire, connection, faults=faults, seed=seed)


def test_no_promise_is_broken_whatever_gets_lost_doubled_or_late(redis_server: Any, wire: Wire) -> None:
    tally = fuzz(redis_server, wire, 4_000)
    assert [name for name in FAULTS if not tally[f"fault: {name}"]] == []
    assert [name for name in PROVES if not tally[name]] == []
    assert tally["heard: completed"] > 100


SEEDED = {
    "settle without token": Mutant(("SETTLE",), "if job.token ~= token then", "if false then"),
    "settle without replay": Mutant(("SETTLE",), "if job.last_token == token then", "if false then"),
    "claim without replay": Mutant(("CLAIM",), "if seq == last[1] then", "if false then"),
    "a known job is queued again": Mutant(("ENQUEUE",), "if known[1] and not again then", "if false then"),
    "an ended record stays": Mutant(
        ("SETTLE",), "  redis.call('PEXPIRE', job.key, whole(age))\n  if dead then", "  if dead then"
    ),
}


@pytest.mark.parametrize("name", SEEDED)
def test_a_seeded_bug_is_found(
    name: str, redis_server: Any, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutate(monkeypatch, SEEDED[name])
    with pytest.raises(Violation):
        fuzz(redis_server, wire, 12_000)


def settles_after_the_server_went_back(redis_server: Any) -> str:
    """What a node hears that was granted a job before the server went back to when nobody had it."""
    with redis_server.client() as connection:
        connection.flushall()
        town = Town(connection)
        town.enqueue("j")
        before = [(name, connection.dump(name)) for name in connection.scan_iter()]
        late = Settlement(id="j", token=town.claim()["j"], outcome="completed", result=b"\x90")
        connection.flushall()
        for name, content in before:
            connection.restore(name, 0, content)
        other = town.node("n2")
        (grant,) = drive(other.claim("p", 1, 1)).grants
        assert grant.spec.id == "j"
        (answer,) = drive(town.store.settle([late]))
        town.close()
        return answer.status


def test_a_token_of_a_history_that_is_lost_is_fenced(redis_server: Any) -> None:
    assert settles_after_the_server_went_back(redis_server) == "fenced"


def test_a_token_that_is_a_number_alone_would_not_be(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    piece = "local job, token = jobs[index], whole(first + index - 1) .. ':' .. nonce"
    mutate(monkeypatch, Mutant(("CLAIM",), piece, piece.replace("nonce", "'x'")))
    assert settles_after_the_server_went_back(redis_server) == "applied"

"""`am2z check-states`: two releases of one program, and what the first has stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from am2z_trio import Processor, QueueRuntime, RetryPolicy
from tests.cli.conftest import Command, is_harmless
from tests.support.dumped import dumped
from tests.support.servers import RedisProcess

PROGRAM = """
import msgspec
from am2z_trio import QueueRuntime, processor

class Order(msgspec.Struct):
    {fields}

@processor({options})
async def price(order: Order) -> Order:
    return order

@processor
async def other(state: dict) -> dict:
    return state

runtime = QueueRuntime(workers=False)
runtime.register(price)
"""

SECRET = "4111-1111-1111-1111"

Release = Callable[..., str]

numbers = count()


@pytest.fixture
def release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Release]:
    """A program whose orders have these fields: a module by its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = list[str]()

    def written(fields: str, options: str = "") -> str:
        name = f"release_{next(numbers)}"
        Path(f"{name}.py").write_text(PROGRAM.format(fields=fields, options=options))
        names.append(name)
        return name

    yield written
    for name in names:
        sys.modules.pop(name, None)


def test_what_a_release_breaks_fails_with_what_to_do(command: Command, release: Release):
    first = release("amount: int")
    assert command("check-states", first, "--write", "states.json").status == 0
    assert [*json.loads(Path("states.json").read_text())["processors"]] == ["other", "price"]

    same = command("check-states", first, "--against", "states.json")
    assert (same.status, same.out) == (0, "all states can be read\n")

    renamed = command("check-states", release("total: int"), "--against", "states.json")
    assert renamed.status == 1
    assert "✕ price $.amount: was removed, and 'total' of the same type is new" in renamed.out
    assert "raise state_version to 2, and give migrate={1: ...}" in renamed.out

    migrated = release("total: int", "state_version=2, migrate={1: lambda form: {'total': form['amount']}}")
    assert command("check-states", migrated, "--against", "states.json").status == 0

    found = command(
        "check-states",
        f"{release('amount: int = 0; note: str = str()')}:runtime",
        "--against",
        "states.json",
        "--json",
    )
    assert found.status == 0
    assert [(one["processor"], one["severity"], one["change"]) for one in found.objects] == [
        ("other", "warning", "gone"),
        ("price", "fine", "added"),
    ]


def test_without_more_the_states_are_listed_and_a_snapshot_goes_to_a_pipe(command: Command, release: Release):
    name = release("amount: int")
    (row,) = command("check-states", f"{name}:runtime", "--json").objects
    assert row == {"processor": "price", "type": "Order", "version": 1, "migrates": ""}
    assert json.loads(command("check-states", name, "--write", "-").out)["am2z_states"] == 1


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b"\xff\x00", b'{"am2z_states": 9}', b"[" * 9_000_000]
)
def test_a_file_that_is_no_snapshot_is_one_line(command: Command, release: Release, content: bytes | None):
    if content is not None:
        Path("states.json").write_bytes(content)
    said = command("check-states", release("amount: int"), "--against", "states.json")
    assert said.status == 2
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "states.json" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere",), "no module 'nowhere'"),
        (("json",), "no processors"),
        (("json:loads",), "not a runtime"),
        (("nowhere:",), "MODULE:RUNTIME"),
    ],
)
def test_a_program_that_is_none_is_one_line(command: Command, arguments: tuple[str, ...], words: str):
    said = command("check-states", *arguments)
    assert said.status == 2
    assert words in said.err
    assert len(said.err.splitlines()) == 1


class Stored(msgspec.Struct):
    """As the older release has it, and more than it."""

    amount: Any
    card: str = SECRET


async def fails(order: Stored) -> Stored:
    raise ValueError(SECRET)


async def keeps(order: Stored) -> Stored:
    return order


def fill(url: str) -> list[str]:
    """States as nobody expects them: of a job that waits, of dead letters, and of a session."""

    async def run() -> list[str]:
        async with QueueRuntime(url) as runtime:
            failing = Processor(fails, name="price", retry=RetryPolicy(max_attempts=1))
            runtime.register(failing)
            for amount in (1, SECRET):
                await runtime.execute(failing, Stored(amount))
            runtime.register(Processor(keeps, name="price"))
            (await runtime.execute("price", {"amount": 2}, session="alice")).unwrap()
            (await runtime.execute("price", {"amount": 3, "card": ""}, session="bob")).unwrap()
            await runtime.pause("price")
            job = await runtime.submit("price", {"amount": [SECRET]}, session="carol")
            newer: Processor[Any] = Processor(keeps, name="price", state_type=dict, state_version=7)
            runtime.register(newer)
            await runtime.submit(newer, {"amount": 1})
            return [job.id]

    return trio.run(run)


def test_what_is_stored_and_cannot_be_read_is_listed_without_its_values(
    command: Command, release: Release, redis_url: str
):
    (job,) = fill(redis_url)
    name = release("amount: int")
    said = command("check-states", f"{name}:runtime", "--redis", redis_url, "--json")
    assert said.status == 1
    assert SECRET not in said.out + said.err
    *faults, looked_at = said.objects
    assert (looked_at["jobs"], looked_at["sessions"], looked_at["whole"]) == (4, 2, True)
    seen = {(one["where"], one["rule"], one["path"]) for one in faults}
    assert seen == {
        ("session", "unknown_fields", "$.card"),
        ("dead", "unknown_fields", "$.card"),
        ("dead", "unreadable", "$.amount"),
        ("waiting", "unreadable", "$.amount"),
        ("waiting", "newer", "$"),
    }
    (one,) = [one for one in faults if one["id"] == job]
    assert one["text"] == "Expected `int`, got `array`"
    assert {one["id"] for one in faults if one["where"] == "session"} == {"alice", "bob"}

    shown = command("check-states", f"{name}:runtime", "--redis", redis_url, "--most", "1")
    assert shown.status == 1
    assert "a sample" in shown.out
    assert SECRET not in shown.out
    assert is_harmless(shown.out)

    fits = release(
        "amount: object; card: str = str()", "state_version=7, migrate={n: dict for n in range(1, 7)}"
    )
    good = command("check-states", f"{fits}:runtime", "--redis", redis_url)
    assert (good.status, good.out) == (0, "✓ price: states of 4 jobs and 2 sessions: all can be read\n")


def test_to_look_at_what_is_stored_changes_nothing(
    command: Command, release: Release, redis_url: str, redis_server: RedisProcess
):
    fill(redis_url)
    name = release("amount: int")

    def contents() -> dict[bytes, Any]:
        return {**dumped(redis_server, "*:job:*"), **dumped(redis_server, "*:session:*")}

    before = contents()
    assert before
    assert command("check-states", f"{name}:runtime", "--redis", redis_url).status == 1
    assert contents() == before

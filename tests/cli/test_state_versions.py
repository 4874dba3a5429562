"""Who has no program says of which version of its form a state is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from am2z_trio import QueueRuntime
from tests.cli.conftest import Command
from tests.support.orders import Order, priced


def served(url: str, number: int, work: Callable[[QueueRuntime], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with QueueRuntime(url) as runtime:
            runtime.register(priced(number))
            return await work(runtime)

    return trio.run(run)


async def known(runtime: QueueRuntime) -> None:
    (await runtime.execute("shop.price", Order(1))).unwrap()


def outcomes(*ids: str) -> Callable[[QueueRuntime], Awaitable[list[Any]]]:
    async def wait(runtime: QueueRuntime) -> list[Any]:
        return [(await (await runtime.job(id, Order)).result()).unwrap().total for id in ids]

    return wait


def enqueued(command: Command, state: str, *version: object) -> str:
    made = command("job", "enqueue", "shop.price", "--state", state, "--json", *version)
    assert made.status == 0, made.err
    return str(made.object["job"])


def test_a_state_is_enqueued_as_one_of_the_version_that_is_said(redis_url: str, command: Command):
    served(redis_url, 2, known)
    ids = [
        enqueued(command, '{"amount": 3}'),
        enqueued(command, '{"amount": 4}', "--state-version", 1),
        enqueued(command, '{"total": 5}', "--state-version", 2),
    ]
    assert served(redis_url, 2, outcomes(*ids)) == [6, 8, 10]


def test_one_of_a_version_that_nobody_knows_yet_is_left_to_who_does(redis_url: str, command: Command):
    served(redis_url, 2, known)
    id = enqueued(command, '{"total": 5}', "--state-version", 3)

    async def left(runtime: QueueRuntime) -> list[str]:
        with trio.fail_after(30):
            while (await runtime.explain(id)).blocked_by != "due":
                await trio.sleep(0.01)
        return [(await runtime.explain(id)).verdict]

    (verdict,) = served(redis_url, 2, left)
    assert "it is left to a newer node" in verdict
    assert served(redis_url, 3, outcomes(id)) == [10]


def test_a_schedule_gives_a_state_of_the_version_that_is_said(redis_url: str, command: Command):
    served(redis_url, 2, known)
    common = ("shop.price", "every 3600", "--state", '{"total": 7}', "--json")
    assert command("cron", "add", "nightly", *common, "--state-version", 2).status == 0
    job = command("cron", "run", "nightly", "--json").object["job"]
    assert served(redis_url, 2, outcomes(job)) == [14]
    # It is the same plan only if its state is of the same version.
    assert command("cron", "add", "nightly", *common, "--state-version", 1).status == 0
    assert command("cron", "show", "nightly", "--json").object["rev"] == 2


@pytest.mark.parametrize("version", ["0", "-1", "65536", "2.0", "two"])
def test_a_version_that_is_none_is_one_clear_error(redis_url: str, command: Command, version: str):
    served(redis_url, 2, known)
    for words in (("job", "enqueue", "shop.price"), ("cron", "add", "nightly", "shop.price", "every 60")):
        said = command(*words, "--state", "{}", f"--state-version={version}")
        assert (said.status, said.out) == (2, "")
        assert "state" in said.err.splitlines()[-1]
        assert "version" in said.err.splitlines()[-1]
    assert command("job", "ls", "status:waiting", "--json").objects[:-1] == []


def test_a_version_of_no_state_is_refused(redis_url: str, command: Command):
    served(redis_url, 2, known)
    said = command("job", "enqueue", "shop.price", "--session", "alice", "--state-version", "2")
    assert (said.status, said.out) == (2, "")
    assert said.err == "am2z: state_version=2: goes with a state: a stored one says its own\n"

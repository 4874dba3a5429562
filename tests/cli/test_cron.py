"""Schedules from the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio

from am2z_trio import QueueRuntime, processor
from tests.cli.conftest import HOSTILE, Command, is_harmless


@processor(name="shop.price")
async def price(state: dict[str, Any]) -> dict[str, Any]:
    return state


@pytest.fixture(autouse=True)
def known(redis_url: str) -> None:
    """Somebody has served the processor."""

    async def serve() -> None:
        async with QueueRuntime(redis_url) as runtime:
            runtime.register(price)
            await runtime.execute(price, {})

    trio.run(serve)


def test_a_schedule_is_made_looked_at_and_changed(command: Command):
    assert "there are no schedules" in command("cron", "ls").err
    made = command("cron", "add", "nightly", "shop.price", "30 2 * * *", "--tz", "Europe/Berlin", "--json")
    assert (made.status, made.object["id"], made.object["rev"]) == (0, "nightly", 1)
    again = command("cron", "add", "nightly", "shop.price", "30 2 * * *", "--tz", "Europe/Berlin", "--json")
    assert again.object == made.object
    (row,) = command("cron", "ls", "--json").objects
    assert (row["when"], row["tz"], row["paused"]) == ("30 2 * * *", "Europe/Berlin", None)
    assert "nightly" in command("cron", "ls").out
    shown = command("cron", "show", "nightly", "--json").object
    assert (len(shown["times"]), shown["runs"]) == (5, [])
    assert "30 2 * * *" in command("cron", "show", "nightly").out
    assert command("cron", "pause", "nightly", "--reason", "why", "--json").object["paused"] == "why"
    assert "never, as it is" in command("cron", "show", "nightly").out
    assert command("cron", "resume", "nightly", "--json").object["paused"] is None
    changed = command("cron", "add", "nightly", "shop.price", "every 3600", "--state", '{"n": 1}', "--json")
    assert (changed.object["rev"], changed.object["when"]) == (2, "every 3600 s")


def test_it_is_run_now_and_for_past_times_and_removed(command: Command):
    command("cron", "add", "hourly", "shop.price", "@hourly")
    job = command("cron", "run", "hourly", "--json").object["job"]
    assert job.startswith("s/hourly/now-")
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    span = ((end - timedelta(hours=3)).isoformat(), end.isoformat())
    told = command("cron", "backfill", "hourly", *span, "--json")
    assert (told.status, len(told.object["times"]), told.object["queued"]) == (4, 4, 0)
    done = command("cron", "backfill", "hourly", *span, "--yes", "--json")
    assert (done.status, done.object["queued"]) == (0, 4)
    assert command("cron", "backfill", "hourly", *span).status == 0
    assert len(command("cron", "show", "hourly", "--json").object["runs"]) == 5
    refused = command("cron", "rm", "hourly")
    assert (refused.status, refused.out) == (4, "")
    assert command("cron", "rm", "hourly", "--yes", "--json").object == {
        "schedule": "hourly",
        "removed": True,
    }
    for what in ("show", "run", "pause", "resume", "rm"):
        missing = command("cron", what, "hourly")
        assert (missing.status, missing.out) == (3, "")
        assert "there is no schedule 'hourly'" in missing.err


def test_a_cron_text_is_told_without_a_redis(command: Command):
    said = command("cron", "next", "30 2 * * *", "--tz", "Europe/Berlin", "-n", "2", "--year", "--json")
    found = said.objects
    assert len(found) == 4
    assert {one["note"] for one in found} >= {
        "",
        "02:30 does not exist: runs when the clock jumps",
        "02:30 comes twice: runs at the first",
    }
    assert "At 02:30 every day" in command("cron", "next", "30 2 * * *").out
    assert len(command("cron", "next", "every 30", "-n", "3", "--json").objects) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["next", "61 * * * *"], "minute"),
        (["next", "* * * * *", "--tz", "Europe/Berln"], "did you mean"),
        (["next", "every soon"], "every SECONDS"),
        (["add", "x", "shop.price", "* * * * *", "--state", "{"], "--state"),
        (["add", "x", "shop.price", "* * * * *", "--state", "@/no/such/file"], "--state"),
        (["backfill", "x", "soon", "later"], "FROM"),
    ],
)
def test_what_is_wrong_is_one_line(command: Command, arguments: list[str], told: str):
    said = command("cron", *arguments)
    assert (said.status, said.out) == (2, "")
    assert told in said.err


def test_nobodys_processor_is_said_so(command: Command):
    assert command("cron", "add", "x", "nobody's", "* * * * *").status == 3


@pytest.mark.parametrize("name", [name for name in HOSTILE if len(name) < 200 and "\x00" not in name])
def test_any_name_is_shown_as_text(command: Command, name: str):
    made = command("cron", "add", f"--note={name}", "--json", "--", name, "shop.price", "every 60")
    assert (made.status, made.object["id"], made.object["note"]) == (0, name, name)
    for what in (
        command("cron", "ls"),
        command("cron", "show", "--", name),
        command("cron", "run", "--", name),
    ):
        assert what.status == 0
        assert is_harmless(what.out)
    assert command("cron", "rm", "--yes", "--", name).status == 0

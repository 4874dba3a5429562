"""Actions on many jobs on both stores: counted, agreed to, carried on by anybody, stopped."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from am2z_trio import JobOptions, RetryPolicy, ValidationError, processor
from am2z_trio.admin import Admin, NotPermittedError, Principal, bulk_sessions, bulks
from am2z_trio.admin.bulk import LEASE_MS, carried
from am2z_trio.admin.query import MAX_CHARACTERS, parse
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.codec import encode_record
from am2z_trio.model.errors import AM2ZError, ConfigurationError, JobNotFoundError
from am2z_trio.model.views.bulks import BulkAction
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio

BROKEN: set[int] = set()
"""Numbers for which the processor fails."""


@pytest.fixture(autouse=True)
def _nothing_is_broken():
    BROKEN.clear()


@processor(retry=RetryPolicy(max_attempts=1))
async def work(n: int) -> int:
    if n in BROKEN:
        raise ValueError(f"{n} is broken")
    return n


def admin(runtime: Runtime, role: str = "admin", name: str = "ada", **limits: object) -> Admin:
    return Admin(runtime, principal=Principal(name=name, role=role, **limits), face="test")  # type: ignore[arg-type]


async def waiting(runtime: Runtime, many: int, **options: object) -> list[str]:
    """So many jobs that do not begin."""
    later = JobOptions(delay=3600)
    return [job.id for job in await runtime.submit_many(work, range(many), options=later, **options)]  # type: ignore[arg-type]


async def dead(runtime: Runtime, many: int) -> None:
    BROKEN.update(range(many))
    for job in await runtime.submit_many(work, range(many)):
        await job.result()
    BROKEN.clear()


async def test_a_preview_counts_and_changes_nothing(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 12)
        preview = await admin(runtime, "viewer").preview_bulk("cancel", "status:delayed")
        assert (preview.matched, preview.complete) == (12, True)
        assert "12 jobs match now" in preview.text
        assert (await runtime.get_queue_stats())["work"].delayed == 12


@pytest.mark.parametrize("query", ["", "  ", "-status:failed", '-"x"'])
async def test_what_asks_for_nothing_never_means_all(make_runtime, query):
    async with make_runtime() as runtime:
        for call in (admin(runtime).preview_bulk, admin(runtime).begin_bulk):
            with pytest.raises(ValidationError, match="an empty one never means all"):
                await call("cancel", query)


async def test_all_that_match_are_cancelled_in_steps(make_runtime, monkeypatch):
    monkeypatch.setattr("am2z_trio.admin.bulk.STEP", 7)
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 40, session="alice")
        kept = await waiting(runtime, 3, session="bob")
        desk = admin(runtime)
        begun = await desk.begin_bulk("cancel", "session:alice", agreed=40, reason="not wanted")
        record = await desk.carry_on(begun.id)
        assert (record.state, record.done, record.failed) == ("done", 40, 0)
        stats = (await runtime.get_queue_stats())["work"]
        assert (stats.delayed, stats.cancelled) == (3, 40)
        assert await (await runtime.job(kept[0])).status() == "delayed"
        assert await desk.carry_on(begun.id) == record
        assert [one.id for one in await desk.bulks()] == [begun.id]


async def test_what_the_action_could_not_be_done_to_is_not_counted(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(work)
        await dead(runtime, 3)
        await waiting(runtime, 2)
        desk = admin(runtime)
        expected: dict[BulkAction, int] = {"cancel": 2, "retry": 3, "drop": 3}
        for action, many in expected.items():
            preview = await desk.preview_bulk(action, "queue:work")
            assert (preview.matched, preview.complete) == (many, True)
        one = await desk.preview_bulk("drop", "queue:work status:completed")
        assert (one.matched, one.query) == (0, "queue:work status:completed")
        begun = await desk.begin_bulk("cancel", "queue:work")
        assert begun.query == "queue:work status:waiting status:delayed status:active"
        assert (await desk.carry_on(begun.id)).done == 2


async def test_the_longest_query_can_be_acted_upon(make_runtime):
    """The statuses of what can be done are meant, whether or not they fit into what it is written down as."""
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 2)
        await dead(runtime, 3)
        query = "queue:work " * 45
        query = query + '-"' + "x" * (MAX_CHARACTERS - len(query) - 3) + '"'
        desk = admin(runtime)
        expected: dict[BulkAction, int] = {"cancel": 2, "drop": 3}
        for action, many in expected.items():
            preview = await desk.preview_bulk(action, query)
            assert (preview.matched, preview.complete) == (many, True)
            assert parse(preview.query) == parse(query)
            begun = await desk.begin_bulk(action, query)
            record = await desk.carry_on(begun.id)
            assert (record.state, record.done, record.failed) == ("done", many, 0)


async def test_no_more_are_acted_upon_than_was_agreed(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 20)
        desk = admin(runtime)
        record = await desk.carry_on((await desk.begin_bulk("cancel", "status:delayed", agreed=8)).id)
        assert (record.state, record.done) == ("done", 8)
        assert (await runtime.get_queue_stats())["work"].delayed == 12


@pytest.mark.parametrize("action", ["retry", "drop"])
async def test_dead_letters_leave_their_list_and_none_is_left_out(make_runtime, monkeypatch, action):
    monkeypatch.setattr("am2z_trio.admin.bulk.STEP", 6)
    async with make_runtime() as runtime:
        runtime.register(work)
        await dead(runtime, 40)
        desk = admin(runtime)
        record = await desk.carry_on((await desk.begin_bulk(action, "status:dead queue:work")).id)
        assert (record.state, record.done, record.failed) == ("done", 40, 0)
        assert (await runtime.get_queue_stats())["work"].dead == 0


async def test_one_is_tried_first_and_if_it_fails_nothing_follows(make_runtime, monkeypatch):
    monkeypatch.setattr(bulks, "LOOK_AGAIN_AFTER", 0.01)
    async with make_runtime() as runtime:
        runtime.register(work)
        desk = admin(runtime)
        await dead(runtime, 5)
        BROKEN.update(range(5))
        record = await desk.carry_on((await desk.begin_bulk("retry", "status:dead", probe=True)).id)
        assert (record.state, record.done) == ("stopped", 1)
        assert "was tried first, was failed again" in record.note
        assert (await runtime.get_queue_stats())["work"].dead == 5
        BROKEN.clear()
        begun = await desk.begin_bulk("retry", "status:dead", probe=True, rate=1_000)
        record = await desk.carry_on(begun.id)
        assert (record.state, record.done, record.probe) == ("done", 5, "passed")


async def test_anybody_carries_on_what_was_left(make_runtime, monkeypatch):
    monkeypatch.setattr("am2z_trio.admin.bulk.STEP", 5)
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 30)
        ada, bob = admin(runtime), admin(runtime, "operator", "bob")
        begun = await ada.begin_bulk("cancel", "status:delayed")
        steps, write = 0, runtime.node.store.bulks.write

        async def gone(*arguments):
            nonlocal steps
            steps += 1
            if steps == 5:
                raise KeyboardInterrupt
            return await write(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(runtime.node.store.bulks, "write", gone)
            with pytest.raises(BaseException):  # noqa: B017, PT011
                await ada.carry_on(begun.id)
        left = await ada.bulk(begun.id)
        assert left.state == "runs"
        # As if half a minute had passed since.
        aside = msgspec.structs.replace(left, until=0)
        nth = (await runtime.node.store.bulks.read([begun.id]))[0][0]
        assert await write(begun.id, nth + 1, encode_record(aside))
        record = await bob.carry_on(begun.id)
        assert (record.state, record.done + record.skipped >= 30) == ("done", True)
        assert (await runtime.get_queue_stats())["work"].delayed == 0


async def test_who_comes_while_somebody_carries_it_on_waits(make_runtime, monkeypatch):
    monkeypatch.setattr(bulks, "LOOK_AGAIN_AFTER", 0.01)
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 3)
        desk = admin(runtime)
        begun = await desk.begin_bulk("cancel", "status:delayed")
        theirs = carried(begun, "somebody", desk.now() + LEASE_MS)
        assert await runtime.node.store.bulks.write(begun.id, 2, encode_record(theirs))
        with anyio.move_on_after(0.1):
            await desk.carry_on(begun.id)
        assert (await desk.bulk(begun.id)).done == 0
        assert (await desk.stop_bulk(begun.id)).done
        with anyio.fail_after(PATIENCE):
            assert (await desk.carry_on(begun.id)).state == "stopped"
        assert (await desk.stop_bulk(begun.id)).text == "it goes on no more: it is stopped"
        assert (await runtime.get_queue_stats())["work"].delayed == 3


async def test_permissions_and_limits_hold_for_many_as_for_one(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(work)
        await waiting(runtime, 3, session="team-a")
        await waiting(runtime, 3, session="team-b")
        mine = admin(runtime, "operator", "eve", sessions=("team-a",))
        begun = await mine.begin_bulk("cancel", "status:delayed")
        # Whoever carries it on does no more than whoever began it may.
        record = await admin(runtime).carry_on(begun.id)
        assert (record.state, record.done) == ("done", 3)
        with pytest.raises(NotPermittedError):
            await admin(runtime, "viewer").carry_on((await mine.begin_bulk("cancel", "status:delayed")).id)
        with pytest.raises(NotPermittedError):
            await mine.begin_bulk("drop", "status:dead")
        with pytest.raises(JobNotFoundError):
            await admin(runtime, "operator", "mallory", sessions=("x",)).bulk(begun.id)


@pytest.mark.parametrize(
    "arguments",
    [
        {"action": "delete"},
        {"agreed": 0},
        {"rate": 0},
        {"rate": "5/s"},
        {"probe": 1},
        {"action": "cancel", "probe": True},
        {"reason": 5},
    ],
)
async def test_what_is_no_action_on_many_is_refused(make_runtime, arguments):
    async with make_runtime() as runtime:
        given: dict[str, Any] = {"action": "retry", "query": "status:dead", **arguments}
        with pytest.raises(ConfigurationError):
            await admin(runtime).begin_bulk(given.pop("action"), given.pop("query"), **given)


async def test_a_record_that_is_spoilt_is_none(make_runtime):
    async with make_runtime() as runtime:
        store, desk = runtime.node.store, admin(runtime)
        for id, record in (("x", b""), ("y", b"\xc1"), ("z", encode_record({"id": "z"}))):
            assert await store.bulks.write(id, 1, record)
            with pytest.raises(AM2ZError, match="no action on many jobs"):
                await desk.carry_on(id)
        assert await desk.bulks() == []


# --- sessions -------------------------------------------------------------------------------


async def sessions_at_work(runtime: Runtime, *names: str) -> None:
    for name in names:
        await waiting(runtime, 2, session=name)


async def test_sessions_that_a_filter_asks_for_are_counted_and_stopped_in_steps(make_runtime, monkeypatch):
    monkeypatch.setattr(bulk_sessions, "NAMES", 4)
    async with make_runtime() as runtime:
        runtime.register(work)
        team = [f"team-{n}" for n in range(11)]
        await sessions_at_work(runtime, *team, "team-boss", "alice")
        desk, query = admin(runtime, "operator"), "session:team-* -session:team-boss"
        preview = await admin(runtime, "viewer").preview_bulk("stop", query)
        assert (preview.matched, preview.complete, len(preview.sample)) == (11, True, 5)
        assert "11 sessions match now" in preview.text
        record = await desk.carry_on((await desk.begin_bulk("stop", query, agreed=11, reason="night")).id)
        assert (record.state, record.done, record.failed) == ("done", 11, 0)
        assert {row.session for row in (await desk.sessions()).rows} == {"team-boss", "alice"}
        audited = {(one.action, one.query) for one in (await admin(runtime).audit()).entries}
        assert ("bulk stop", query) in audited


async def test_no_more_sessions_are_stopped_than_was_agreed(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(work)
        await sessions_at_work(runtime, *(f"team-{n}" for n in range(6)))
        desk = admin(runtime)
        record = await desk.carry_on((await desk.begin_bulk("stop", "session:team-*", agreed=2)).id)
        assert (record.state, record.done) == ("done", 2)
        assert (await desk.preview_bulk("stop", "session:team-*")).matched == 4


async def test_sessions_of_others_are_not_stopped(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(work)
        await sessions_at_work(runtime, "team-a", "team-b")
        with pytest.raises(NotPermittedError):
            await admin(runtime, "viewer").begin_bulk("stop", "session:team-*")
        cases: list[tuple[dict[str, Any], int]] = [({"queues": ("work",)}, 2), ({"sessions": ("team-b",)}, 1)]
        for limits, left in cases:
            some = admin(runtime, "operator", **limits)
            assert (await some.preview_bulk("stop", "session:team-*")).matched == 2 - left
            record = await some.carry_on((await some.begin_bulk("stop", "session:team-*")).id)
            assert record.done == 2 - left
            assert (await admin(runtime).preview_bulk("stop", "session:team-*")).matched == left


@pytest.mark.parametrize("query", ["", "-session:a", "team-*", "session:a queue:work", "session:a age>1s"])
async def test_what_does_not_ask_for_sessions_stops_none(make_runtime, query):
    async with make_runtime() as runtime:
        with pytest.raises(ValidationError, match="must say which"):
            await admin(runtime).begin_bulk("stop", query)


async def test_a_session_that_does_not_end_is_told_of_and_keeps_none_of_the_others(make_runtime, monkeypatch):
    monkeypatch.setattr(bulk_sessions, "PATIENCE", 0.3)
    begun, go = anyio.Event(), anyio.Event()

    @processor
    async def stubborn(n: int) -> int:
        begun.set()
        with anyio.CancelScope(shield=True):
            await go.wait()
        return n

    async with make_runtime() as runtime:
        runtime.register(work, stubborn)
        await runtime.submit(stubborn, 1, session="team-stubborn")
        await begun.wait()
        await sessions_at_work(runtime, "team-a", "team-b")
        desk = admin(runtime)
        try:
            record = await desk.carry_on((await desk.begin_bulk("stop", "session:team-*")).id)
            assert record.done == 2
            assert {one.job for one in record.failures} == {"team-stubborn"}
            assert "has not ended within" in record.failures[0].why
        finally:
            go.set()

"""What operators read of what has happened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from am2z_trio import processor
from am2z_trio.admin import Admin, NotPermittedError, Principal, Rules
from am2z_trio.admin.redaction import HIDDEN
from tests.support.desks import admin
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


@processor
async def same(n: int) -> int:
    return n


async def test_the_audit_is_read_by_who_may(make_runtime):
    async with make_runtime() as runtime:
        await admin(runtime).stop_session("alice", reason="done")
        page = await admin(runtime).audit()
        assert [(one.action, one.outcome) for one in page.entries] == [
            ("stop_session", "done"),
            ("stop_session", ""),
        ]
        for role in ("viewer", "operator"):
            with pytest.raises(NotPermittedError, match="audit"):
                await admin(runtime, role).audit()
        newest = (await admin(runtime).audit(limit=1)).entries[0]
        assert (newest.action, newest.outcome) == ("audit", "refused")


async def test_entries_of_the_audit_are_found_by_what_stands_in_them(make_runtime):
    async with make_runtime() as runtime:
        desk = admin(runtime)
        for n in range(6):
            await desk.stop_session(f"cart-{n % 2}", reason=f"Reason {n}")
        found = await desk.audit(containing="CART-1", limit=4)
        assert {one.target for one in found.entries} == {"cart-1"}
        assert len(found.entries) == 4
        more = await desk.audit(containing="CART-1", before=found.next)
        assert [one.outcome for one in more.entries] == ["done", ""]
        assert more.next == ""
        (one,) = (await desk.audit(containing="reason 3")).entries
        assert (one.target, one.reason) == ("cart-1", "Reason 3")
        assert (await desk.audit(containing="nobody")).entries == []


async def test_the_audit_is_read_from_a_moment_on(make_runtime):
    async with make_runtime() as runtime:
        desk = admin(runtime)
        await desk.stop_session("alice", reason="the first")
        before = (await desk.audit()).entries
        # Entries of one millisecond are not told apart.
        while desk.now() <= before[0].at + 1:
            await anyio.sleep(0.001)
        since = datetime.fromtimestamp((before[0].at + 1) / 1000, UTC).isoformat(timespec="milliseconds")
        await desk.stop_session("bob", reason="the second")
        page = await desk.audit(since=since)
        assert ([one.target for one in page.entries], page.next) == (["bob", "bob"], "")
        for length in ("1h", "2026-01-01"):
            assert (await desk.audit(since=length)).entries == [*page.entries, *before]
        (one,) = (await desk.audit(since=since, limit=1)).entries
        more = await desk.audit(since=since, limit=5, before=(await desk.audit(limit=1)).next)
        assert [one, *more.entries] == page.entries
        assert (await desk.audit(since=since, containing="the first")).entries == []
        assert len((await desk.audit(since="1h", containing="the first")).entries) == 1
        assert (await desk.audit(since="2100-01-01")).entries == []


async def test_who_is_limited_reads_the_events_of_his_sessions(make_runtime):
    async with make_runtime(event_history=1_000) as runtime:
        runtime.register(same)
        for session in ("alice", "bob"):
            await runtime.execute(same, 1, session=session)
        runtime.emit("of nobody")
        limited = admin(runtime, "viewer", sessions=("ali*",))
        with anyio.fail_after(PATIENCE):
            while not any(one.name == "of nobody" for one in (await admin(runtime).events()).events):
                await anyio.sleep(0.01)
        every = (await admin(runtime).events("job:*")).events
        assert {one.session for one in every} == {"alice", "bob"}
        seen = (await limited.events()).events
        assert seen == [one for one in every if one.session == "alice"]


async def test_who_is_limited_hears_the_events_of_his_sessions(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(same)
        limited = admin(runtime, "viewer", sessions=("alice",))
        async with limited.listen("job:completed") as events:
            for session in ("bob", "alice"):
                await runtime.execute(same, 1, session=session)
            with anyio.fail_after(PATIENCE):
                assert (await anext(events)).session == "alice"


async def test_who_may_not_look_reads_no_events(make_runtime):
    async with make_runtime() as runtime:
        nobody = admin(runtime, "nobody", permissions=frozenset())
        with pytest.raises(NotPermittedError):
            await nobody.events()
        with pytest.raises(NotPermittedError):
            async with nobody.listen():
                pass


async def test_what_a_program_tells_with_an_event_is_a_payload(make_runtime):
    """Of which no more is seen than of an input. What the engine tells is for all who may look."""
    data = {"step": 2, "customer": "ada@example.com", "password": "p"}
    rules = Rules(show=("event.data.step",))
    seen: dict[str, Any] = {}
    async with make_runtime(event_history=1_000) as runtime:
        runtime.register(same)
        desks = {
            "nothing": admin(runtime, "viewer"),
            "a step": Admin(runtime, principal=Principal(name="ada", role="viewer"), redaction=rules),
            "all": admin(runtime, "operator"),
            "a text": Admin(runtime, principal=Principal(name="ada", role="viewer"), redaction=rules),
        }
        for name, desk in desks.items():
            async with desk.listen("shop:*") as events:
                runtime.emit("shop:bought", "a text" if name == "a text" else data)
                with anyio.fail_after(PATIENCE):
                    seen[name] = (await anext(events)).data
        await runtime.execute(same, 1)
        with anyio.fail_after(PATIENCE):
            while len((await desks["all"].events("job:started")).events) < 1:
                await anyio.sleep(0.01)
        kept = {name: (await desk.events("shop:*")).events[0].data for name, desk in desks.items()}
        assert (await desks["nothing"].events("job:started")).events[0].data == {"attempt": 1}
    expected = {"nothing": HIDDEN, "a step": {"step": 2}, "all": {**data, "password": HIDDEN}}
    assert seen == {**expected, "a text": HIDDEN}
    assert kept == {**expected, "a text": {"step": 2}}

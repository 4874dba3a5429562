"""Sessions, asked for and acted upon by the service for operators."""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import JobOptions, QueueRuntime, StateIntegrityError, processor
from am2z_trio.admin import Admin, NotPermittedError, Principal, Rules
from am2z_trio.admin.changes import changes
from am2z_trio.store.redis.keys import spell
from am2z_trio.testing.conformance import HOSTILE
from tests.support.desks import admin, until_active

pytestmark = pytest.mark.anyio


@dataclass
class Cart:
    total: int = 0
    card: str = "4111"


@processor
async def add(cart: Cart) -> Cart:
    return replace(cart, total=cart.total + 1)


@processor
async def hold(n: int) -> int:
    await anyio.sleep_forever()
    return n


async def test_sessions_with_jobs_are_listed_and_each_is_shown(make_runtime):
    async with make_runtime() as runtime:
        runtime.register(hold)
        job = await runtime.submit(hold, 1, session="team/a")
        await runtime.submit(hold, 2, session="team/a", options=JobOptions(delay=60))
        await runtime.submit(hold, 3, session="other", options=JobOptions(delay=60))
        await until_active(runtime, job.id)
        desk = admin(runtime)
        page = await desk.sessions()
        assert {row.session: row.state for row in page.rows} == {"team/a": "live", "other": "delayed"}
        assert (page.of, page.cursor) == (2, "")
        assert [row.session for row in (await desk.sessions("team/")).rows] == ["team/a"]
        limited = admin(runtime, sessions=("team/*",))
        assert [row.session for row in (await limited.sessions()).rows] == ["team/a"]
        assert await limited.session_rows(["other"]) == []
        shown = await desk.session("team/a")
        assert (shown.row.active, shown.row.delayed, len(shown.row.nodes)) == (1, 1, 1)
        assert [(lane.queue, lane.active, lane.delayed) for lane in shown.lanes] == [("hold", 1, 1)]
        assert (shown.versions, shown.bad, shown.lock.left) == ([], "", 0.0)
        preview = await desk.preview_stop_session("team/a")
        assert (len(preview.running), preview.delayed) == (1, 1)
        with pytest.raises(NotPermittedError):
            await limited.session("other")
        answers = await limited.stop_sessions(["team/a", "other"], reason="night")
        assert [answer.done for answer in answers] == [True, False]
        assert [row.session for row in (await desk.sessions()).rows] == ["other"]


async def test_every_session_is_found_by_pages_whatever_it_is_called(make_runtime):
    names = [text for text in HOSTILE if text]
    async with make_runtime() as runtime:
        runtime.register(hold)
        for name in names:
            await runtime.submit(hold, 1, session=name, options=JobOptions(delay=60))
        desk, found, cursor = admin(runtime), list[str](), ""
        while True:
            page = await desk.sessions(limit=2, cursor=cursor)
            found, cursor = found + [row.session for row in page.rows], page.cursor
            if not cursor:
                break
        assert sorted(found) == sorted(names)
        for name in names:
            assert (await desk.session(name)).row.delayed == 1


async def test_versions_of_a_state_are_shown_with_what_each_has_changed_and_whose_it_is(make_runtime):
    async with make_runtime(state_history=5) as runtime:
        runtime.register(add)
        await runtime.state.set("s", Cart(1))
        job = await runtime.submit(add, session="s")
        assert (await job.result()).success
        desk = admin(runtime)
        shown = await desk.session("s")
        assert [(one.version, one.newest, one.by.job) for one in shown.versions] == [
            (2, True, job.id),
            (1, False, ""),
        ]
        hidden = await desk.state("s")
        assert hidden is not None
        assert (hidden.value.value, hidden.value.hidden, hidden.changes) == (None, 2, [])
        seen = await desk.state("s", reveal=True, reason="a complaint")
        assert seen is not None
        assert (seen.before, seen.same) == (1, 1)
        assert [(one.path, one.before, one.after) for one in seen.changes] == [("total", "1", "2")]
        first = await desk.state("s", 1, reveal=True)
        assert first is not None
        assert (first.value.value, first.before) == ({"total": 1, "card": "4111"}, None)
        assert await desk.state("s", 9) is None
        assert await desk.state("nobody") is None
        with pytest.raises(NotPermittedError):
            await admin(runtime, "viewer").state("s", reveal=True)
        ruled = Admin(
            runtime,
            principal=Principal(name="eve", role="viewer"),
            face="test",
            redaction=Rules(show=("total",)),
        )
        shown_by_rule = await ruled.state("s")
        assert shown_by_rule is not None
        assert [one.path for one in shown_by_rule.changes] == ["total"]
        assert (
            await desk.verify_state("s")
        ).text == "version 2 is what was written, and so are the 1 before it"


async def test_an_earlier_version_that_was_changed_stands_in_nobodys_way(redis_url, redis_server):
    async with QueueRuntime(redis_url, state_history=5) as runtime:
        for total in (1, 2, 3):
            await runtime.state.set("s", {"total": total})
        desk, key = admin(runtime), spell("am2z", "history", "s")
        entries = redis_server.call("LRANGE", key, 0, -1)
        assert len(entries) == 3
        redis_server.call("LSET", key, 1, entries[1][:-1] + b"?")
        shown = await desk.session("s")
        assert (shown.bad, [(one.version, one.spoilt) for one in shown.versions]) == (
            "",
            [(3, False), (2, True), (1, False)],
        )
        newest = await desk.state("s", reveal=True)
        assert newest is not None
        # It is compared with the last one that is what was written.
        assert (newest.value.value, newest.before) == ({"total": 3}, 1)
        for version, against in ((2, None), (3, 2)):
            with pytest.raises(StateIntegrityError, match="version 2 of the state of session 's'"):
                await desk.state("s", version, against=against)
        answer = await desk.verify_state("s")
        assert (answer.done, answer.text) == (
            False,
            "version 3 is what was written; of the versions that are kept, these are not what was written: 2",
        )
        assert (await desk.restore_state("s", 2)).text == "version 2 is not what was written"
        redis_server.call("HSET", spell("am2z", "session", "s"), "blob", "not what was written")
        assert (await desk.verify_state("s")).text.endswith("not what was written: 2")
        assert (await desk.restore_state("s", 1)).done
        restored = await runtime.state.get("s")
        assert restored is not None
        assert restored.state == {"total": 1}
        # Whoever reads all of them is told.
        with pytest.raises(StateIntegrityError):
            await runtime.state.history("s")


async def test_bytes_that_were_changed_are_no_state_and_are_written_over(redis_url, redis_server):
    async with QueueRuntime(redis_url, state_history=5) as runtime:
        await runtime.state.set("s", {"total": 1})
        await runtime.state.set("s", {"total": 2})
        desk = admin(runtime)
        redis_server.call("HSET", spell("am2z", "session", "s"), "blob", "not what was written")
        shown = await desk.session("s")
        assert "does not match its checksum" in shown.bad
        assert [one.version for one in shown.versions] == [2, 1]
        assert not (await desk.verify_state("s")).done
        with pytest.raises(StateIntegrityError):
            await desk.state("s", reveal=True)
        stored = await desk.stored_bytes("s", reason="look")
        assert stored.data == b"not what was written"
        assert stored.checksum != stored.actual
        with pytest.raises(NotPermittedError):
            await admin(runtime, "viewer").stored_bytes("s")
        assert (await desk.restore_state("s", 2, reason="spoilt")).done
        assert await runtime.state.get_version("s") == 3
        restored = await runtime.state.get("s")
        assert restored is not None
        assert restored.state == {"total": 2}


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(PLAIN, PLAIN)
def test_changes_are_none_of_the_same_and_mirrored_the_other_way(one, other):
    assert changes(one, one)[0] == []
    there, same = changes(one, other)
    back, as_many = changes(other, one)
    assert same == as_many
    assert {(change.path, change.before, change.after) for change in there} == {
        (change.path, change.after, change.before) for change in back
    }


def test_a_value_that_has_gone_stands_where_it_stood():
    found, same = changes({"a": 1, "b": 2, "c": [1, 2]}, {"a": 1, "c": [1, 3], "d": {"x y": None}})
    assert [(one.path, one.before, one.after) for one in found] == [
        ("b", "2", None),
        ("c[1]", "2", "3"),
        ('d["x y"]', None, "null"),
    ]
    assert same == 2


async def test_what_a_rule_hides_from_everybody_is_not_in_bytes_either(make_runtime):
    async with make_runtime() as runtime:
        await runtime.state.set("plain", {"total": 1})
        await runtime.state.set("secret", {"login": {"Password": "hunter2"}})
        await runtime.state.set("large", [{"password": n} for n in range(3_000)])
        await runtime.state.set("long", [*range(10_000)])
        desk = admin(runtime)
        assert b"total" in (await desk.stored_bytes("plain")).data
        for session in ("secret", "large", "long"):
            with pytest.raises(NotPermittedError, match="a rule hides"):
                await desk.stored_bytes(session)
        everything = Admin(runtime, principal=Principal(name="a", role="admin"), redaction=Rules(hide=()))
        for session in ("secret", "large", "long"):
            assert (await everything.stored_bytes(session)).data

"""Nothing is done that is not written down before, and then what became of it."""

from __future__ import annotations

import logging

import anyio
import msgspec
import pytest

from am2z_trio import LocalRuntime, NetworkError, QueueRuntime, ResourceError
from am2z_trio.admin.audit import Audit, Undertaking
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.model.limits import MAX_ANY_ID_BYTES, MAX_NAME_BYTES, MAX_REASON_BYTES
from am2z_trio.model.records import EventPage
from am2z_trio.model.views.audit import MAX_ENTRY_BYTES, AuditEntry, AuditPage
from am2z_trio.store.redis.keys import spell

pytestmark = pytest.mark.anyio

HOSTILE = "a/{b}\r\n\0\u202e\ud800" + "x" * 10_000


class Kept:
    """A chronicle that can be made to fail."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []
        self.error: Exception | None = None

    async def append_audit(self, entry: AuditEntry) -> None:
        if self.error is not None:
            raise self.error
        self.entries.append(entry)

    async def audit_page(self, before: str = "", limit: int = 100) -> AuditPage:
        raise NotImplementedError

    async def events(self, place: str = "", limit: int = 1_000, *, backwards: bool = False) -> EventPage:
        raise NotImplementedError

    async def newest(self) -> str:
        raise NotImplementedError

    def audit(self) -> Audit:
        return Audit(lambda: self, who="ada@laptop", role="operator", face="cli")


async def test_what_is_done_is_written_down_before_and_after():
    kept = Kept()
    async with kept.audit().action("cancel", target="j", preview={"running": 2}, reason="stuck") as this:
        assert isinstance(this, Undertaking)
        (first,) = kept.entries
        assert (first.who, first.role, first.face) == ("ada@laptop", "operator", "cli")
        assert (first.action, first.target, first.reason, first.outcome) == ("cancel", "j", "stuck", "")
        assert msgspec.msgpack.decode(first.preview) == {"running": 2}
        this.result = {"cancelled": 1}
    first, second = kept.entries
    assert (second.of, second.outcome, second.action, second.target) == (first.id, "done", "cancel", "j")
    assert msgspec.msgpack.decode(second.preview) == {"cancelled": 1}
    assert second.id != first.id


async def test_what_cannot_be_written_down_is_not_done():
    kept = Kept()
    kept.error = NetworkError("the store is away")
    done = False
    with pytest.raises(NetworkError, match="away"):
        async with kept.audit().action("purge", target="q"):
            done = True
    assert not done


async def test_what_fails_is_written_down_and_goes_on():
    kept = Kept()
    with pytest.raises(ResourceError, match="too many"):
        async with kept.audit().action("retry", query="status:failed"):
            raise ResourceError("too many")
    with pytest.raises(ZeroDivisionError):
        async with kept.audit().action("retry"):
            raise ZeroDivisionError("of zero")
    assert [entry.outcome for entry in kept.entries] == ["", "failed", "", "failed"]
    assert kept.entries[1].reason == f"{ResourceError.code}: too many"
    assert "ZeroDivisionError" in kept.entries[3].reason
    assert kept.entries[1].query == "status:failed"


async def test_what_is_cancelled_is_written_down_all_the_same():
    kept = Kept()
    with anyio.CancelScope() as scope:
        async with kept.audit().action("drain", target="node"):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert [entry.outcome for entry in kept.entries] == ["", "cancelled"]


async def test_an_outcome_that_cannot_be_written_down_is_logged_and_stands(caplog):
    kept = Kept()
    with caplog.at_level(logging.INFO, "am2z_trio.audit"):
        async with kept.audit().action("pause", target="q"):
            kept.error = NetworkError("the store is away")
    assert [record.levelname for record in caplog.records] == ["INFO", "ERROR"]
    assert "ada@laptop (operator, cli) pause q: done" in caplog.records[1].getMessage()
    assert "away" in caplog.records[1].getMessage()


async def test_a_refusal_is_written_down_and_stands_where_it_cannot_be(caplog):
    kept = Kept()
    await kept.audit().refused("purge", "a viewer may not purge", target="q")
    (entry,) = kept.entries
    assert (entry.outcome, entry.of, entry.reason) == ("refused", "", "a viewer may not purge")
    kept.error = NetworkError("the store is away")
    await kept.audit().refused("purge", "a viewer may not purge", target="q")
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


async def test_hostile_texts_are_cut_and_fill_no_line_but_their_own(caplog):
    kept = Kept()
    audit = Audit(lambda: kept, who=HOSTILE, role=HOSTILE, face=HOSTILE)
    about = {"target": HOSTILE, "query": HOSTILE, "reason": HOSTILE}
    with caplog.at_level(logging.INFO, "am2z_trio.audit"):
        async with audit.action(HOSTILE, **about, preview=object()) as this:
            this.result = HOSTILE
    for entry in kept.entries:
        assert len(msgspec.msgpack.encode(entry)) < MAX_ENTRY_BYTES
        assert len(entry.who.encode()) <= MAX_NAME_BYTES
        assert len(entry.target.encode()) <= MAX_ANY_ID_BYTES
        assert len(entry.reason.encode()) <= MAX_REASON_BYTES
    assert all("\n" not in record.getMessage() for record in caplog.records)


def audit_of(runtime: Runtime, who: str) -> Audit:
    return Audit(lambda: runtime.node.store.chronicle, who=who, role="operator", face="cli")


async def test_both_runtimes_keep_what_was_done(redis_url, redis_server):
    async with LocalRuntime() as local, QueueRuntime(redis_url, prefix="audit") as shared:
        for runtime in (local, shared):
            chronicle = runtime.node.store.chronicle
            audit = audit_of(runtime, HOSTILE)
            async with audit.action(HOSTILE, target="j"):
                pass
            second, first = (await chronicle.audit_page()).entries
            assert (second.of, second.outcome, first.outcome) == (first.id, "done", "")
            assert second.at >= first.at > 1_600_000_000_000
        # What nobody of ours has written is passed over, and counted.
        key = spell("audit", "audit")
        redis_server.call("XADD", key, "*", "at", "1", "entry", b"\xc1")
        redis_server.call("XADD", key, "*", "other", "x")
        redis_server.call("XADD", key, "*", "at", "x", "entry", msgspec.msgpack.encode(first))
        page = await shared.node.store.chronicle.audit_page()
        assert (len(page.entries), page.unreadable) == (2, 3)


async def test_a_full_server_has_nothing_done(spawn_redis):
    server = spawn_redis()
    async with QueueRuntime(server.url) as runtime:
        audit = audit_of(runtime, "ada")
        server.call("CONFIG", "SET", "maxmemory", "1")
        done = False
        with pytest.raises(ResourceError):
            async with audit.action("purge"):
                done = True
        server.call("CONFIG", "SET", "maxmemory", "0")
        assert not done


async def test_refusals_leave_little_behind(redis_url, redis_server):
    async with QueueRuntime(redis_url, prefix="refusals") as runtime:
        desk = Audit(lambda: runtime.node.store.chronicle, who="bo", role="viewer", face="web")
        await desk.refused("purge", "may not")
        async with desk.action("cancel"):
            pass
        _, first, refusal = (await runtime.node.store.chronicle.audit_page()).entries
        assert (first.outcome, refusal.outcome) == ("", "refused")
        left = [redis_server.call("PTTL", spell("refusals", "noted", one.id)) for one in (refusal, first)]
        assert 0 < left[0] <= 60_000 < left[1]

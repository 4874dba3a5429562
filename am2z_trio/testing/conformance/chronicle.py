"""The chronicle: what is written down, in order, once."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.events import Event
from am2z_trio.model.limits import MAX_KEPT_EVENT_BYTES
from am2z_trio.model.records import Settlement
from am2z_trio.model.views.audit import AuditEntry
from am2z_trio.store.agreed import REFUSALS_KEPT
from am2z_trio.store.ports import BATCH

from .bench import Bench, Node
from .builders import job


def entry(number: int, **more: str) -> AuditEntry:
    """One of an operator's."""
    by = {"who": "ada", "role": "operator", "face": "cli"}
    about = {"action": "cancel", "target": f"job {number}"}
    return AuditEntry.made(f"{number:08x}", by, about, preview={"running": number}, **more)  # type: ignore[arg-type]


async def history(node: Node, limit: int = 1_000) -> list[Event]:
    """All of it, page by page."""
    found: list[Event] = []
    since = ""
    while True:
        page = await node.store.chronicle.events(since, limit)
        assert page.kept
        assert not page.gap
        assert page.unreadable == 0
        assert len(page.events) <= limit
        found += page.events
        if not page.more:
            return found
        since = page.last


def bare(events: Sequence[Event]) -> list[Event]:
    return [msgspec.structs.replace(event, id="") for event in events]


class ChronicleCases:
    """The history of events, and what operators have done."""

    async def test_what_is_told_is_kept(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.watch_events(True)
        jobs = [job(f"j{n}", session=("", "s", "t{}")[n % 3]) for n in range(7)]
        await a.store.enqueue(jobs)
        await a.store.publish([Event("mine", 0, "a", data={"n": 1}), Event("mine, too", 5, "a", "j")])
        grants = await b.claim(7)
        bench.clock.advance(1)
        ends = [Settlement(id=grant.spec.id, token=grant.token, outcome="completed") for grant in grants[:4]]
        await b.store.settle(ends)
        await b.settle(grants[4], "retry", reason="X\nx", delay=1)
        await b.settle(grants[5], "failed", reason="Y\ny")
        await b.store.report(grants[6].spec.id, grants[6].token, 0.5)
        told = await a.events()
        assert len(told) == 7 + 2 + 7 + 4 + 1 + 2 + 1
        kept = await history(a)
        assert bare(kept) == told
        assert len({event.id for event in kept}) == len(kept)
        for limit in (1, 2, 3, 50):
            assert await history(b, limit) == kept
        assert await b.store.chronicle.newest() == kept[-1].id.rpartition(".")[0]

    async def test_the_history_goes_on_from_each_event(self, bench: Bench) -> None:
        a = await bench.node("a")
        assert await a.store.chronicle.newest() == ""
        await a.store.enqueue([job(f"j{n}") for n in range(3)])
        await a.claim(3)
        await a.store.publish([Event("mine", 5, "a")])
        kept = await history(a)
        for n, event in enumerate(kept):
            page = await a.store.chronicle.events(event.id, 2)
            assert page.events == kept[n + 1 : n + 3]
            assert page.more or n + 3 >= len(kept)
            for limit in (1, 2, 50):
                page = await a.store.chronicle.events(event.id, limit, backwards=True)
                assert page.events == kept[max(0, n - limit) : n]
                assert page.more or n <= limit
                assert not page.gap
        for limit in (1, 2, 50):
            assert (await a.store.chronicle.events("", limit, backwards=True)).events == kept[-limit:]
        newest = await a.store.chronicle.newest()
        assert (await a.store.chronicle.events(newest)).events == []
        await a.store.enqueue([job("later")])
        (later,) = (await a.store.chronicle.events(newest)).events
        assert (later.name, later.job) == ("job:enqueued", "later")
        # A place that nothing is kept of, before all that is.
        page = await a.store.chronicle.events("1-0.0")
        assert page.gap
        assert page.events == [*kept, later]
        page = await a.store.chronicle.events("9999999999999-0", backwards=True)
        assert page.gap
        assert page.events == [*kept, later]

    async def test_a_page_of_many_entries_has_each_of_them_once(self, bench: Bench) -> None:
        a = await bench.node("a")
        many = 2 * BATCH + 5
        for n in range(many):
            await a.store.publish([Event("mine", 0, "a", f"j{n}")])
        assert (await a.store.chronicle.events()).length == many
        kept = await history(a, many)
        assert [event.job for event in kept] == [f"j{n}" for n in range(many)]
        page = await a.store.chronicle.events("", many, backwards=True)
        assert page.events == kept

    async def test_what_changes_nothing_is_not_kept(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job("j")])
        grant = await a.claim_one()
        await a.settle(grant)
        kept = await history(a)
        await a.store.enqueue([job("j")])
        await a.settle(grant)
        await a.store.report("j", grant.token, 0.1)
        await a.store.cancel("j", "")
        assert await history(a) == kept

    async def test_a_page_says_how_long_the_history_is(self, bench: Bench) -> None:
        a = await bench.node("a")
        assert (await a.store.chronicle.events()).length == 0
        # What one step says of many jobs is one entry.
        await a.store.enqueue([job(f"j{n}") for n in range(3)])
        page = await a.store.chronicle.events("", 1)
        assert (page.length, len(page.events)) == (1, 1)
        await a.store.publish([Event("mine", 0, "a")])
        for backwards in (False, True):
            assert (await a.store.chronicle.events("", 1, backwards=backwards)).length == 2
        await a.claim(3)
        assert (await a.store.chronicle.events()).length == 3

    async def test_large_data_is_told_and_not_kept(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.watch_events(True)
        large = "x" * MAX_KEPT_EVENT_BYTES
        await a.store.publish([Event("e", 5, "a", data=large), Event("e", 6, "a", data="small")])
        assert [event.data for event in await a.events()] == [large, "small"]
        assert [event.data for event in await history(a)] == [None, "small"]

    async def test_a_place_in_the_history_that_is_none_is_refused(self, bench: Bench) -> None:
        a = await bench.connect("a")
        for text in ("x", "1", "1-2-3", "-1-0", " 1-0", "1-0\n", "1-0.", "9" * 30 + "-0"):
            try:
                await a.store.chronicle.events(text)
            except ConfigurationError:
                continue
            raise AssertionError(f"{text!r} is taken for a place")

    async def test_what_operators_do_is_kept_newest_first(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        assert (await a.store.chronicle.audit_page()).entries == []
        for number in range(7):
            await (a, b)[number % 2].store.chronicle.append_audit(entry(number))
            bench.clock.advance(1)
        found = list[tuple[str, int]]()
        before = ""
        while True:
            page = await b.store.chronicle.audit_page(before, 3)
            assert page.unreadable == 0
            assert len(page.entries) <= 3
            found += [(one.target, one.at) for one in page.entries]
            before = page.next
            if not before:
                break
        start = bench.clock.now - 7_000
        assert found == [(f"job {n}", start + 1_000 * n) for n in reversed(range(7))]

    async def test_an_entry_that_is_sent_again_is_written_once(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        first, second = entry(1), entry(2, of="00000001", outcome="failed", reason="it has ended")
        for one in (first, first, second, first, second):
            await a.store.chronicle.append_audit(one)
            await b.store.chronicle.append_audit(one)
        page = await a.store.chronicle.audit_page()
        assert [(one.id, one.of, one.outcome, one.reason) for one in page.entries] == [
            (second.id, first.id, "failed", "it has ended"),
            (first.id, "", "", ""),
        ]
        assert page.entries[0].preview == second.preview
        assert page.next == ""

    async def test_what_is_refused_pushes_out_nothing_that_was_done(self, bench: Bench) -> None:
        a, b = await bench.connect("a"), await bench.connect("b")
        await a.store.chronicle.append_audit(entry(1))
        for number in range(2, REFUSALS_KEPT + 20):
            await b.store.chronicle.append_audit(entry(number, outcome="refused"))
        await a.store.chronicle.append_audit(entry(REFUSALS_KEPT + 20))
        found, before = list[str](), ""
        while True:
            page = await a.store.chronicle.audit_page(before, 400)
            found += [one.target for one in page.entries]
            before = page.next
            if not before:
                break
        kept = range(REFUSALS_KEPT + 19, 19, -1)
        assert found == [f"job {n}" for n in (REFUSALS_KEPT + 20, *kept, 1)]

    async def test_what_was_done_and_what_was_refused_is_one_list(self, bench: Bench) -> None:
        a = await bench.connect("a")
        for number in range(12):
            # Several within a millisecond.
            outcome = "refused" if number % 3 == 1 else ""
            await a.store.chronicle.append_audit(entry(number, outcome=outcome))
            if number % 5 == 4:
                bench.clock.advance(1)
        for limit in range(1, 5):
            found, before = list[str](), ""
            while True:
                page = await a.store.chronicle.audit_page(before, limit)
                assert len(page.entries) <= limit
                found += [one.id for one in page.entries]
                before = page.next
                if not before:
                    break
            assert sorted(found) == [f"{n:08x}" for n in range(12)]

    async def test_a_place_in_the_audit_that_is_none_is_refused(self, bench: Bench) -> None:
        a = await bench.connect("a")
        for text in ("x", "1", "1-2-3", "-1-0", " 1-0", "1-0\n", "9" * 30 + "-0"):
            try:
                await a.store.chronicle.audit_page(text)
            except ConfigurationError:
                continue
            raise AssertionError(f"{text!r} is taken for a place")

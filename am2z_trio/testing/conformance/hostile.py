"""Hostile text: what a user names is data to a store, never a key, a command or a pattern."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.records import PARENT_ENDED, CancelRequest

from .bench import Bench
from .builders import commit, ids_of, job, settled, version

HOSTILE: Final = (
    " ",
    "{}",
    "{other:0}:job:x",
    "a:b",
    "\r\nFLUSHALL\r\n",
    "\0",
    "\u202egnirts\u202c",
    "~tilde",
    "%s%d%%",
    "ünïcödé 🦊",
    "x" * 10_240,
    "line\nline",
    "'); redis.call('FLUSHALL') --",
)


class HostileTextCases:
    """Names that would do harm in a store that spells them out."""

    async def test_any_text_will_do_for_ids_sessions_and_reasons(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.watch_events(True)
        for text in HOSTILE:
            await a.store.enqueue([job(text, session=text, origin="a")])
            grant = await a.claim_one()
            assert (grant.spec.id, grant.spec.session) == (text, text)
            assert await a.store.cancel(text, text) == "active"
            assert await a.heard() == [CancelRequest(text, grant.token, text)]
            await a.settle(grant, commit=commit(text))
            assert await a.state(text) == version(1, text)
            assert await a.heard() == [settled(text, "completed")]
            assert (await a.view(text)).id == text
        assert {(event.job, event.session) for event in await a.events()} == {(t, t) for t in HOSTILE}

    async def test_an_id_that_looks_like_a_place_of_another_job_is_but_an_id(self, bench: Bench) -> None:
        a = await bench.node("a")
        shapes = [
            "p:children",
            "p/c:children",
            "p/c/d",
            "children:p",
            "job:p",
            "p\0",
            "p\0001",
            "p@s",
            "/p",
            "*",
        ]
        await a.store.enqueue([job("p"), *(job(shape) for shape in shapes)])
        parent, *others = await a.claim(99)
        assert ids_of([parent, *others]) == ["p", *shapes]
        await a.store.enqueue([job("p/c", "calls", parent="p", origin="a")])
        (child,) = await a.claim(9, "calls")
        for other in others:
            await a.settle(other)
            assert await a.status(other.spec.id) == "completed"
        assert await a.status("p") == await a.status("p/c") == "active"
        assert await a.heard() == []
        await a.settle(parent)
        assert await a.heard() == [CancelRequest("p/c", child.token, PARENT_ENDED)]

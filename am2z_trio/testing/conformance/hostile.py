"""Hostile text: what a user names is data to a store, never a key, a command or a pattern."""

from __future__ import annotations

from typing import Final

from am2z_trio.model.records import CancelRequest

from .bench import Bench
from .builders import commit, job, settled, version

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

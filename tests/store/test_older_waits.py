"""Waits of jobs between nodes of this version and of the one before, which packs all of a job in one field.

And what many waits cost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from am2z_trio.concurrency import current_host
from am2z_trio.model.records import MOST_WAITS, Grant, Settlement, Signal, Wait
from am2z_trio.store.redis import agreed, bundle, keys, scripts
from am2z_trio.store.redis.begun import settle_call
from am2z_trio.store.redis.bundle import Bundler
from am2z_trio.store.redis.store import RedisStore
from am2z_trio.testing.conformance import Bench, job
from am2z_trio.testing.conformance.bench import Node
from am2z_trio.testing.conformance.many_waits import MANY, packed, waits_of
from am2z_trio.testing.conformance.waits import OPEN, ask, begun, park, sent, signal, wait_for
from am2z_trio.wire.scripts import Script
from tests.store.test_conformance import RedisBackend

pytestmark = pytest.mark.anyio

BEFORE: Final = Path(__file__).parent / "before"
"""The Lua of waits as it was."""

OF_BEFORE: Final = {"steps/waits": "steps", "waits/wait": "wait", "waits/signal": "signal"}


class Older:
    """A node of the version before: what it does of waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def read(name: str, now: Callable[[str], str] = bundle.read) -> str:
            if name not in OF_BEFORE:
                return now(name)
            text = (BEFORE / f"{OF_BEFORE[name]}.lua").read_text(encoding="utf-8")
            return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))

        with monkeypatch.context() as patch:
            patch.setattr(bundle, "read", read)
            bundle._steps.cache_clear()
            bundler = Bundler(agreed.rendered())
            self.wait, self.signal, self.settle = (
                self._made(bundler, script) for script in (scripts.WAIT, scripts.SIGNAL, scripts.SETTLE)
            )
        bundle._steps.cache_clear()
        assert "open_waits" in self.signal.source
        assert "is_counted" not in self.signal.source

    def _made(self, bundler: Bundler, script: Script) -> Script:
        source = bundler.script(script.name, scripts.BUNDLER.signature(script)).source
        return Script(script.name, source, least=script.least, step=script.step)

    async def asks(self, node: Node, grant: Grant, wait: Wait) -> list[Any]:
        store = node.store
        assert isinstance(store, RedisStore)
        ms = -1 if wait.seconds is None else round(wait.seconds * 1000)
        args = (grant.spec.id, grant.token, wait.key, wait.name, ms)
        answer: list[Any] = await store.link.eval(self.wait, store.link.clock, *args)
        return answer

    async def signals(self, node: Node, signal: Signal) -> None:
        store = node.store
        assert isinstance(store, RedisStore)
        args = ("j", signal.op, signal.name, signal.value)
        assert await store.link.eval(self.signal, *args) == b"kept"

    async def parks(self, node: Node, grant: Grant, waits: list[Wait]) -> None:
        store = node.store
        assert isinstance(store, RedisStore)
        reason = "\n".join(wait.key for wait in waits)
        parked = Settlement(id=grant.spec.id, token=grant.token, outcome="parked", reason=reason)
        call = settle_call(store.link.clock, (3_600_000, 300), (3_600_000, 2), [parked])
        assert await store.link.eval_records(*call._replace(script=self.settle)) == [b"parked"]


@pytest.fixture
def older(monkeypatch: pytest.MonkeyPatch) -> Older:
    return Older(monkeypatch)


@pytest.fixture
async def bench(redis_url: str, redis_server: Any) -> AsyncIterator[Bench]:
    async with current_host().open_nursery() as nursery:
        yield Bench(RedisBackend(redis_url, redis_server), nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("many", [3, 40])
async def test_a_job_that_an_older_node_has_parked_goes_on_with_a_newer_one(bench, older, many):
    a, waits = await bench.node("a"), waits_of(MANY[:many], seconds=60.0)
    await a.store.enqueue([job()])
    grant = await a.claim_one()
    for wait in waits:
        assert (await older.asks(a, grant, wait))[0] == b"open"
    await older.parks(a, grant, waits)
    (row,) = await a.store.inspection.rows(["j"])
    assert row.shown_as == "parked"
    assert [wait.name for wait in row.waits] == [wait.name for wait in waits[:5]]
    bench.clock.advance(20.0)
    await a.store.waits.signal("j", signal("else", "else"))
    assert await a.status("j") == "later"
    await a.store.waits.signal("j", signal("x", "go-02"))
    assert await a.status("j") == "waiting"
    grant = await a.claim_one()
    for wait in waits:
        answer = await ask(a, grant, wait)
        assert (answer.status, answer.left) == (("signalled", None) if wait.key == "02" else ("open", 40.0))


@pytest.mark.parametrize("many", [3, 40])
async def test_a_job_that_a_newer_node_has_parked_goes_on_with_an_older_one(bench, older, many):
    a, waits = await bench.node("a"), waits_of(MANY[:many], seconds=60.0)
    await a.store.enqueue([job()])
    await packed(a, *waits)
    bench.clock.advance(20.0)
    await older.signals(a, signal("else", "else"))
    assert await a.status("j") == "later"
    await older.signals(a, signal("x", "go-02"))
    assert await a.status("j") == "waiting"
    grant = await a.claim_one()
    for wait in waits:
        answer = await older.asks(a, grant, wait)
        assert answer == ([b"signalled", b"x"] if wait.key == "02" else [b"open", 40_000])
    # It waits for something else, too, and parks; a newer node knows both.
    late = wait_for("late", key="late")
    assert (await older.asks(a, grant, late))[0] == b"open"
    await older.parks(a, grant, [late, *waits[:2], *waits[3:]])
    await a.store.waits.signal("j", signal("again", "go-02"))
    assert await a.status("j") == "later"
    await a.store.waits.signal("j", signal("y", "late"))
    assert await a.status("j") == "waiting"
    grant = await a.claim_one()
    assert await ask(a, grant, late) == sent("y")
    assert (await ask(a, grant, waits[0])).left == 40.0
    await a.store.waits.signal("j", signal("z", "go-01"))
    assert await ask(a, grant, waits[1]) == sent("z")


async def test_a_newer_node_that_is_lost_leaves_few_waits_to_an_older_one_as_they_are(bench, older):
    """And of many none: they begin anew there. Both are known to a newer one after that."""
    a, b = await bench.node("a"), await bench.node("b")
    await a.store.enqueue([job(max_stalled=9)])
    few, many = waits_of(MANY[:3], seconds=600.0), waits_of(seconds=600.0)
    await begun(a, *few, parks=False)
    await bench.crash(a)
    await bench.outlast(b)
    await b.store.tick()
    grant = await b.claim_one()
    left = (await older.asks(b, grant, few[0]))[1]
    assert left < 600_000
    for wait in many:
        assert (await ask(b, grant, wait)).status == "open"
    await bench.crash(b)
    c = await bench.node("c")
    await bench.outlast(c)
    await c.store.tick()
    bench.clock.advance(5.0)
    grant = await c.claim_one()
    assert (await older.asks(c, grant, many[7]))[1] == 600_000
    # What each of both has begun is there, and since it began first.
    for wait in many:
        left = (await ask(c, grant, wait)).left
        assert left is not None
        assert left < 600.0
    assert await ask(c, grant, wait_for("new", key="new")) == OPEN_OF_MANY


OPEN_OF_MANY: Final = msgspec.structs.replace(OPEN, many=True)


async def test_what_one_wait_costs_does_not_grow_with_their_number(bench, redis_server):
    """Neither the commands that a call sends, nor what these have to read."""
    a = await bench.node()
    await a.store.enqueue([job(session="s")])
    grant, waits = await a.claim_one(), waits_of([f"{n:03}" for n in range(MOST_WAITS - 10)])

    def sent_commands() -> int:
        with redis_server.client() as admin:
            return sum(int(found["calls"]) for found in admin.info("commandstats").values())

    costs = list[int]()
    for wait in waits:
        before = sent_commands()
        assert (await ask(a, grant, wait)).status == "open"
        costs.append(sent_commands() - before)
    assert costs[-1] <= costs[0] + 2
    with redis_server.client() as admin:
        box = keys.spell("am2z", "waits", "j")
        fields: Any = admin.hgetall(box)
    assert len(fields) > 2 * len(waits)
    assert max(map(len, fields.values())) < 64
    await a.store.waits.pack("j", grant.token, [wait.key for wait in waits])
    await park(a, grant, *waits)
    before = sent_commands()
    await a.store.waits.signal("j", signal("x", "else"))
    assert sent_commands() - before <= 20
    assert await a.status("j") == "later"

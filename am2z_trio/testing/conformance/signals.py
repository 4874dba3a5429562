"""Signals: to jobs that wait for them, and to sessions."""

from __future__ import annotations

from am2z_trio.model.records import KNOWN_SIGNALS, MOST_SIGNAL_BYTES, MOST_SIGNALS, Signalled

from .bench import Bench
from .builders import job
from .hostile import HOSTILE
from .waits import OPEN, TIMED_OUT, ask, begun, park, sent, signal, wait_for


class SignalCases:
    """Who hears a signal, when, and how often."""

    # --- signals ------------------------------------------------------------------------------

    async def test_a_signal_lets_the_job_go_on_that_is_parked_for_it(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job("j"), job("k")])
        await begun(a, wait_for())
        assert await a.status("j") == "later"
        assert await b.store.waits.signal("j", signal("yes")) == "kept"
        assert await a.status("j") == "waiting"
        grant = await b.claim_one()
        assert (grant.spec.id, grant.deliveries) == ("j", 2)
        assert await ask(b, grant, wait_for()) == sent("yes")
        assert await ask(b, grant, wait_for()) == sent("yes")

    async def test_a_signal_wakes_who_is_parked_on_the_queue(self, bench: Bench) -> None:
        a = await bench.node("a")
        await a.store.enqueue([job()])
        await begun(a, wait_for())
        await a.claim()
        await a.heard()
        await a.store.waits.signal("j", signal())
        assert [type(message).__name__ for message in await a.heard()] == ["Wake"]

    async def test_a_signal_before_the_wait_is_kept(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        assert await a.store.waits.signal("j", signal("early")) == "kept"
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for(seconds=0.0)) == sent("early")
        assert (await ask(a, grant, wait_for(key="2"))) == OPEN

    async def test_a_signal_between_a_wait_and_its_park_is_not_missed(self, bench: Bench) -> None:
        a, b = await bench.node("a"), await bench.node("b")
        await a.store.enqueue([job()])
        grant = await begun(a, wait_for(), parks=False)
        await a.heard()
        await b.store.waits.signal("j", signal())
        assert await a.heard() == [Signalled("j", grant.token, "go")]
        await park(a, grant, wait_for())
        assert await a.status("j") == "waiting"
        assert await ask(b, await b.claim_one(), wait_for()) == sent("x")

    async def test_each_signal_is_taken_by_one_wait_in_their_order(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        for value in ("1", "2", "3"):
            await a.store.waits.signal("j", signal(value))
        await a.store.waits.signal("j", signal("other", "stop"))
        grant = await a.claim_one()
        taken = [await ask(a, grant, wait_for(key=f"k{number}")) for number in range(3)]
        assert taken == [sent("1"), sent("2"), sent("3")]
        assert await ask(a, grant, wait_for(key="more")) == OPEN
        assert await ask(a, grant, wait_for("stop", key="stop")) == sent("other")

    async def test_a_signal_that_is_sent_again_is_there_once(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        for _ in range(2):
            assert await a.store.waits.signal("j", signal("1")) == "kept"
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for()) == sent("1")
        assert await a.store.waits.signal("j", signal("1")) == "kept"
        assert await ask(a, grant, wait_for(key="2")) == OPEN
        await a.settle(grant)
        assert await a.store.waits.signal("j", signal("1")) == "kept"
        assert await a.store.waits.signal("j", signal("2")) == "ended"
        assert await a.store.waits.signal("unknown", signal("1")) == "gone"

    async def test_so_many_are_known_that_are_sent_again(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        for number in range(KNOWN_SIGNALS):
            await a.store.waits.signal("j", signal("v", op=f"op-{number}"))
        await a.store.waits.signal("j", signal("v", op="op-0"))
        grant = await a.claim_one()
        for number in range(KNOWN_SIGNALS):
            assert await ask(a, grant, wait_for(key=f"{number}")) == sent("v")
        assert await ask(a, grant, wait_for(key="more")) == OPEN

    async def test_another_signal_lets_nobody_go_on(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await begun(a, wait_for())
        assert await a.store.waits.signal("j", signal(name="stop")) == "kept"
        assert await a.status("j") == "later"

    async def test_a_job_that_is_tried_again_later_is_not_hurried_by_a_signal(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await begun(a, wait_for(seconds=1.0))
        bench.clock.advance(1.0)
        await a.settle(await a.claim_one(), "retry", delay=60.0)
        await a.store.waits.signal("j", signal())
        assert await a.status("j") == "later"
        bench.clock.advance(60.0)
        grant = await a.claim_one()
        assert (grant.attempt, await ask(a, grant, wait_for(seconds=1.0))) == (2, sent("x"))

    async def test_a_wait_that_has_timed_out_hears_no_signal_any_more(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job()])
        await begun(a, wait_for(seconds=5.0))
        bench.clock.advance(5.0)
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for(seconds=5.0)) == TIMED_OUT
        await a.store.waits.signal("j", signal())
        assert await ask(a, grant, wait_for(seconds=5.0)) == TIMED_OUT
        assert await ask(a, grant, wait_for(seconds=5.0, key="2")) == sent("x")

    async def test_no_more_signals_are_kept_than_may_be(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j"), job("k")])
        for number in range(MOST_SIGNALS):
            assert await a.store.waits.signal("j", signal(f"{number}", f"n{number % 3}")) == "kept"
        assert await a.store.waits.signal("j", signal("more")) == "full"
        large = "x" * (MOST_SIGNAL_BYTES // 2)
        assert await a.store.waits.signal("k", signal(large, op="1")) == "kept"
        assert await a.store.waits.signal("k", signal(large + "x", op="2")) == "full"
        assert await a.store.waits.signal("k", signal(large, op="3")) == "kept"
        assert await a.store.waits.signal("k", signal("x", op="4")) == "full"
        first, second = await a.claim(2)
        assert await ask(a, first, wait_for("n0")) == sent("0")
        assert await a.store.waits.signal("j", signal("more")) == "kept"
        assert await ask(a, second, wait_for()) == sent(large)
        assert await a.store.waits.signal("k", signal("x", op="4")) == "kept"

    async def test_signals_may_be_of_any_name(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(session="s")])
        grant = await a.claim_one()
        for number, name in enumerate(HOSTILE):
            if name:
                await a.store.waits.signal("j", signal(name, name, op=f"{number}"))
                assert await ask(a, grant, wait_for(name, key=f"k{number}")) == sent(name)
                await a.store.waits.signal_session("s", signal(name, name, op=f"{number}"))
                assert await ask(a, grant, wait_for(name, key=f"s{number}")) == sent(name)

    # --- signals to a session -----------------------------------------------------------------

    async def test_a_signal_to_a_session_is_taken_by_the_job_that_has_waited_longest(
        self, bench: Bench
    ) -> None:
        a = await bench.node()
        await a.store.enqueue([job(id, session="s") for id in ("j", "k", "l")])
        for _ in range(3):
            await begun(a, wait_for())
        assert await a.store.waits.signal_session("s", signal("1")) == "kept"
        assert [await a.status(id) for id in ("j", "k", "l")] == ["waiting", "later", "later"]
        assert await a.store.waits.signal_session("s", signal("2")) == "kept"
        assert [await a.status(id) for id in ("j", "k", "l")] == ["waiting", "waiting", "later"]
        grants = {grant.spec.id: grant for grant in await a.claim(3)}
        # Whichever asks first.
        assert await ask(a, grants["k"], wait_for()) == sent("1")
        assert await ask(a, grants["j"], wait_for()) == sent("2")
        assert await ask(a, grants["j"], wait_for(key="2")) == OPEN

    async def test_one_that_has_not_waited_as_long_takes_none_before(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("k", session="s")])
        await begun(a, wait_for())
        await a.store.waits.signal_session("s", signal())
        grants = {grant.spec.id: grant for grant in await a.claim(2)}
        assert await ask(a, grants["k"], wait_for()) == OPEN
        await park(a, grants["k"], wait_for())
        assert await a.status("k") == "later"
        assert await ask(a, grants["j"], wait_for()) == sent("x")

    async def test_a_signal_to_a_session_waits_for_a_job(self, bench: Bench) -> None:
        a = await bench.node()
        assert await a.store.waits.signal_session("s", signal("1")) == "kept"
        assert await a.store.waits.signal_session("s", signal("1")) == "kept"
        await a.store.enqueue([job("j", session="s"), job("k", session="other")])
        grants = {grant.spec.id: grant for grant in await a.claim(2)}
        assert await ask(a, grants["k"], wait_for()) == OPEN
        assert await ask(a, grants["j"], wait_for()) == sent("1")
        assert await ask(a, grants["j"], wait_for(key="2")) == OPEN

    async def test_the_next_one_takes_what_the_first_does_not(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job(id, session="s") for id in ("j", "k", "l")])
        for _ in range(3):
            await begun(a, wait_for())
        await a.store.waits.signal_session("s", signal())
        await a.store.cancel("j", "not wanted")
        assert await a.status("k") == "waiting"
        await a.settle(await a.claim_one(), "failed", result=b"\xc0")
        assert await a.status("l") == "waiting"
        assert await ask(a, await a.claim_one(), wait_for()) == sent("x")

    async def test_who_waits_for_it_no_more_leaves_it_to_the_next_one(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s"), job("k", session="s")])
        first = await begun(a, wait_for("go", key="1"), wait_for("stop", key="2"), parks=False)
        await begun(a, wait_for("go", key="1"))
        await park(a, first, wait_for("stop", key="2"))
        await a.store.waits.signal_session("s", signal())
        assert [await a.status(id) for id in ("j", "k")] == ["later", "waiting"]

    async def test_a_signal_to_the_job_comes_before_those_to_its_session(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.enqueue([job("j", session="s")])
        await a.store.waits.signal_session("s", signal("to all"))
        await a.store.waits.signal("j", signal("to it"))
        grant = await a.claim_one()
        assert await ask(a, grant, wait_for(key="1")) == sent("to it")
        assert await ask(a, grant, wait_for(key="2")) == sent("to all")

    async def test_signals_to_a_session_go_with_its_stop(self, bench: Bench) -> None:
        a = await bench.node()
        await a.store.waits.signal_session("s", signal("1"))
        await a.store.stop_session("s", running=True, refuse=0.0)
        await a.store.enqueue([job("j", session="s")])
        assert await ask(a, await a.claim_one(), wait_for()) == OPEN

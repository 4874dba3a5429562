"""A composition gets on before its parts' outcomes are recorded, and is run again where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from am2z_trio import Context, batch, chain, parallel, processor, route
from am2z_trio.engine.runtime.runtime import Runtime
from am2z_trio.engine.work import settler
from am2z_trio.model.errors import ServerReplyError
from am2z_trio.model.records import Enqueue, EnqueueAnswer, SettleAnswer, Settlement
from tests.engine.conftest import MakeRuntime

pytestmark = pytest.mark.anyio

State = dict[str, list[int]]

RUNS: dict[str, int] = {}
"""How often each has been run."""


def part(name: str) -> Any:
    """Adds the number of its run to its own list."""

    async def work(state: State) -> State:
        RUNS[name] = RUNS.get(name, 0) + 1
        return {**state, name: [*state.get(name, []), RUNS[name]]}

    return processor(name=name)(work)


A, B, C = part("a"), part("b"), part("c")
CHAIN = chain("chained", [A, B, C])
SIDE_BY_SIDE = parallel("side by side", [A, B, C])
NESTED = chain("nested", [CHAIN, part("d")])
ROUTED = route("routed", len, {0: CHAIN})
MAPPED = batch("mapped", A, [{}, {"x": [1]}])


@pytest.fixture(autouse=True)
def none_has_run() -> None:
    RUNS.clear()


class Watched:
    """Sees what goes to the store, and may do something first."""

    def __init__(self, runtime: Runtime, before: Callable[[str, Settlement], bool] | None = None) -> None:
        """`before` is told of each settlement, and of whose job it is; it answers whether that job is to be
        taken away first, as if its node had handed it back."""
        self.settlements: list[Settlement] = []
        self.answers: dict[str, list[str]] = {}
        """Of what was settled, by processor."""
        self.refused: list[str] = []
        """Of what came in, whose jobs were not accepted."""
        self._node = runtime.node
        self._before = before
        store = runtime.node.store
        self._settle, self._enqueue = store.settle, store.enqueue
        store.settle, store.enqueue = self.settle, self.enqueue  # type: ignore[method-assign, assignment]
        # All of it is to pass here.
        for begin in ("begin_settle", "begin_enqueue"):
            setattr(store, begin, _begin_nothing)

    async def settle(self, settlements: Sequence[Settlement]) -> list[SettleAnswer]:
        claims = {claim.grant.spec.id: claim.grant.spec.processor for claim in self._node.claims.all()}
        for one in settlements:
            if self._before is not None and self._before(claims[one.id], one):
                back = Settlement(id=one.id, token=one.token, outcome="released")
                await self._settle([back])
        self.settlements += settlements
        answers = await self._settle(settlements)
        for one, answer in zip(settlements, answers, strict=True):
            self.answers.setdefault(claims[one.id], []).append(f"{answer.status} {answer.outcome}".strip())
        return answers

    async def enqueue(self, jobs: Sequence[Enqueue], *at_rest: Any) -> list[EnqueueAnswer]:
        answers = await self._enqueue(jobs, *at_rest)
        for job, answer in zip(jobs, answers, strict=True):
            if answer.status not in ("queued", "dup"):
                self.refused.append(f"{job.spec.processor} {answer.status}")
        return answers


def _begin_nothing(*_: object) -> None:
    """What is not begun is waited for."""


def taken_away(*names: str) -> Callable[[str, Settlement], bool]:
    """Whether it is the first outcome of one of these."""
    yet = set(names)

    def is_first(name: str, settlement: Settlement) -> bool:
        first = name in yet and settlement.outcome == "completed"
        if first:
            yet.remove(name)
        return first

    return is_first


ONCE = {"a": [1], "b": [1], "c": [1]}


@pytest.mark.parametrize(
    ("made", "expected", "built"),
    [
        (CHAIN, ONCE, 1),
        (SIDE_BY_SIDE, ONCE, 3),
        (NESTED, {**ONCE, "d": [1]}, 1),
        (ROUTED, ONCE, 1),
        (MAPPED, [{"a": [1]}, {"a": [2], "x": [1]}], 2),
    ],
    ids=lambda given: getattr(given, "name", None),
)
async def test_what_it_comes_to_says_upon_which_outcomes_it_is_built(
    made: Any, expected: Any, built: int, make_runtime: MakeRuntime
) -> None:
    async with make_runtime() as runtime:
        runtime.register(made)
        watched = Watched(runtime)
        state: Any = {"x": [1]} if made is MAPPED else {}
        with anyio.fail_after(20):
            found = (await runtime.execute(made, state)).unwrap()
    if made is MAPPED:
        found = sorted(found, key=len)
        found, expected = [sorted(one) for one in found], [sorted(one) for one in expected]
    assert found == expected
    assert max(len(one.builds_on) for one in watched.settlements) == built
    assert watched.refused == []
    assert {answer for answers in watched.answers.values() for answer in answers} == {"applied completed"}


async def test_a_part_whose_outcome_is_not_recorded_is_run_again_and_nothing_is_built_on_it(
    make_runtime: MakeRuntime,
) -> None:
    async with make_runtime() as runtime:
        runtime.register(CHAIN)
        watched = Watched(runtime, taken_away("a"))
        with anyio.fail_after(20):
            found = (await runtime.execute(CHAIN, {})).unwrap()
    # The next part has never seen what came to nothing.
    assert found == {"a": [2], "b": [1], "c": [1]}
    assert RUNS == {"a": 2, "b": 1, "c": 1}
    assert watched.refused == ["b unfounded"]
    assert watched.answers["chained"] == ["applied released", "applied completed"]


@pytest.mark.parametrize(("made", "last"), [(CHAIN, "c"), (SIDE_BY_SIDE, "b")])
async def test_an_outcome_that_is_built_on_what_is_not_recorded_is_not_its_outcome(
    made: Any, last: str, make_runtime: MakeRuntime
) -> None:
    async with make_runtime() as runtime:
        runtime.register(made)
        watched = Watched(runtime, taken_away(last))
        with anyio.fail_after(20):
            found = (await runtime.execute(made, {})).unwrap()
    assert found == {**ONCE, last: [2]}
    assert {"a": 1, "b": 1, "c": 1} | {last: 2} == RUNS
    # It is told nothing early any more.
    assert watched.answers[made.name] == ["unfounded", "applied released", "applied completed"]
    assert watched.settlements[-1].builds_on == ()


async def test_a_composition_within_another_is_not_recorded_before_its_parts(
    make_runtime: MakeRuntime,
) -> None:
    async with make_runtime() as runtime:
        runtime.register(NESTED)
        watched = Watched(runtime, taken_away("c"))
        with anyio.fail_after(20):
            found = (await runtime.execute(NESTED, {})).unwrap()
    assert found == {**ONCE, "c": [2], "d": [1]}
    assert watched.refused == ["d unfounded"]
    assert watched.answers["chained"][-1] == watched.answers["nested"][-1] == "applied completed"


async def test_a_part_that_the_store_refuses_for_now_is_waited_for(
    make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler, "RETRY_AFTER", 0.001)
    refusals = 0

    def refuse(name: str, settlement: Settlement) -> bool:
        nonlocal refusals
        if name == "a" and refusals < 3:
            refusals += 1
            raise ServerReplyError("Redis answered: OOM", context={"reply": "OOM"})
        return False

    async with make_runtime() as runtime:
        runtime.register(CHAIN)
        watched = Watched(runtime, refuse)
        with anyio.fail_after(20):
            found = (await runtime.execute(CHAIN, {})).unwrap()
    assert found == ONCE
    assert RUNS == {"a": 1, "b": 1, "c": 1}
    assert watched.refused == ["b unfounded"]


async def test_the_code_of_a_user_sees_recorded_outcomes_alone(make_runtime: MakeRuntime) -> None:
    seen: list[str] = []

    async def look(ctx: Any) -> None:
        ids = [one.id for one in watched.settlements if not one.builds_on]
        seen.extend(view.status for view in await runtime.node.store.view(ids) if view is not None)

    @processor(name="calls")
    async def calls(state: State, ctx: Context) -> State:
        state = await ctx.call(A, state)
        await look(ctx)
        state = await ctx.call(CHAIN, state, inline=True)
        await look(ctx)
        return state

    async def merge(state: State, results: list[State]) -> State:
        await look(None)
        return results[0]

    merged = parallel("merged", [A, B], merge=merge)
    async with make_runtime() as runtime:
        runtime.register_many([calls, CHAIN, merged])
        watched = Watched(runtime)
        with anyio.fail_after(20):
            (await runtime.execute(calls, {})).unwrap()
            (await runtime.execute(merged, {})).unwrap()
        assert len(seen) > 4
        assert set(seen) == {"completed"}
        assert all(not one.builds_on for one in watched.settlements)


async def test_a_large_outcome_is_waited_for(make_runtime: MakeRuntime) -> None:
    @processor(name="large")
    async def large(state: str) -> str:
        return "x" * settler.EARLY_BYTES

    async with make_runtime() as runtime:
        runtime.register(chain("of large ones", [large]))
        watched = Watched(runtime)
        with anyio.fail_after(20):
            (await runtime.execute("of large ones", "")).unwrap()
    assert all(not one.builds_on for one in watched.settlements)


async def test_a_composition_that_is_cancelled_meanwhile_ends_as_such(make_runtime: MakeRuntime) -> None:
    """Also where what it was told has come to nothing."""
    async with make_runtime() as runtime:
        runtime.register(CHAIN)
        job = ""

        def cancel(name: str, settlement: Settlement) -> bool:
            if name == "c" and RUNS["c"] == 1:
                runtime.node.store.cancel_nowait(job, "unwanted")
                return True
            return False

        Watched(runtime, cancel)
        handle = await runtime.submit(CHAIN, {})
        job = handle.id
        with anyio.fail_after(20):
            result = await handle.result()
    assert result.error is not None
    assert result.error.message == "unwanted"

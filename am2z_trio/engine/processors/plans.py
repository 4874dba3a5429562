"""What compositions are made of: plans as plain data, and the one interpreter that carries them out.

It does so with `ctx.call`, so every part is a durable call: a composition that is run again, after a crash
or a failure, does not run the parts again that have completed. Parts that are side by side are waited for in
one task, however many they are; only inline ones have tasks of their own, as their code runs there.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeVar, cast

import anyio
import msgspec

from am2z_trio.model.arguments import Options
from am2z_trio.model.callables import awaited
from am2z_trio.model.checks import keep, require_text
from am2z_trio.model.errors import (
    AM2ZError,
    ParallelError,
    RouteNotFoundError,
    StepFailedError,
    ValidationError,
)
from am2z_trio.model.limits import KIB, MAX_SESSION_BYTES
from am2z_trio.model.telling import attempt, class_of, cut, text_of

from .context import CallRequest, Context
from .merge import merge_changes
from .processor import Processor, name_of
from .result import ProcessorResult

P = TypeVar("P")

Merge = Callable[[Any, list[Any]], Any]

MOST_REASONS: Final = 20
"""Failures of a parallel that its message repeats; all of them are its causes."""


MOST_EARLY: Final = 100
"""Parts side by side whose outcomes may be told before they are recorded: the store looks at each of them
when it is told what they come to. A user's `merge` gets recorded ones alone."""


MOST_PROMISED: Final = 10
"""Parts side by side that a node may begin at once: the store looks at the queue of each of them."""


class ChainPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One after the other, each on what the one before returned."""

    steps: tuple[Processor[Any], ...]
    inline: bool


class ParallelPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All at once, each on the same state; `merge` makes one state of theirs."""

    children: tuple[Processor[Any], ...]
    merge: Merge | None
    collect: bool
    inline: bool


class RoutePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The one that `key(state)` names, or the fallback."""

    key: Callable[[Any], Any]
    routes: dict[Any, Processor[Any]]
    fallback: Processor[Any] | None
    inline: bool


class BatchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One processor on every payload at once; `merge` makes one state of the results, or they are it."""

    processor: Processor[Any]
    payloads: Callable[[Any], Any] | tuple[Any, ...]
    merge: Merge | None
    inline: bool


class AdaptPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A processor of another state: `into` makes that of this one, and `back` makes the new one of both."""

    processor: Processor[Any]
    into: Callable[[Any], Any]
    back: Callable[[Any, Any], Any]
    inline: bool


Plan = AdaptPlan | ChainPlan | ParallelPlan | RoutePlan | BatchPlan


class Payload(Options, Generic[P], frozen=True, kw_only=False):
    """A batch's payload that names a session of its own, in which its result is committed."""

    state: P
    session: str

    def __post_init__(self) -> None:
        keep(self, "session", require_text("Payload.session", self.session, most=MAX_SESSION_BYTES))


def first_of(plan: Plan) -> tuple[Processor[Any], ...]:
    """Parts that are jobs of their own, and are called at once and on what the composition is given."""
    if isinstance(plan, ChainPlan) and not plan.inline:
        return plan.steps[:1]
    if isinstance(plan, ParallelPlan) and not plan.inline and len(plan.children) <= MOST_PROMISED:
        return plan.children
    return ()


async def run(plan: Plan, state: Any, ctx: Context) -> Any:
    """Carry a plan out."""
    if isinstance(plan, ChainPlan):
        return await _run_chain(plan, state, ctx)
    if isinstance(plan, ParallelPlan):
        children = plan.children
        early = plan.merge is None and len(children) <= MOST_EARLY
        results = await _run_all(
            len(children),
            lambda i: CallRequest(children[i], state, str(i), inline=plan.inline, early=early),
            ctx,
            inline=range(len(children)) if plan.inline else (),
            collect=plan.collect,
        )
        if plan.merge is not None:
            return await awaited(plan.merge(state, results))
        return merge_changes(state, [child.name for child in children], results)
    if isinstance(plan, RoutePlan):
        return await _run_route(plan, state, ctx)
    if isinstance(plan, AdaptPlan):
        given = await awaited(plan.into(state))
        returned = await ctx.call(plan.processor, given, key="adapted", inline=plan.inline)
        return await awaited(plan.back(state, returned))
    payloads = await _payloads(plan, state, ctx)
    early = plan.merge is None and len(payloads) <= MOST_EARLY
    results = await _run_all(
        len(payloads),
        lambda i: _batch_call(plan, payloads[i], i, early=early),
        ctx,
        inline=[i for i, load in enumerate(payloads) if not isinstance(load, Payload)] if plan.inline else (),
        collect=False,
    )
    return results if plan.merge is None else await awaited(plan.merge(state, results))


async def _payloads(plan: BatchPlan, state: Any, ctx: Context) -> Sequence[Any]:
    if not callable(plan.payloads):
        return plan.payloads
    given = await awaited(plan.payloads(state))
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise ValidationError(
            f"the payloads of {ctx.processor!r} are {reprlib.repr(given)}, and no list of states",
            context={"processor": ctx.processor},
        )
    return list(cast("Iterable[object]", given))


def _batch_call(plan: BatchPlan, payload: Any | Payload[Any], index: int, *, early: bool) -> CallRequest:
    if isinstance(payload, Payload):
        state, session = payload.state, payload.session  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return CallRequest(plan.processor, state, str(index), session)
    return CallRequest(plan.processor, payload, str(index), inline=plan.inline, early=early)


async def _run_chain(plan: ChainPlan, state: Any, ctx: Context) -> Any:
    completed: list[str] = []
    for index, step in enumerate(plan.steps):
        try:
            state = await ctx.call_part(step, state, str(index), inline=plan.inline)
        except AM2ZError as error:
            raise _step_failed(ctx.processor, step.name, completed, state, error) from error
        completed.append(step.name)
    return state


async def _run_route(plan: RoutePlan, state: Any, ctx: Context) -> Any:
    key = await awaited(plan.key(state))
    try:
        hash(key)
    except TypeError:
        chosen = plan.fallback  # no dict has such a key
    else:
        chosen = plan.routes.get(key, plan.fallback)
    if chosen is None:
        routes = ", ".join(map(_shown_key, plan.routes))
        raise RouteNotFoundError(
            f"{ctx.processor!r} has no route {_shown_key(key)} and no fallback (routes: {cut(routes, KIB)})",
            context={"processor": ctx.processor, "key": key if isinstance(key, str) else _shown_key(key)},
        )
    return await ctx.call_part(chosen, state, "route", inline=plan.inline)


async def _run_all(
    many: int, call_of: Callable[[int], CallRequest], ctx: Context, *, inline: Sequence[int], collect: bool
) -> list[Any]:
    """Carry calls out side by side: the `inline` ones in tasks of their own, all others in this one."""
    results: list[Any] = [None] * many
    failures: dict[int, AM2ZError] = {}
    queued = sorted(set(range(many)) - set(inline)) if inline else range(many)

    async def run_inline(index: int) -> None:
        call = call_of(index)
        try:
            results[index] = await ctx.call(call.processor, call.state, key=call.key, inline=True)
        except AM2ZError as error:
            failures[index] = error
            if not collect:
                tasks.cancel_scope.cancel()

    def done(number: int, result: ProcessorResult[Any]) -> bool:
        index = queued[number]
        if result.error is None:
            results[index] = result.state
            return True
        failures[index] = result.error
        return collect

    if not inline:
        await ctx.call_each(many, call_of, done)
    else:
        async with anyio.create_task_group() as tasks:
            for index in inline:
                tasks.start_soon(run_inline, index)
            if queued:
                await ctx.call_each(len(queued), lambda number: call_of(queued[number]), done)
                if failures and not collect:
                    tasks.cancel_scope.cancel()
    if failures:
        named = {f"{name_of(call_of(i).processor)}[{i}]": failures[i] for i in sorted(failures)}
        raise _parallel_failed(ctx.processor, named, many)
    return results


def _step_failed(
    composition: str, failed: str, completed: Sequence[str], state: Any, error: AM2ZError
) -> StepFailedError:
    done = ", ".join(completed)
    step_failed = StepFailedError(
        f"{composition!r} failed at {failed!r} (completed: {done or 'nothing'}): {error.message}",
        context={"composition": composition, "failed": failed, "completed": done},
        retryable=error.retryable,
    )
    step_failed.causes = (error,)
    step_failed.partial_state = state
    return step_failed


def _parallel_failed(composition: str, failures: Mapping[str, AM2ZError], parts: int) -> ParallelError:
    names = ", ".join(failures)
    named = [f"{name}: {cut(error.message, KIB)}" for name, error in islice(failures.items(), MOST_REASONS)]
    more = len(failures) - len(named)
    reasons = "; ".join([*named, f"and {more:,} more"] if more else named)
    message = f"{len(failures)} of {parts} parts of {composition!r} failed: {reasons}"
    parallel_failed = ParallelError(
        message,
        context={"composition": composition, "failed": names, "parts": parts},
        cause=ExceptionGroup(message, list(failures.values())),
        retryable=all(error.retryable for error in failures.values()),
    )
    parallel_failed.causes = tuple(failures.values())
    return parallel_failed


def _shown_key(key: object) -> str:
    return text_of(attempt(lambda: repr(key), f"<a {class_of(key)}>"), 200)

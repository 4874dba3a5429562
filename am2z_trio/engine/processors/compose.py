"""Processors made of processors: plans as plain data, and one interpreter.

A composition is a processor: it has a queue, a timeout and a retry policy of its own, is registered with
its parts, and composes further. Its plan says what it is made of; `run` carries a plan out with
`ctx.call`, so every part is a durable call: a composition that is run again, after a crash or a
failure, does not run the parts again that have completed. Parts that are side by side are waited for in one
task, however many they are; only inline ones have tasks of their own, as their code runs there.
"""

from __future__ import annotations

import reprlib
from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import NoneType
from typing import Any, Final, Generic, TypeVar, cast, get_args, get_origin, overload

import anyio
import msgspec

from am2z_trio.model.arguments import Options, exact_arguments
from am2z_trio.model.callables import awaited, require_function
from am2z_trio.model.errors import (
    AM2ZError,
    ParallelError,
    RouteNotFoundError,
    StepFailedError,
    ValidationError,
)
from am2z_trio.model.limits import KIB, MAX_CALLS, MAX_SESSION_BYTES
from am2z_trio.model.options import QueueOptions, RetryPolicy, keep, require, require_text
from am2z_trio.model.telling import attempt, class_of, cut, text_of

from .context import CallRequest, Context
from .merge import merge_changes
from .processor import Processor, name_of
from .result import ProcessorResult

S = TypeVar("S")
P = TypeVar("P")

K = TypeVar("K", bound=Hashable)

Merge = Callable[[Any, list[Any]], Any]

NO_LIST: Final = dict[str, Any] | int | float | str | bool | None
"""Plain data that a list of records can be told from."""

MOST_REASONS: Final = 20
"""Failures of a parallel that its message repeats; all of them are its causes."""

UNSET: Final = msgspec.UNSET


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


Plan = ChainPlan | ParallelPlan | RoutePlan | BatchPlan


class Payload(Options, Generic[P], frozen=True, kw_only=False):
    """A batch's payload that names a session of its own, in which its result is committed."""

    state: P
    session: str

    def __post_init__(self) -> None:
        keep(self, "session", require_text("Payload.session", self.session, most=MAX_SESSION_BYTES))


class Composition(Processor[S], Generic[S]):
    """A processor that is made of processors."""

    __slots__ = ("plan",)

    @exact_arguments
    def __init__(
        self,
        name: str,
        plan: Plan,
        parts: Sequence[Processor[Any]],
        *,
        state_type: Any,
        timeout: float | msgspec.UnsetType | None = UNSET,
        retry: RetryPolicy | None = None,
        queue: QueueOptions | None = None,
        description: str = "",
    ) -> None:
        require(isinstance(name, str), "Processor.name", name, "must be a text")
        require(isinstance(plan, Plan), "Composition.plan", plan, "must be a plan")
        _require_processors("Composition.parts", parts)
        require(isinstance(plan.inline, bool), "Composition.inline", plan.inline, "must be True or False")
        self.plan = plan
        super().__init__(
            partial(run, plan),
            name=name,
            description=description,
            timeout=_default_timeout(plan, parts) if timeout is UNSET else timeout,
            retry=retry,
            queue=queue,
            depends_on=parts,
            state_type=state_type,
        )


@exact_arguments
def chain(
    name: str,
    steps: Sequence[Processor[S]],
    *,
    inline: bool = False,
    timeout: float | msgspec.UnsetType | None = UNSET,
    retry: RetryPolicy | None = None,
    queue: QueueOptions | None = None,
    description: str = "",
) -> Composition[S]:
    """Run processors one after the other.

    If one fails, the chain fails with a `StepFailedError` that names it and the completed ones, and
    holds the state they have reached. `inline` runs the steps where the chain runs, with no queue between
    them; they are then run again with the chain. Default timeout: all that the steps may take, their
    retries included; none if one of them has none.
    """
    _require_processors("chain.steps", steps)
    plan = ChainPlan(steps=tuple(steps), inline=inline)
    return Composition(
        name,
        plan,
        steps,
        state_type=steps[0].state_type,
        timeout=timeout,
        retry=retry,
        queue=queue,
        description=description or f"Chain of {', '.join(step.name for step in steps)}.",
    )


@exact_arguments
def parallel(
    name: str,
    children: Sequence[Processor[S]],
    *,
    merge: Callable[[S, list[S]], S | Awaitable[S]] | None = None,
    collect: bool = False,
    inline: bool = False,
    timeout: float | msgspec.UnsetType | None = UNSET,
    retry: RetryPolicy | None = None,
    queue: QueueOptions | None = None,
    description: str = "",
) -> Composition[S]:
    """Run processors side by side on the same state.

    `merge(state, results)`, plain or async, makes one state of theirs, results in the order of the children;
    by default every child's changes are taken together, and changes that contradict each other are a
    `MergeConflictError`. If one fails, the others are cancelled, unless `collect` says to wait for
    them; either way the parallel fails with a `ParallelError` that holds every failure. Default timeout:
    what the slowest child may take.
    """
    _require_processors("parallel.children", children)
    if merge is not None:
        require_function("parallel.merge", merge, "(state, results)")
    require(isinstance(collect, bool), "parallel.collect", collect, "must be True or False")
    plan = ParallelPlan(children=tuple(children), merge=merge, collect=collect, inline=inline)
    return Composition(
        name,
        plan,
        children,
        state_type=children[0].state_type,
        timeout=timeout,
        retry=retry,
        queue=queue,
        description=description or f"Parallel of {', '.join(child.name for child in children)}.",
    )


@exact_arguments
def route(
    name: str,
    key: Callable[[S], K | Awaitable[K]],
    routes: Mapping[K, Processor[S]],
    *,
    fallback: Processor[S] | None = None,
    inline: bool = False,
    timeout: float | msgspec.UnsetType | None = UNSET,
    retry: RetryPolicy | None = None,
    queue: QueueOptions | None = None,
    description: str = "",
) -> Composition[S]:
    """Run the processor that `key(state)` names, or `fallback`; neither is a `RouteNotFoundError`.

    `key` is a plain or an async function; keys are whatever a dict can have: texts, numbers, members of an
    enum, `None`, tuples. They are compared as in a dict, so `1` and `True` are one.
    """
    require_function("route.key", key, "(state)")
    require(
        isinstance(routes, Mapping) and bool(routes),
        "route.routes",
        routes,
        "must be processors by their keys",
    )
    _require_processors("route.routes", [*routes.values()])
    require(
        fallback is None or isinstance(fallback, Processor), "route.fallback", fallback, "must be a processor"
    )
    parts = [*routes.values(), *([] if fallback is None else [fallback])]
    plan = RoutePlan(key=key, routes=dict(routes), fallback=fallback, inline=inline)
    return Composition(
        name,
        plan,
        list(dict.fromkeys(parts)),
        state_type=parts[0].state_type,
        timeout=timeout,
        retry=retry,
        queue=queue,
        description=description or f"Route to {', '.join(part.name for part in parts)}.",
    )


Payloads = Iterable[P | Payload[P]]


@overload
def batch(
    name: str,
    processor: Processor[P],
    payloads: Callable[[S], Payloads[P] | Awaitable[Payloads[P]]] | Collection[P | Payload[P]],
    *,
    merge: Callable[[S, list[P]], S | Awaitable[S]],
    state_type: type[S] | Any = ...,
    inline: bool = ...,
    timeout: float | msgspec.UnsetType | None = ...,
    retry: RetryPolicy | None = ...,
    queue: QueueOptions | None = ...,
    description: str = ...,
) -> Composition[S]: ...


@overload
def batch(
    name: str,
    processor: Processor[P],
    payloads: Collection[P | Payload[P]],
    *,
    merge: None = ...,
    inline: bool = ...,
    timeout: float | msgspec.UnsetType | None = ...,
    retry: RetryPolicy | None = ...,
    queue: QueueOptions | None = ...,
    description: str = ...,
) -> Composition[list[P]]: ...


@overload
def batch(
    name: str,
    processor: Processor[P],
    payloads: Callable[[Any], Payloads[P] | Awaitable[Payloads[P]]] | Collection[P | Payload[P]],
    *,
    merge: None = ...,
    state_type: Any = ...,
    inline: bool = ...,
    timeout: float | msgspec.UnsetType | None = ...,
    retry: RetryPolicy | None = ...,
    queue: QueueOptions | None = ...,
    description: str = ...,
) -> Composition[Any]: ...


@exact_arguments
def batch(
    name: str,
    processor: Processor[Any],
    payloads: Callable[[Any], Any] | Collection[Any],
    *,
    merge: Callable[[Any, list[Any]], Any] | None = None,
    state_type: Any = UNSET,
    inline: bool = False,
    timeout: float | msgspec.UnsetType | None = UNSET,
    retry: RetryPolicy | None = None,
    queue: QueueOptions | None = None,
    description: str = "",
) -> Composition[Any]:
    """Run one processor on many payloads side by side: map, and reduce by `merge(state, results)`.

    `payloads` are a list, or a function `payloads(state)`, plain, async or a generator, that says which; one
    that is a `Payload` is run in the session it names, and committed there. `merge` is plain or async, gets
    the results in the order of the payloads, and returns the new state, which is of the `state_type` (by
    default any plain data). Without `merge` the new state is the list of the results; the batch then takes
    such a list, or any plain data that is no list, unless `state_type` says otherwise. The rest is as with
    `parallel`.
    """
    _require_processors("batch.processor", [processor])
    if callable(payloads):
        require_function("batch.payloads", payloads, "(state)", many=True)
    else:
        payloads = _listed(payloads)
    if merge is not None:
        require_function("batch.merge", merge, "(state, results)")
    if state_type is UNSET:
        state_type = Any if merge is not None else _list_of(processor.state_type)
    plan = BatchPlan(processor=processor, payloads=payloads, merge=merge, inline=inline)
    return Composition(
        name,
        plan,
        [processor],
        state_type=state_type,
        timeout=timeout,
        retry=retry,
        queue=queue,
        description=description or f"Batch of {processor.name}.",
    )


# --- the interpreter ------------------------------------------------------------------------------


async def run(plan: Plan, state: Any, ctx: Context) -> Any:
    """Carry a plan out."""
    if isinstance(plan, ChainPlan):
        return await _run_chain(plan, state, ctx)
    if isinstance(plan, ParallelPlan):
        children = plan.children
        results = await _run_all(
            len(children),
            lambda i: CallRequest(children[i], state, str(i), inline=plan.inline),
            ctx,
            inline=range(len(children)) if plan.inline else (),
            collect=plan.collect,
        )
        if plan.merge is not None:
            return await awaited(plan.merge(state, results))
        return merge_changes(state, [child.name for child in children], results)
    if isinstance(plan, RoutePlan):
        return await _run_route(plan, state, ctx)
    payloads = await _payloads(plan, state, ctx)
    results = await _run_all(
        len(payloads),
        lambda i: _batch_call(plan, payloads[i], i),
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


def _batch_call(plan: BatchPlan, payload: Any | Payload[Any], index: int) -> CallRequest:
    if isinstance(payload, Payload):
        state, session = payload.state, payload.session  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return CallRequest(plan.processor, state, str(index), session)
    return CallRequest(plan.processor, payload, str(index), inline=plan.inline)


async def _run_chain(plan: ChainPlan, state: Any, ctx: Context) -> Any:
    completed: list[str] = []
    for index, step in enumerate(plan.steps):
        try:
            state = await ctx.call(step, state, key=str(index), inline=plan.inline)
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
    return await ctx.call(chosen, state, key="route", inline=plan.inline)


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


# --- options --------------------------------------------------------------------------------------


def _require_processors(field: str, parts: Sequence[object]) -> None:
    ok = isinstance(parts, Sequence) and len(parts) > 0 and all(isinstance(part, Processor) for part in parts)
    require(ok, field, parts, "must be processors, at least one")


def _listed(payloads: object) -> tuple[Any, ...]:
    field, rule = "batch.payloads", "must be a list of states, or a function (state) that gives one"
    is_list = isinstance(payloads, Collection) and not isinstance(payloads, str | bytes | Mapping)
    listed = cast("Collection[Any]", payloads)
    require(is_list, field, listed, rule)
    require(len(listed) <= MAX_CALLS, field, listed, f"must be {MAX_CALLS:,} states at most")
    return tuple(listed)


def _list_of(kind: Any) -> Any:
    """The state of a batch whose results are its state."""
    if _is_plain(kind):
        return Any  # they are read as what they are, and it may be given any other list
    return list[kind] | NO_LIST


def _is_plain(kind: Any) -> bool:
    if kind is Any or kind in (int, float, str, bool, bytes, list, dict, None, NoneType):
        return True
    return get_origin(kind) in (list, dict) and all(map(_is_plain, get_args(kind)))


def _shown_key(key: object) -> str:
    return text_of(attempt(lambda: repr(key), f"<a {class_of(key)}>"), 200)


def _default_timeout(plan: Plan, parts: Sequence[Processor[Any]]) -> float | None:
    if isinstance(plan, BatchPlan):
        return None  # nobody knows how many payloads there will be
    budgets: list[float] = []
    for part in parts:
        if part.timeout is None:
            return None
        budgets.append(_budget(part.timeout, part.retry))
    return sum(budgets) if isinstance(plan, ChainPlan) else max(budgets)


def _budget(timeout: float, retry: RetryPolicy | None) -> float:
    """The longest a processor may take with all its attempts, waiting for slots not counted."""
    if retry is None:
        return timeout
    grown = (retry.backoff * retry.backoff_multiplier**i for i in range(min(retry.max_attempts - 1, 64)))
    return timeout * retry.max_attempts + sum(min(pause, retry.max_backoff) for pause in grown)

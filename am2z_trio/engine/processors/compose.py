"""Processors made of processors.

A composition is a processor: it has a queue, a timeout and a retry policy of its own, is registered with
its parts, and composes further. Its plan says what it is made of (`plans`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial
from inspect import Parameter
from types import NoneType
from typing import Any, Final, Generic, TypeVar, cast, get_args, get_origin, overload

import msgspec

from am2z_trio.model.arguments import exact_arguments, refusal
from am2z_trio.model.callables import annotation_of, parameters, require_function, resolved
from am2z_trio.model.checks import require
from am2z_trio.model.limits import MAX_CALLS
from am2z_trio.model.options import QueueOptions, RetryPolicy
from am2z_trio.model.telling import attempt

from .plans import AdaptPlan, BatchPlan, ChainPlan, ParallelPlan, Payload, Plan, RoutePlan, run
from .processor import Processor

S = TypeVar("S")
P = TypeVar("P")

K = TypeVar("K", bound=Hashable)

NO_LIST: Final = dict[str, Any] | int | float | str | bool | None
"""Plain data that a list of records can be told from."""

UNSET: Final = msgspec.UNSET


class Composition(Processor[S], Generic[S]):
    """A processor that is made of processors."""

    __slots__ = ("plan", "unsaid")

    is_composed = True

    @exact_arguments
    def __init__(
        self,
        name: str,
        plan: Plan,
        parts: Sequence[Processor[Any]],
        *,
        state_type: Any = UNSET,
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
        typed = None if isinstance(plan, AdaptPlan | BatchPlan) else _typed(parts)
        # Of any type, until it is a part beside others that say one.
        self.unsaid = state_type is UNSET and (typed is None or getattr(typed, "unsaid", False))
        if state_type is UNSET:
            state_type = Any if typed is None else typed.state_type
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
        if typed is not None:
            self.evolution = typed.evolution

    def take_type_of(self, other: Processor[S]) -> None:
        """Its state, which nobody has said a type of, is of that one's: they are parts of one composition."""
        self.state_type, self.evolution = other.state_type, other.evolution
        self.unsaid = isinstance(other, Composition) and other.unsaid
        if not isinstance(self.plan, AdaptPlan | BatchPlan):
            _typed([other, *self.depends_on])


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
        timeout=timeout,
        retry=retry,
        queue=queue,
        description=description or f"Route to {', '.join(part.name for part in parts)}.",
    )


@exact_arguments
def adapt(
    name: str,
    processor: Processor[P],
    *,
    into: Callable[[S], P | Awaitable[P]],
    back: Callable[[S, P], S | Awaitable[S]],
    state_type: type[S] | Any = UNSET,
    inline: bool = False,
    timeout: float | msgspec.UnsetType | None = UNSET,
    retry: RetryPolicy | None = None,
    queue: QueueOptions | None = None,
    description: str = "",
) -> Composition[S]:
    """Run a processor of another state type, as one of this type: a step of a chain, a part of a parallel.

    `into(state)` makes the state that the processor takes, and `back(state, returned)` the new state, of the
    state and what the processor has returned. Both are plain or async and have no effects: they run again
    when the composition does. The state's type is what `into` says that it takes, or `state_type`, or that of
    the parts beside it. The rest is as with `chain`.
    """
    _require_processors("adapt.processor", [processor])
    require_function("adapt.into", into, "(state)")
    require_function("adapt.back", back, "(state, returned)")
    plan = AdaptPlan(processor=processor, into=into, back=back, inline=inline)
    return Composition(
        name,
        plan,
        [processor],
        state_type=_taken_by(into) if state_type is UNSET else state_type,
        timeout=timeout,
        retry=retry,
        queue=queue,
        description=description or f"{processor.name}, adapted.",
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
    the results in the order of the payloads, and returns the new state, which is of the `state_type`, or of
    that of the parts beside it, or any plain data. Without `merge` the new state is the list of the results;
    the batch then takes such a list, or any plain data that is no list, unless `state_type` says otherwise.
    The rest is as with `parallel`.
    """
    _require_processors("batch.processor", [processor])
    if callable(payloads):
        require_function("batch.payloads", payloads, "(state)", many=True)
    else:
        payloads = _listed(payloads)
    if merge is not None:
        require_function("batch.merge", merge, "(state, results)")
    if state_type is UNSET and merge is None:
        state_type = _list_of(processor.state_type)
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


# --- options --------------------------------------------------------------------------------------


def _require_processors(field: str, parts: Sequence[object]) -> None:
    ok = isinstance(parts, Sequence) and len(parts) > 0 and all(isinstance(part, Processor) for part in parts)
    require(ok, field, parts, "must be processors, at least one")


def _typed(parts: Sequence[Processor[Any]]) -> Processor[Any]:
    """The first part that says of which type its state is; the others (an adapter's lambda) take its type."""
    unsaid = [part for part in parts if isinstance(part, Composition) and part.unsaid]
    first = next((part for part in parts if part not in unsaid), parts[0])
    for part in unsaid:
        if part is not first:
            part.take_type_of(first)
    return first


def _taken_by(into: Callable[..., Any]) -> Any:
    """The type of what an adapter says that it takes."""
    annotation = attempt(lambda: annotation_of(into, parameters(into)[0]), Parameter.empty)
    if annotation is Parameter.empty:
        return UNSET
    try:
        return resolved(into, annotation)
    except Exception as error:
        raise refusal(
            "adapt.into", into, f"takes {annotation!r}, which is nothing here: give state_type="
        ) from error


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

"""What a lifespan has provided, put where processors ask for it: found once, when they are registered or the
runtime starts, so that a run looks nothing up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    ExitStack,
    _AsyncGeneratorContextManager,  # pyright: ignore[reportPrivateUsage]
    _GeneratorContextManager,  # pyright: ignore[reportPrivateUsage]
    asynccontextmanager,
)
from functools import partial
from inspect import isawaitable, iscoroutine
from typing import Any, Final, NamedTuple, cast, get_origin

from am2z_trio.model.errors import ConfigurationError
from am2z_trio.model.telling import attempt, class_of, cut

from .context import Context
from .factories import Factory
from .processor import Processor
from .resources import Need

Function = Callable[..., Any]

NOT_YET: Final = object()
"""In the place of what is made in the thread of a plain processor."""


class Provided:
    """What a lifespan has given: a mapping by names or by types, a list or tuple of objects, or one object;
    `None` for nothing."""

    def __init__(self, given: object = None) -> None:
        self._by_name = dict[str, Any]()
        self._by_type = dict[Any, Any]()
        self._objects = list[Any]()
        if isinstance(given, Mapping):
            for key, value in cast("Mapping[object, object]", given).items():
                self._add(key, value)
        elif type(given) in (list, tuple):
            self._objects += cast("Iterable[Any]", given)
        elif given is not None:
            self._objects.append(given)

    def _add(self, key: object, value: object) -> None:
        if isinstance(key, str):
            self._by_name[key] = value
        elif isinstance(key, type) or get_origin(key) is not None:
            self._by_type[key] = value
        else:
            raise ConfigurationError(
                f"the lifespan provides something under {key!r}, which is neither a name nor a type",
                context={"key": repr(key)},
            )

    def find(self, need: Need) -> tuple[Any] | str:
        """What is asked for, in a box; or why there is none."""
        name, kind = need.marker.name, need.kind
        if name:
            found = self._by_name.get(name, NOT_YET)
            return f"provides nothing by the name {name!r}" if found is NOT_YET else (found,)
        if kind in self._by_type:
            return (self._by_type[kind],)
        wanted = get_origin(kind) or kind
        if not isinstance(wanted, type) or wanted in (object, Any):
            return f"cannot tell what is a {kind}: ask for it by a name"
        if wanted in self._by_type:
            return (self._by_type[wanted],)
        everything = list({id(one): one for one in (*self._objects, *self._by_name.values())}.values())
        found = [one for one in everything if attempt(partial(isinstance, one, wanted), False)]
        exact = [one for one in found if type(one) is wanted]
        if len(exact) == 1 or len(found) == 1:
            return ((exact or found)[0],)
        if found:
            return f"provides {len(found)} of the type {wanted.__qualname__}: ask for one by its name"
        return f"provides nothing of the type {wanted.__qualname__}"

    def told(self) -> str:
        """What there is, for errors: names and types, and no values."""
        names = [f"{name!r} ({class_of(value)})" for name, value in self._by_name.items()]
        types = [getattr(one, "__qualname__", str(one)) for one in self._by_type]
        objects = [class_of(one) for one in self._objects]
        return (
            cut(", ".join([*names, *types, *objects]), 500)
            or "nothing: give the runtime a `lifespan` that yields it"
        )


class Arguments(NamedTuple):
    """What one function is given by name."""

    fixed: dict[str, Any]
    """As the lifespan has provided it."""
    made: tuple[tuple[str, int], ...]
    """What factories make: parameter, and number of the factory."""
    context: str = ""

    def of(self, made: list[Any], context: Context | None) -> dict[str, Any]:
        """All of them, given what was made so far."""
        arguments = self.fixed | {name: made[number] for name, number in self.made}
        if self.context:
            arguments[self.context] = context
        return arguments


class Injection:
    """How one processor's function is called on a node that provides what it asks for."""

    __slots__ = ("_arguments", "_fn", "_in_thread", "_steps", "fn")

    def __init__(self, processor: Processor[Any], provided: Provided) -> None:
        """Raises `ConfigurationError` where something is not provided."""
        asked = processor.asked
        assert asked is not None
        numbers = {factory.fn: number for number, factory in enumerate(asked.factories)}
        lacking = list[str]()

        def arguments_of(needs: Iterable[Need], context: str, through: str) -> Arguments:
            fixed, made = dict[str, Any](), list[tuple[str, int]]()
            for need in needs:
                if need.marker.factory is not None:
                    made.append((need.name, numbers[need.marker.factory]))
                    continue
                found = provided.find(need)
                if isinstance(found, tuple):
                    (fixed[need.name],) = found
                elif not need.is_optional:
                    lacking.append(f"parameter {need.name!r}{through}: the lifespan {found}")
            return Arguments(fixed, tuple(made), context)

        steps = [(one, arguments_of(one.needs, one.context, f" of {one.name}")) for one in asked.factories]
        self._fn = processor.fn
        self._arguments = arguments_of(asked.needs, "", "")
        if lacking:
            raise ConfigurationError(
                f"processor {processor.name!r}, {'; '.join(lacking)} (there is: {provided.told()})",
                context={"processor": processor.name, "lacking": lacking, "provided": provided.told()},
            )
        self._steps: Final = steps
        self._in_thread = frozenset[int]() if processor.is_async else _plain_ones(steps)
        self.fn: Final = partial(self._fn, **self._arguments.fixed) if self._arguments.fixed else self._fn
        """With what the lifespan has provided."""

    @property
    def makes(self) -> bool:
        """Whether anything is made for each run."""
        return bool(self._steps)

    @asynccontextmanager
    async def entered(self, context: Context | None) -> AsyncIterator[Function]:
        """The function with all that it asks for, within the block; what was made is closed at its end, in
        the opposite order, and hears what the block raises. A factory that keeps that to itself does not end
        it."""
        raised: BaseException | None = None
        async with AsyncExitStack() as stack:
            try:
                made = list[Any]()
                for number, (factory, arguments) in enumerate(self._steps):
                    if number in self._in_thread:
                        made.append(NOT_YET)
                    else:
                        made.append(await _made(factory, arguments.of(made, context), stack))
                if self._in_thread:
                    yield partial(self._call_in_thread, made, context)
                else:
                    yield partial(self._fn, **self._arguments.of(made, context))
            except BaseException as error:
                raised = error
                raise
        if raised is not None:
            raise raised

    def _call_in_thread(self, made: list[Any], context: Context | None, *given: Any) -> Any:
        """Call a plain function, and its plain factories around it, all in the one thread it runs in: one
        that is left behind closes what is its own when its function has returned."""
        raised: BaseException | None = None
        with ExitStack() as stack:
            try:
                for number in sorted(self._in_thread):
                    factory, arguments = self._steps[number]
                    made[number] = _plainly_made(factory, arguments.of(made, context), stack)
                returned = self._fn(*given, **self._arguments.of(made, context))
                if isawaitable(returned):
                    if iscoroutine(returned):
                        returned.close()
                    raise ConfigurationError(
                        "a plain processor that returns something to be awaited is given no resources of "
                        "plain factories, which are closed by then: make it `async def`"
                    )
                return returned
            except BaseException as error:
                raised = error
                raise
        assert raised is not None
        raise raised


async def _made(factory: Factory, arguments: dict[str, Any], stack: AsyncExitStack) -> Any:
    if factory.is_async:
        made = factory.make(**arguments)
        return await (stack.enter_async_context(made) if factory.kind == "async context" else made)
    made = _plainly_made(factory, arguments, stack)
    # A lambda's, say, whose kind is not seen before it is called.
    if isinstance(made, _AsyncGeneratorContextManager):
        return await stack.enter_async_context(cast("AbstractAsyncContextManager[Any]", made))
    return await made if isawaitable(made) else made


def _plainly_made(factory: Factory, arguments: dict[str, Any], stack: AsyncExitStack | ExitStack) -> Any:
    made: Any = factory.make(**arguments)
    if factory.kind == "context" or isinstance(made, _GeneratorContextManager):
        return stack.enter_context(cast("AbstractContextManager[Any]", made))
    return made


def _plain_ones(steps: list[tuple[Factory, Arguments]]) -> frozenset[int]:
    """The plain factories that no async one asks for, not even through others."""
    in_loop = set[int]()
    for number, (factory, arguments) in reversed([*enumerate(steps)]):
        if factory.is_async or number in in_loop:
            in_loop.add(number)
            in_loop.update(before for _, before in arguments.made)
    return frozenset(range(len(steps))) - in_loop

"""What is registered along with a processor: all that it depends on, and no circles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from am2z_trio.model.checks import require
from am2z_trio.model.errors import ConfigurationError, DuplicateProcessorError

from .processor import Processor


def with_dependencies(
    processors: Iterable[Processor[Any]],
) -> dict[str, Processor[Any]]:
    """All by name, dependencies first. Refuses circles, by name, and two processors of one name."""
    found: dict[str, Processor[Any]] = {}
    path: list[Processor[Any]] = []

    def visit(item: Processor[Any]) -> None:
        require(
            isinstance(item, Processor),
            "register",
            item,
            "must be a processor (use @processor)",
        )
        # By name, as they call each other: one of the two would take the other's place without a word.
        names = [above.name for above in path]
        if item.name in names:
            first = path[names.index(item.name)]
            circle = " -> ".join([*names[names.index(item.name) :], item.name])
            two = "" if first is item else f" ({item.name!r} is {_where(first.fn)} and {_where(item.fn)})"
            raise ConfigurationError(
                f"depends_on goes in a circle: {circle}{two}", context={"circle": circle}
            )
        known = found.get(item.name)
        if known is item:
            return
        if known is not None:
            raise DuplicateProcessorError(
                f"two processors are named {item.name!r}: {_where(known.fn)} and {_where(item.fn)}",
                context={"name": item.name},
            )
        path.append(item)
        for dependency in item.depends_on:
            visit(dependency)
        path.pop()
        found[item.name] = item

    for item in processors:
        visit(item)
    return found


def _where(fn: Callable[..., Any]) -> str:
    return f"{getattr(fn, '__module__', '?')}.{getattr(fn, '__qualname__', fn)}"

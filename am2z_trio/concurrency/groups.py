"""Exception groups of nurseries nobody asked for, and exceptions that are not what they look like.

A nursery wraps what its tasks raise in a group. Where the nursery is our own affair, the user's
`except ValueError` must still work: a single exception is raised as itself, and of several at once what the
user's own block has raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import anyio

from ._nouns import Host

# Read where Python keeps it: a subclass may have put something else under the name.
_exceptions: Final[Any] = BaseExceptionGroup.__dict__["exceptions"].__get__


class Block:
    """A user's block inside of a nursery of ours, and what it has raised."""

    __slots__ = ("raised",)

    def __init__(self) -> None:
        self.raised: BaseException | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around the block."""
        try:
            yield
        except BaseException as raised:
            self.raised = raised
            raise


Tell = Callable[[BaseException, "list[BaseException]"], None]
"""Told of the exception that is raised, and of those beside it that are not."""


@contextmanager
def unwrapped(block: Block | None = None, tell: Tell | None = None) -> Iterator[None]:
    """Raise the one exception inside a group as itself; cancellation yields to real errors.

    Of several at once, which stay a group otherwise, the one that `block` has raised, or else the first;
    `KeyboardInterrupt` and its like before all. `tell` is told of the others.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        only = _only(group)
        if only is None:
            if block is None:
                raise
            only, *beside = _in_order(group, block.raised)
            if tell is not None:
                tell(only, beside)
    else:
        return
    finally:
        if block is not None:
            # It refers to this very frame.
            block.raised = None
    # The group is not to become its context: it is not what has happened before, and who reads a traceback
    # would find everything in it twice.
    context = only.__context__
    try:
        raise only
    finally:
        only.__context__ = context


def must_propagate(raised: BaseException, host: Host) -> bool:
    """Whether what a user's code has let out must go on upwards: its task is cancelled, or it is Ctrl-C.

    Code that calls `sys.exit`, or lets another task's `CancelledError` out, has failed; nothing else has.
    """
    return any(
        issubclass(type(leaf), KeyboardInterrupt) or host.is_cancellation(leaf) for leaf in leaves(raised)
    )


def is_an_error(raised: BaseException, host: Host) -> bool:
    """Whether a task that ends with this fails: it is neither cancelled nor interrupted by Ctrl-C."""
    return any(
        not issubclass(type(leaf), KeyboardInterrupt) and not host.is_cancellation(leaf)
        for leaf in leaves(raised)
    )


def is_presentable(error: BaseException) -> bool:
    """Whether a nursery can take it: it reads what it raises, and an exception's own code that raises
    something then would bring the whole host down."""
    try:
        repr(error)
        _ = error.__class__, error.__cause__, error.__context__, error.__traceback__
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
    return True


def parts_of(error: BaseException) -> tuple[BaseException, ...]:
    """What a group holds; nothing for any other exception."""
    return _exceptions(error) if issubclass(type(error), BaseExceptionGroup) else ()


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, of however deep a one; itself where it is none."""
    todo = [error]
    while todo:
        one = todo.pop()
        parts = parts_of(one)
        if parts:
            todo += reversed(parts)
        else:
            yield one


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    inside = list(leaves(group))
    cancelled = anyio.get_cancelled_exc_class()
    errors = [leaf for leaf in inside if not isinstance(leaf, cancelled)]
    # Several tasks may raise the very same one: what a server died of, for example.
    if errors and all(error is errors[0] for error in errors):
        return errors[0]
    return inside[0] if len(inside) == 1 or not errors else None


def _in_order(group: BaseExceptionGroup[BaseException], raised: BaseException | None) -> list[BaseException]:
    """The errors of a group, flat but for the group that a block may have raised: the block's first."""
    cancelled = anyio.get_cancelled_exc_class()
    errors = {id(leaf): leaf for leaf in leaves(group) if not isinstance(leaf, cancelled)}
    own: list[BaseException] = []
    if raised is not None:
        parts = [leaf for leaf in leaves(raised) if id(leaf) in errors]
        if len(parts) == 1:
            own = parts
        elif parts:
            # Without the cancellations that a scope has met, which are nobody's affair any more.
            whole = all(id(leaf) in errors for leaf in leaves(raised))
            own = [raised if whole else BaseExceptionGroup("several errors", parts)]
        for leaf in parts:
            errors.pop(id(leaf), None)
    beside = list(errors.values())
    interrupts = [error for error in beside if not isinstance(error, Exception)]
    rest = [error for error in beside if isinstance(error, Exception)]
    if own and not isinstance(own[0], Exception):
        return [*own, *interrupts, *rest]
    return [*interrupts, *own, *rest]

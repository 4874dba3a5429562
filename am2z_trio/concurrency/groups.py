"""Exception groups of nurseries nobody asked for, and exceptions that are not what they look like.

A nursery wraps what its tasks raise in a group. Where the nursery is our own affair, the user's
`except ValueError` must still work: a single exception is raised as itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import anyio

from ._nouns import Host


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the one exception inside a group as itself; cancellation yields to real errors."""
    try:
        yield
    except BaseExceptionGroup as group:
        only = _only(group)
        if only is None:
            raise
    else:
        return
    # Outside the handler, so that the group does not become the exception's context.
    raise only


def is_not_the_codes_own(raised: BaseException, host: Host) -> bool:
    """Whether what a user's code has let out is not its own affair: its task is cancelled, or Ctrl-C.

    Code that calls `sys.exit`, or lets another task's `CancelledError` out, has failed; nothing else has.
    """
    if isinstance(raised, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", raised)
        return any(is_not_the_codes_own(leaf, host) for leaf in _leaves(group))
    return isinstance(raised, KeyboardInterrupt) or host.is_cancellation(raised)


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    leaves = list(_leaves(group))
    cancelled = anyio.get_cancelled_exc_class()
    errors = [leaf for leaf in leaves if not isinstance(leaf, cancelled)]
    if len(errors) == 1:
        return errors[0]
    return leaves[0] if len(leaves) == 1 or not errors else None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for child in group.exceptions:
        if isinstance(child, BaseExceptionGroup):
            yield from _leaves(cast("BaseExceptionGroup[BaseException]", child))
        else:
            yield child

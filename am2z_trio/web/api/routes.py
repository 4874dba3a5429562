"""What a route is: a method of `Admin` under a verb and a path, and the permission that it takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from inspect import getdoc
from math import inf
from types import MappingProxyType
from typing import Any, Final, Literal

import anyio
import msgspec

from am2z_trio.admin import Permission

from .asked import Asked
from .shown import Shown

Verb = Literal["GET", "POST", "PUT", "DELETE"]

_NAME: Final = re.compile(r"\{([a-z_]+)\}")

_NONE: Final = object()

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Route:
    """One question or action. GET asks and changes nothing; every other verb acts."""

    def __init__(
        self,
        verb: Verb,
        path: str,
        asks: Callable[..., Any],
        *permissions: Permission,
        name: str = "",
        given: Mapping[str, Any] = NOTHING,
        types: Mapping[str, Any] = NOTHING,
        body: type[msgspec.Struct] | None = None,
        reads: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
        answer: Any = None,
        shows: Callable[[Any], Any] | None = None,
        at_most: float = inf,
        then: Callable[..., Any] | None = None,
    ) -> None:
        """`asks`: the method of `Admin`. `permissions`: what it takes, as the document says; one of several,
        by what is asked for. `Admin` checks it. `name`: of the operation, where a method has several.
        `given`: arguments that the route itself gives. `types`: of arguments that have others in Python.
        `body`: what is said instead of the arguments, which `reads` makes of that and of the path.
        `answer`: the type of what `shows` makes of what the method returns; by default that is shown as it
        is. `at_most`: seconds after which it is left, and `then` asked for how far it has come."""
        self.verb: Final = verb
        self.path: Final = path
        self.permissions: Final = permissions
        self.name: Final = name or asks.__name__
        self.method: Final = asks.__name__
        self.in_path: Final = tuple(_NAME.findall(path))
        self.parts: Final = tuple(path.strip("/").split("/"))
        self._asks = asks
        self._given = dict(given)
        self._types = dict(types)
        self._body = body
        self._reads = reads
        self._answer = answer
        self._shows = shows
        self._at_most = at_most
        self._then = "" if then is None else then.__name__

    @cached_property
    def asked(self) -> Asked:
        """What a request may say."""
        if self._body is not None:
            return Asked(self._body)
        without = {*self.in_path, *self._given}
        return Asked.of(self._asks, self.name, without=without, types=self._types)

    @cached_property
    def shown(self) -> Shown:
        """What is answered."""
        return Shown.of(self._asks) if self._answer is None else Shown(self._answer)

    @property
    def text(self) -> str:
        """What it does, as `Admin` says it."""
        said = getdoc(self._asks) or ""
        if self._at_most == inf:
            return said
        left = f"It is left after {self._at_most:g} seconds, and answered with how far it has come by then."
        return f"{said}\n\n{left}"

    def matched(self, parts: tuple[str, ...]) -> dict[str, str] | None:
        """What these segments of a path say, if it is this one's; `None` if not."""
        if len(parts) != len(self.parts):
            return None
        found = dict[str, str]()
        for own, part in zip(self.parts, parts, strict=True):
            if own.startswith("{"):
                found[own[1:-1]] = part
            elif own != part:
                return None
        return found

    async def answer(self, admin: object, in_path: Mapping[str, str], query: str, body: bytes) -> bytes:
        """Ask `admin` what a request says, and show the answer."""
        said = self.asked.of_query(query) if self.verb == "GET" else self.asked.of_body(query, body)
        arguments = {**in_path, **said, **self._given}
        if self._reads is not None:
            arguments = self._reads(arguments)
        answer = _NONE
        with anyio.move_on_after(self._at_most):
            answer = await getattr(admin, self.method)(**arguments)
        if answer is _NONE:
            answer = await getattr(admin, self._then)(**in_path)
        return self.shown.encoded(answer if self._shows is None else self._shows(answer))

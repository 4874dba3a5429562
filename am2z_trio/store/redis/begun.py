"""Calls with many records, and such as are on their way although nobody waits for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import chain
from random import Random
from typing import Any, Final, NamedTuple

from am2z_trio.concurrency.told import GiveUp, Told
from am2z_trio.model.records import Enqueue, Settlement
from am2z_trio.wire.client import RedisClient
from am2z_trio.wire.request import ToldRequest
from am2z_trio.wire.resp import Argument
from am2z_trio.wire.scripts import Script

from . import arguments, scripts

_NONCES: Final = Random()
"""Tell calls of one node from one another; no secret. Its own: a program may begin the usual one anew."""

Kept = tuple[int, int]
"""For how many ms the records of ended jobs are kept, and of how many of a queue."""

Read = Callable[[list[Any]], Any]
"""Makes answers of what a script has returned."""


class Records(NamedTuple):
    """A call of a script that works record by record."""

    script: Script
    first: tuple[Argument, ...]
    records: Sequence[tuple[Argument, ...]]
    sizes: Sequence[int]
    """The bytes of each one's payloads."""


def enqueue_call(
    clock: Argument, kept: Kept, node: str, jobs: Sequence[Enqueue], at_rest: Collection[str] = ()
) -> Records:
    """The call that accepts these jobs; `at_rest` as the port has it."""
    records = list(map(arguments.of_enqueue, jobs))
    first = (clock, *kept, f"{_NONCES.getrandbits(32):08x}", node, "\n".join(at_rest))
    return Records(scripts.ENQUEUE, first, records, [len(job.spec.state) for job in jobs])


def settle_call(
    clock: Argument, kept: Kept, commits: Sequence[Argument], settlements: Sequence[Settlement]
) -> Records:
    """The call that settles jobs so; `commits`: what is said of all of their states."""
    sizes = [len(one.result) + (0 if one.commit is None else len(one.commit.blob)) for one in settlements]
    records = list(map(arguments.of_settlement, settlements))
    return Records(scripts.SETTLE, (clock, *kept, *commits), records, sizes)


class Begun:
    """Such a call; another one with the rest where it has answered the first ones only."""

    __slots__ = ("_answers", "_call", "_commands", "_keys", "_read", "_request", "_told")

    def __init__(
        self, commands: RedisClient, keys: Sequence[Argument], call: Records, read: Read, told: Told
    ) -> None:
        self._commands = commands
        self._keys = keys
        self._call = call
        self._read = read
        self._told = told
        self._answers = list[Any]()
        self._request: ToldRequest

    def send(self) -> GiveUp:
        script, first, records, _ = self._call
        args = (*first, *chain.from_iterable(records[len(self._answers) :]))
        packed = self._commands.programs.call_of(script, self._keys, args)
        self._request = ToldRequest(packed, script, self._answered)
        self._commands.submit(self._request)
        return self._give_up

    def _give_up(self) -> None:
        self._request.drop()

    def _answered(self, answer: Any) -> None:
        if not isinstance(answer, Exception):
            self._answers += answer
            if len(self._answers) < len(self._call.records):
                self.send()
                return
            try:
                answer = self._read(self._answers)
            except Exception as error:
                answer = error
        self._told(answer)

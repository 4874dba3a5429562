"""Everything one namespace of a Redis server holds, read into plain Python and sorted by kind of key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import redis

from am2z_trio.store.redis.keys import TEMPLATES, anchor

TYPES: Final = {
    "job": "hash",
    "children": "set",
    "called": "set",
    "waits": "hash",
    "mail": "hash",
    "awaiting": "zset",
    "doomed": "set",
    "ending": "list",
    "turn": "string",
    "wait": "list",
    "sieved": "list",
    "ghosts": "hash",
    "ready": "zset",
    "prio": "zset",
    "later": "zset",
    "calls": "zset",
    "lot": "zset",
    "back": "zset",
    "turns": "zset",
    "floor": "hash",
    "dead": "zset",
    "done": "zset",
    "recent": "list",
    "starts": "zset",
    "running": "hash",
    "blocked": "zset",
    "meta": "hash",
    "fresh": "hash",
    "samples": "stream",
    "archive": "stream",
    "servers": "set",
    "queues": "zset",
    "nodes": "zset",
    "promising": "set",
    "suspects": "hash",
    "graces": "hash",
    "leaving": "hash",
    "leases": "hash",
    "truce": "string",
    "silences": "hash",
    "probe": "string",
    "clock": "string",
    "look": "string",
    "sweep": "string",
    "active": "hash",
    "claims": "hash",
    "serves": "set",
    "flushed": "string",
    "info": "hash",
    "session": "hash",
    "history": "list",
    "receipts": "hash",
    "jobs": "set",
    "sessions": "hash",
    "expiries": "zset",
    "lock": "hash",
    "line": "zset",
    "debounce": "string",
    "breaker": "hash",
    "bulk": "hash",
    "bulks": "zset",
    "schedules": "zset",
    "schedule": "hash",
    "runs": "zset",
    "fence": "string",
    "lineage": "string",
    "stopped": "zset",
    "log": "stream",
    "kept": "string",
    "told": "string",
    "audit": "stream",
    "refused": "stream",
    "noted": "string",
}
"""What each kind of key holds. A kind that is neither here nor a channel is one the auditor does not know."""

CHANNELS: Final = frozenset({"inbox", "events", "stops"})

_PATTERNS: Final = {
    kind: re.compile(re.escape(template).replace("%s", "(.*)"), re.DOTALL)
    for kind, template in TEMPLATES.items()
    if kind not in CHANNELS
}

_PAGE: Final = 1000


class Entry(msgspec.Struct, frozen=True):
    """One key."""

    key: str
    kind: str
    """Empty for a key that is of no known kind."""
    name: str
    """What stands for `%s` in the key's template."""
    value: Any
    """A hash's fields, a list's or set's members, a zset's members with scores: text. Values are bytes."""
    pttl: int
    """Milliseconds to its end; -1 for never."""


class Keyspace:
    """The keys of one namespace, by kind and name. Read while nothing writes, or it is no picture at all."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._by_kind: dict[str, dict[str, Entry]] = {}
        for entry in entries:
            self._by_kind.setdefault(entry.kind, {})[entry.name] = entry

    def of(self, kind: str) -> dict[str, Entry]:
        return self._by_kind.get(kind, {})

    def get(self, kind: str, name: str = "") -> Any:
        """The value of one key, or `None`."""
        entry = self.of(kind).get(name)
        return None if entry is None else entry.value

    @classmethod
    def read(cls, connection: redis.Redis, prefix: str = "am2z") -> Keyspace:
        start = anchor(prefix)
        pattern = re.sub(r"([\[\]*?\\])", r"\\\1", start) + ":*"
        keys = sorted(set(connection.scan_iter(match=pattern, count=_PAGE)))
        entries: list[Entry] = []
        for first in range(0, len(keys), _PAGE):
            entries += _read(connection, keys[first : first + _PAGE], start)
        return cls(list(_with_ttls(connection, entries)))


def text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


_COMMANDS: Final = {
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"string": ("GET",),
    b"stream": ("XRANGE", "-", "+"),
}


def _read(connection: redis.Redis, keys: list[bytes], start: str) -> Iterator[Entry]:
    with connection.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.execute_command("TYPE", key)
        kinds = pipe.execute()
        types = [kind if isinstance(kind, bytes) else str(kind).encode() for kind in kinds]
        for key, of in zip(keys, types, strict=True):
            name, *rest = _COMMANDS.get(of, ("EXISTS",))
            pipe.execute_command(name, key, *rest)
        values = pipe.execute()
    for key, of, value in zip(keys, types, values, strict=True):
        if of == b"none":
            continue
        kind, name = _kind(text(key)[len(start) + 1 :], of.decode())
        yield Entry(text(key), kind, name, _plain(of, value), -1)


def _with_ttls(connection: redis.Redis, entries: list[Entry]) -> Iterator[Entry]:
    """With the times that are left to them, all at one moment: however long this program is kept waiting
    between two answers, they can be compared. What has expired since it was read is gone."""
    with connection.pipeline(transaction=True) as pipe:
        for entry in entries:
            pipe.execute_command("PTTL", entry.key.encode("utf-8", "surrogateescape"))
        ttls = pipe.execute() if entries else []
    for entry, pttl in zip(entries, ttls, strict=True):
        if pttl != -2:
            yield msgspec.structs.replace(entry, pttl=int(pttl))


def _kind(tail: str, of: str) -> tuple[str, str]:
    """By name and type: ids are any text."""
    found = ("", tail)
    for kind, pattern in _PATTERNS.items():
        match = pattern.fullmatch(tail)
        if match is not None and TYPES.get(kind) == of:
            name = match[1] if pattern.groups else ""
            # The more of the key is the template's, the better.
            if found[0] == "" or len(name) < len(found[1]):
                found = (kind, name)
    return found


def _plain(of: bytes, value: Any) -> Any:
    if of == b"hash":
        return {text(field): content for field, content in value.items()}
    if of == b"list":
        return [text(item) for item in value]
    if of == b"set":
        return {text(item) for item in value}
    if of == b"zset":
        return {text(member): float(score) for member, score in value}
    return value

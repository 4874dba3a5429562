"""What the server's access rules (ACL) must let the user of a namespace do, and how it is tried.

The scripts' own text says which commands they use; beside them stands what the wire sends. `least_acl` writes
it down as the rules of `ACL SETUSER`:

```python
from am2z_trio.store.redis.access import least_acl

print("ACL SETUSER app on >password", *least_acl("am2z"))
```

Where a node starts, one script tries each of these commands, on a key that is there only while it runs and
of a type that most of them refuse, and each kind of key with a command whose argument is wrong: the server
looks at its access rules before that. `ACL DRYRUN` would tell more, but is itself a command that such a user
should not have, and 7.0 is the first to know it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

import msgspec

from am2z_trio.model.errors import AccessDeniedError
from am2z_trio.model.redis_options import RedisOptions
from am2z_trio.wire.resp import Argument, is_denied

from . import scripts
from .keys import TEMPLATES, anchor, spell

WIRE: Final = (
    *("eval", "evalsha", "hello", "info", "ping", "publish", "script|load", "select", "subscribe"),
    "unsubscribe",
)
"""What is sent outside of scripts; beside AUTH, which nobody can be refused."""

CLUSTER: Final = ("cluster|keyslot", "cluster|myid", "cluster|slots")
"""What a node of a Redis Cluster is asked as well; refused, a warning says so."""

FUNCTIONS: Final = ("fcall", "function|delete", "function|list", "function|load")
"""By which a server makes the scripts once, not at every call, and old versions of them go. Who may not do
this runs them as scripts, and nobody misses it."""

CHANNELS: Final = ("inbox", "stops", "events")

_CALL: Final = re.compile(r"\b(?:ask|(?:redis|server)\.p?call)\('([A-Z]+)'(?:, '(NUMSUB)')?")


@cache
def in_scripts() -> tuple[str, ...]:
    """The commands that the scripts use, as rules name them."""
    found = _CALL.findall(scripts.library().source + scripts.PROBE.source)
    return tuple(sorted({f"{name}|{part}".lower() if part else name.lower() for name, part in found}))


# How each of them is tried: what follows the key.
_KEY_ONLY: Final = (
    *("exists", "get", "hgetall", "hkeys", "hlen", "hrandfield", "incr", "llen", "lpop", "persist"),
    *(
        "pttl",
        "rpop",
        "scard",
        "smembers",
        "spop",
        "srandmember",
        "zcard",
        "zpopmin",
        "unlink",
        "del",
        "xlen",
    ),
)
_MORE: Final[dict[str, tuple[Word, ...]]] = {
    **dict.fromkeys(_KEY_ONLY, ()),
    **dict.fromkeys(("hdel", "hexists", "hget", "hmget", "hstrlen"), ("f",)),
    **dict.fromkeys(("hset", "hsetnx"), ("f", "v")),
    **dict.fromkeys(("hscan", "lindex", "sscan"), (0,)),
    **dict.fromkeys(("incrby", "pexpire"), (1000,)),
    **dict.fromkeys(("lpos", "lpush", "lpushx", "rpush", "sadd", "sismember", "smismember", "srem"), ("m",)),
    **dict.fromkeys(("zrank", "zrem", "zscore"), ("m",)),
    **dict.fromkeys(("lrange", "ltrim", "zcount", "zrange", "zrangebyscore"), (0, 0)),
    **dict.fromkeys(("zremrangebyrank", "zrevrange"), (0, 0)),
    "hincrby": ("f", 1),
    "set": ("", "PX", 1000),
    "zadd": (0, "m"),
    "xadd": ("*", "f", "v"),
    **dict.fromkeys(("xrange", "xrevrange"), ("-", "+", "COUNT", 1)),
}
_FIRST: Final = ("set",)
_LAST: Final = ("unlink", "del")
_EMPTY_BATCH: Final = msgspec.Raw(b"\xa1\x90")
"""What is published to try a channel: a batch of no messages, packed as a text of one byte."""
Word = Argument | msgspec.Raw


def least_acl(prefix: str = "am2z", *, cluster: bool = False, functions: bool = True) -> list[str]:
    """The rules of a user who may do what this namespace needs, and no more.

    For `ACL SETUSER`, or a line of an ACL file, of Redis 7.0 and later and of Valkey; with `functions=False`
    of Redis 6.2, which has none and refuses rules about them. Workers, clients and state managers need the
    same.
    """
    commands = sorted(
        {*in_scripts(), *WIRE, *(CLUSTER if cluster else ()), *(FUNCTIONS if functions else ())}
    )
    nothing = ("resetkeys", "resetchannels", "-@all")
    return [*nothing, *_keys(prefix), _channels(prefix), *(f"+{command}" for command in commands)]


def _keys(prefix: str) -> tuple[str, str]:
    return f"~{anchor(prefix)}", f"~{anchor(prefix)}:*"


def _channels(prefix: str) -> str:
    return f"&{anchor(prefix)}:*"


class Probe:
    """One namespace's trial: `arguments` are those of the script `PROBE`, and `missing` reads its answer."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        key = spell(prefix, "probe")
        tried: list[tuple[str, tuple[Word, ...]]] = []
        for command in (*_FIRST, *(c for c in in_scripts() if c not in (*_FIRST, *_LAST)), *_LAST):
            tried.append((f"+{command}", _words(command, key, prefix)))
        for kind in CHANNELS:
            channel = spell(prefix, kind, "probe")
            if "%s" not in TEMPLATES[kind]:
                # Every node listens at that one: to try it would cost them all a message each.
                channel += ":probe"
            tried.append(("+publish", ("PUBLISH", channel, _EMPTY_BATCH)))
        others = [spell(prefix, kind, "probe") for kind in TEMPLATES if kind not in CHANNELS]
        for other in (anchor(prefix), *others):
            # No number: refused for that, after the access rules and before the key is looked at.
            tried.append(("+hincrby", ("HINCRBY", other, "f", "-")))
        self._rules = [rule for rule, _ in tried]
        self.arguments: list[Argument] = [msgspec.msgpack.encode(words) for _, words in tried]

    def missing(self, answers: Sequence[bytes]) -> list[str]:
        """Which rules the user lacks: of keys and channels, then of commands."""
        found: dict[str, None] = {}
        for rule, answer in zip(self._rules, answers, strict=True):
            said = answer.decode(errors="replace")
            if is_denied(said):
                found.update(dict.fromkeys(self.named(said, rule)))
        return sorted(found, key=lambda rule: "~&+".index(rule[0]))

    def named(self, said: str, rule: str) -> tuple[str, ...]:
        """The rules that a refusal asks for; `rule` where it is about the command."""
        if "can't run" in said or " to run " in said:
            return (rule,)
        return (_channels(self._prefix),) if " channel" in said else _keys(self._prefix)

    def error(
        self, missing: Sequence[str], options: RedisOptions, *, lost: bool = False
    ) -> AccessDeniedError:
        """The one error that says so; `lost`: the user had these rights before."""
        user = options.username or "default"
        when = "no longer has" if lost else "does not have"
        return AccessDeniedError(
            f"user {user!r} of Redis at {options.display} {when} all rights that prefix {self._prefix!r} "
            f"needs; missing: {' '.join(missing)} (ACL SETUSER gives them, and "
            "am2z_trio.store.redis.access.least_acl lists all that are needed)",
            context={"user": user, "missing": list(missing)},
        )


def _words(command: str, key: str, prefix: str) -> tuple[Word, ...]:
    """A call of the command that changes nothing but `key`."""
    if command == "time":
        return ("TIME",)
    if command == "pubsub|numsub":
        return ("PUBSUB", "NUMSUB", spell(prefix, "events"))
    if command == "publish":
        return ("PUBLISH", spell(prefix, "inbox", "probe"), _EMPTY_BATCH)
    if command == "rename":
        return ("RENAME", key, key)
    return (command.upper(), key, *_MORE[command])

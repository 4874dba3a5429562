"""What the facts script says of a job, as a record."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, Final, cast

import msgspec

from am2z_trio.model.codec import NIL, RecordDecoder
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.logs import Log
from am2z_trio.model.options import QueueOptions
from am2z_trio.model.records import JobFacts, QueueLimits, Settled, limits_of
from am2z_trio.model.transitions import TERMINAL, Terminal

from . import scripts
from .arguments import as_argument
from .control import node_info
from .link import RedisLink
from .rows import text

logger: Final = Log("am2z_trio.store")
_decode_options: Final = RecordDecoder[QueueOptions](QueueOptions)

_BYTES: Final = frozenset({"errors", "result", "options", "info"})
_NAMES: Final = frozenset({"holders", "called"})
_LISTS: Final = frozenset({"nodes", "waits"})
"""Of lists of names and values, which all other lists are."""


async def job_facts(link: RedisLink, job: str) -> JobFacts | None:
    """One script; `None` where there is no record of the job."""
    row = await link.eval(scripts.FACTS, link.clock, as_argument(job))
    return _job(job, _read(row)) if row else None


def _read(row: Sequence[Any]) -> dict[str, Any]:
    """Names and values by turns, as a mapping."""
    names = (name.decode() for name in row[::2])
    return {name: _value(name, value) for name, value in zip(names, row[1::2], strict=True)}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, bytes):
        return value if name in _BYTES else text(value)
    if name in _NAMES:
        return [text(one) for one in value]
    if name in _LISTS:
        return [_read(one) for one in value]
    return value if isinstance(value, int) else _read(value)


def _job(id: str, facts: dict[str, Any]) -> JobFacts:
    facts["id"] = id
    facts["progress"] = _fraction(facts.get("progress", "0"))
    facts["queue"] = _queue(facts["queue"])
    if "holder" in facts:
        facts["holder"] = _node(facts["holder"])
    reason, result = facts.pop("reason", ""), facts.pop("result", b"")
    status = facts["status"]
    if status in TERMINAL:
        facts["settled"] = Settled(id, cast(Terminal, status), reason, msgspec.Raw(result) if result else NIL)
    elif status == "active":
        # It has called more than are counted.
        facts.setdefault("calls", None)
    return msgspec.convert(facts, JobFacts, strict=False)


def _queue(facts: dict[str, Any]) -> dict[str, Any]:
    """Limits are those that the announced options set, or where nobody has announced any, those that the last
    claim has left."""
    most, per_session = facts.pop("last_most_active"), facts.pop("last_per_session")
    options = _options(facts.pop("options", b""), facts["name"])
    limits = QueueLimits(most_active=most, per_session=per_session) if options is None else limits_of(options)
    nodes = [_node(node) for node in facts.get("nodes", ())]
    return {**facts, "options": options, "limits": limits, "nodes": nodes}


def _node(facts: dict[str, Any]) -> dict[str, Any]:
    info = node_info(facts["name"], facts.pop("info", b""))
    return facts if info is None else {**facts, "draining": info.draining, "full": info.full}


def _options(packed: bytes, queue: str) -> QueueOptions | None:
    if not packed:
        return None
    try:
        return _decode_options(packed)
    except AM2ZError as error:
        logger.warning("the options of queue %s cannot be read: %s", queue, error)
        return None


def _fraction(told: str) -> float:
    try:
        done = float(told)
    except ValueError:
        return 0.0
    return done if isfinite(done) else 0.0

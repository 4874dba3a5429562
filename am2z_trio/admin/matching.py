"""Whether a job is what a query asks for: a pure function of the two, and of the time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import msgspec

from .fingerprints import fingerprint
from .query import Amount, Input, Kind, Query, Since, Term, Text

NOT_KEPT: Final[Any] = object()
"""In place of an input that is not kept, or was not read."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What of a job queries can ask for. What is not known of it is empty, or `None`."""

    id: str
    kinds: frozenset[Kind]
    """Its status; that of a dead letter is two: `failed` and `dead`; and so is that of a parked job."""
    queue: str
    session: str = ""
    node: str = ""
    error: str = ""
    """What its error says."""
    code: str = ""
    schedule: str = ""
    caused_by: str = ""
    """Id of the job that has called it."""
    trace: str = ""
    tags: tuple[str, ...] = ()
    attempt: int = 1
    came: int | None = None
    """When, in ms since the epoch by the store's clock; `None` for what was written by an older version."""
    ran: int | None = None
    """Ms for which it runs, or has run."""
    input: Any = NOT_KEPT
    """As plain data."""

    @property
    def kind(self) -> str:
        """Of which kind its error is."""
        return fingerprint(self.code, self.error) if self.code or self.error else ""


def matches(query: Query, job: Candidate, now: int) -> bool:
    """Whether the job is what the query asks for at this time (ms since the epoch)."""
    return all(is_met(demand, job, now) for demand in query.demands)


def is_met(demand: Sequence[Term], job: Candidate, now: int) -> bool:
    """Whether one of its demands is: any of what it asks for, or not what it refuses."""
    return any(_fits(term, job, now) != term.negated for term in demand)


def _fits(term: Term, job: Candidate, now: int) -> bool:
    """Whether the term is true of the job, negated or not."""
    if isinstance(term, Text) and term.field == "word":
        return job.id.startswith(term.text) or _same(job.session, term.text, term.prefix)
    if isinstance(term, Text):
        return any(_same(text, term.text, term.prefix) for text in _texts(term, job))
    if isinstance(term, Input):
        return _input_fits(term, job.input)
    if isinstance(term, Since):
        return job.came is not None and job.came >= term.resolved(now)
    return _amount_fits(term, job, now)


def _same(text: str, wanted: str, prefix: bool) -> bool:
    return text.startswith(wanted) if prefix else text == wanted


def _texts(term: Text, job: Candidate) -> Iterable[str]:
    if term.field == "status":
        return job.kinds
    if term.field == "tag":
        return job.tags
    # The session of a job without one is '', which nobody can ask for.
    return (cast("str", getattr(job, term.field.replace("-", "_"))),)


def _amount_fits(term: Amount, job: Candidate, now: int) -> bool:
    if term.field == "attempt":
        amount: int | None = job.attempt
    elif term.field == "age":
        amount = None if job.came is None else now - job.came
    else:
        amount = job.ran
    return amount is not None and term.is_of(amount)


def _input_fits(term: Input, value: Any) -> bool:
    if value is NOT_KEPT:
        return False
    for part in term.path:
        if isinstance(value, dict) and part in value:
            value = cast("dict[object, Any]", value)[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and len(part) <= 9:
            entries = cast("list[object]", value)
            if int(part) >= len(entries):
                return False
            value = entries[int(part)]
        else:
            return False
    told = _told(value)
    return told is not None and _same(told, term.text, term.prefix)


def _told(value: object) -> str | None:
    """A single value as a query says it; `None` for what holds others."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value) if isinstance(value, int | float) else None

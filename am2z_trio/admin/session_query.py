"""What operators ask of sessions: text to what is asked, and whether a session is that.

```
alice  session:alice  team-*  -team-boss    by their ids; a word alone is one
running>0  waiting<10  version:3            jobs that run; that wait, or are due later; the state's version
idle>10m                                    none of its jobs runs, and its state was written longer ago
locked  -locked                             somebody holds its lock (a session of this id: session:locked)
```

All fields must fit, and of ids any of what is asked for and none of what is not. Of a session with very many
jobs some are counted, so that it may not be known how many run.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from am2z_trio.model.errors import ValidationError
from am2z_trio.model.views.sessions import SessionRow

from .query import SESSIONS, Amount, Query, Term, Text, parse


class SessionQuery(NamedTuple):
    """What is asked of sessions."""

    ids: Query
    """Terms of ids; what asks for none asks for all."""
    facts: tuple[Term, ...]
    """What must be so of each, which takes its row."""
    text: Query
    """All of it, as it was written."""

    @property
    def exact(self) -> list[str]:
        """The ids, where it asks for nothing but sessions by all of their ids."""
        wanted = [term for term in self.ids.terms if isinstance(term, Text) and not term.negated]
        return [] if any(term.prefix for term in wanted) else [term.text for term in wanted]

    @property
    def takes_all(self) -> bool:
        """Whether it asks for all that have jobs."""
        return not self.text.terms


def sessions_asked_for(text: object) -> SessionQuery:
    """What a text asks for. Raises `ValidationError`."""
    written = Query(tuple(_named(term) for term in parse(text, SESSIONS).terms))
    ids = tuple(term for term in written.terms if _is_id(term))
    if not any(not term.negated for term in ids):
        ids = (*ids, Text("session", "", prefix=True))
    return SessionQuery(Query(ids), tuple(term for term in written.terms if not _is_id(term)), written)


def require_ids(query: Query) -> None:
    """Raises `ValidationError` for what asks for more than sessions by their ids."""
    if not all(_is_id(term) for term in query.terms):
        rule = "must say which sessions, and nothing else: session:NAME, session:PREFIX*, -session:NAME"
        raise ValidationError(f"query: {rule}", context={"field": "query", "rule": rule})


def is_asked_for(ids: Query, session: str) -> bool:
    """Whether terms of ids ask for this one."""
    wanted = False
    for term in ids.terms:
        same = _is_same(term, session)
        if same and term.negated:
            return False
        wanted = wanted or (same and not term.negated)
    return wanted


def is_met(demand: Sequence[Term], session: str, row: SessionRow | None, now: int) -> bool | None:
    """Whether a demand of a query is, of a session at this time (ms); `None`: that is not known, or takes its
    row."""
    if all(map(_is_id, demand)):
        return any(_is_same(term, session) != term.negated for term in demand)
    return None if row is None else _fits(demand[0], row, now)


def is_so(facts: Sequence[Term], row: SessionRow, now: int) -> bool | None:
    """Whether all of that is so of a session at this time (ms); `None`: it has too many jobs to say."""
    said = [_fits(term, row, now) for term in facts]
    if False in said:
        return False
    return None if None in said else True


def _named(term: Term) -> Term:
    if isinstance(term, Text) and term.field == "word":
        return Text("session", term.text, term.prefix, term.negated)
    return term


def _is_id(term: Term) -> bool:
    return isinstance(term, Text) and term.field == "session"


def _is_same(term: Term, session: str) -> bool:
    assert isinstance(term, Text)
    return session.startswith(term.text) if term.prefix else session == term.text


def _fits(term: Term, row: SessionRow, now: int) -> bool | None:
    found = _amount_fits(term, row, now) if isinstance(term, Amount) else row.locked
    return found if found is None else found != term.negated


def _amount_fits(term: Amount, row: SessionRow, now: int) -> bool | None:
    if term.field == "version":
        return _compared(term, row.version, row.version)
    # Of jobs that were not counted, any number may run or wait.
    more = max(0, row.jobs - row.looked_at)
    if term.field == "running":
        return _compared(term, row.active, row.active + more)
    if term.field == "waiting":
        least = row.waiting + row.delayed
        return _compared(term, least, least + more)
    if row.active:
        return _compared(term, 0, 0)
    if not row.updated:
        return False
    idle = max(0, now - row.updated)
    return _compared(term, 0 if more else idle, idle)


def _compared(term: Amount, least: int, most: int) -> bool | None:
    """Whether what is between these two is as much as is asked for; `None` where that depends."""
    said = {term.is_of(least), term.is_of(most)}
    if term.operator == "=" and least < term.amount < most:
        return None
    return said.pop() if len(said) == 1 else None

"""Whether a job is what a query asks for, against a model that looks at every term by itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin.matching import NOT_KEPT, Candidate, matches
from am2z_trio.admin.query import Amount, Input, Kind, Query, Since, Term, Text, parse

NOW = 1_800_000_000_000
WORDS = st.sampled_from(["", "a", "ab", "abc", "b", "ba"])
SOME = st.sampled_from(["a", "ab", "abc", "b", "ba"])
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 12), SOME),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(SOME, inner, max_size=2)),
    max_leaves=4,
)
KINDS_OF: list[frozenset[Kind]] = [
    frozenset({"waiting"}),
    frozenset({"active"}),
    frozenset({"failed"}),
    frozenset({"failed", "dead"}),
]
CANDIDATES = st.builds(
    Candidate,
    id=SOME,
    kinds=st.sampled_from(KINDS_OF),
    queue=SOME,
    session=WORDS,
    node=WORDS,
    error=WORDS,
    code=WORDS,
    caused_by=WORDS,
    tags=st.lists(SOME, max_size=2).map(tuple),
    attempt=st.integers(1, 3),
    came=st.one_of(st.none(), st.integers(NOW - 3, NOW)),
    ran=st.one_of(st.none(), st.integers(0, 3)),
    input=st.one_of(st.just(NOT_KEPT), VALUES),
)
TEXT_FIELDS = st.sampled_from(
    ["word", "id", "queue", "session", "node", "error", "code", "caused-by", "schedule", "trace", "tag"]
)
TERMS = st.one_of(
    st.builds(Text, TEXT_FIELDS, SOME, st.booleans(), st.booleans()),
    st.builds(Text, st.just("status"), st.sampled_from(["waiting", "failed", "dead"]), negated=st.booleans()),
    st.builds(
        Amount,
        st.sampled_from(["age", "ran", "attempt"]),
        st.sampled_from("<>="),
        st.integers(0, 3),
        st.booleans(),
    ),
    st.builds(Since, st.integers(NOW - 3, NOW), negated=st.booleans()),
    st.builds(
        Input, st.lists(st.one_of(SOME, st.just("0")), min_size=1, max_size=2).map(tuple), SOME, st.booleans()
    ),
)


def says(term: Term, job: Candidate) -> bool:
    """The model: one term, without its sign."""
    if isinstance(term, Since):
        return job.came is not None and job.came >= term.moment
    if isinstance(term, Amount):
        age = None if job.came is None else NOW - job.came
        amount = {"attempt": job.attempt, "age": age, "ran": job.ran}[term.field]
        if amount is None:
            return False
        above, below = amount > term.amount, amount < term.amount
        return {">": above, "<": below, "=": not above and not below}[term.operator]
    if isinstance(term, Input):
        return any(same(one, term) for one in at(job.input, term.path))
    if term.field == "word":
        return job.id.startswith(term.text) or same(job.session, term)
    if term.field == "status":
        return term.text in job.kinds
    if term.field == "tag":
        return any(same(tag, term) for tag in job.tags)
    return same(getattr(job, term.field.replace("-", "_")), term)


def same(text: str, term: Text | Input) -> bool:
    return text[: len(term.text)] == term.text if term.prefix else text == term.text


def at(value: Any, path: tuple[str, ...]) -> list[str]:
    """What is at the path, if anything that is told in one word."""
    if path:
        first, *rest = path
        if isinstance(value, dict):
            return at(value[first], tuple(rest)) if first in value else []
        return at(value[0], tuple(rest)) if isinstance(value, list) and value and first == "0" else []
    if isinstance(value, dict | list) or value is NOT_KEPT:
        return []
    return [value if isinstance(value, str) else str(value).lower().replace("none", "null")]


def model(query: Query, job: Candidate) -> bool:
    if any(says(term, job) for term in query.terms if term.negated):
        return False
    fields: dict[Any, list[bool]] = {}
    for number, term in enumerate(query.terms):
        if not term.negated:
            field: Any = number
            if isinstance(term, Text):
                field = term.field
            elif isinstance(term, Input):
                field = term.path
            fields.setdefault(field, []).append(says(term, job))
    return all(any(one) for one in fields.values())


@given(st.lists(TERMS, max_size=4), CANDIDATES)
def test_it_says_what_the_model_says(terms: list[Term], job: Candidate):
    query = Query(tuple(terms))
    assert matches(query, job, NOW) == model(query, job)


JOB = Candidate(
    id="01k9x-7",
    kinds=frozenset({"failed", "dead"}),
    queue="charge",
    session="alice",
    error="no money",
    code="BUSINESS",
    attempt=3,
    came=NOW - 60_000,
    ran=1_500,
    input={"order": {"country": "DE", "items": [{"n": 5}], "paid": True, "note": None}},
)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True),
        ("alice", True),
        ("01k9", True),
        ("01k9*", True),
        ("k9", False),
        ("status:failed", True),
        ("status:dead", True),
        ("status:waiting status:failed", True),
        ("-status:dead", False),
        ("queue:charge queue:refund", True),
        ("queue:refund", False),
        ("age>59s age<61s", True),
        ("ran>1.5s", False),
        ("attempt:3", True),
        ('error:"no money"', True),
        ("input.order.country:DE", True),
        ("input.order.country:DE input.order.country:FR", True),
        ("input.order.items.0.n:5", True),
        ("input.order.items.1.n:5", False),
        ("input.order.items.٠.n:5", False),
        ("input.order.paid:true", True),
        ("input.order.note:null", True),
        ("input.order:DE", False),
        ("trace:x", False),
        ("-trace:x", True),
    ],
)
def test_examples(text: str, fits: bool):
    assert matches(parse(text), JOB, NOW) is fits

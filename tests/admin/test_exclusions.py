"""What each demand of a query has excluded, against a model that holds every job against every term."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin.exclusions import Tally, added, told
from am2z_trio.admin.matching import Candidate, matches
from am2z_trio.admin.query import Input, Query, Term, Text, parse
from am2z_trio.model.views.search import Exclusion

from .test_matching import CANDIDATES, NOW, TERMS, says


def demands_of(terms: list[Term]) -> list[tuple[Term, ...]]:
    """The model: alternatives of one field or path are one, whatever stands between them."""
    done, found = list[Any](), list[tuple[Term, ...]]()
    for term in terms:
        if isinstance(term, Text | Input) and not term.negated:
            where = (type(term), term.field if isinstance(term, Text) else term.path)
            if where not in done:
                done.append(where)
                found.append(tuple(one for one in terms if _where(one) == where))
        else:
            found.append((term,))
    return found


def _where(term: Term) -> Any:
    if term.negated or not isinstance(term, Text | Input):
        return None
    return type(term), term.field if isinstance(term, Text) else term.path


def fits(demand: tuple[Term, ...], job: Candidate) -> bool:
    if demand[0].negated:
        return not says(demand[0], job)
    return any(says(term, job) for term in demand)


@given(st.lists(TERMS, max_size=5), st.lists(CANDIDATES, max_size=8))
def test_it_counts_what_each_demand_excludes_and_what_it_alone_does(terms: list[Term], jobs: list[Candidate]):
    query, demands = Query(tuple(terms)), demands_of(terms)
    tally = Tally(query)
    assert [tally.takes(job, NOW) for job in jobs] == [matches(query, job, NOW) for job in jobs]
    wanted = list[tuple[str, int, int, int]]()
    for place, demand in enumerate(demands):
        others = [one for at, one in enumerate(demands) if at != place]
        out = [job for job in jobs if not fits(demand, job)]
        alone = [job for job in out if all(fits(other, job) for other in others)]
        wanted.append((str(Query(demand)), len(jobs), len(out), len(alone)))
    told = tally.exclusions({})
    assert sorted((one.terms, one.of, one.excluded, one.alone) for one in told) == sorted(wanted)
    assert [one.excluded for one in told] == sorted((one.excluded for one in told), reverse=True)


@given(st.lists(TERMS, max_size=4), st.lists(CANDIDATES, max_size=6), st.integers(0, 6))
def test_two_pages_together_are_what_one_of_both_says(terms: list[Term], jobs: list[Candidate], cut: int):
    def told(some: list[Candidate]) -> list[Exclusion]:
        tally = Tally(Query(tuple({str(Query((term,))): term for term in terms}.values())))
        for job in some:
            tally.takes(job, NOW)
        return tally.exclusions({})

    both = added(told(jobs[:cut]), told(jobs[cut:]))
    assert sorted(both, key=str) == sorted(told(jobs), key=str)
    assert added([], told(jobs)) == told(jobs)


def test_alternatives_are_one_demand_and_can_be_left_out_together():
    query = parse("queue:a -queue:c status:dead queue:b age>1d input.n:1 input.m:1 input.n:2")
    assert [str(Query(one)) for one in query.demands] == [
        "queue:a queue:b",
        "-queue:c",
        "status:dead",
        "age>1d",
        "input.n:1 input.n:2",
        "input.m:1",
    ]
    assert str(query.without(query.demands[0])) == "-queue:c status:dead age>1d input.n:1 input.m:1 input.n:2"


def test_it_is_told_in_sentences_which_excludes_most_first():
    def line(terms: str, of: int, excluded: int, alone: int = 0, elsewhere: int = 0) -> Exclusion:
        return Exclusion(terms=terms, of=of, excluded=excluded, alone=alone, elsewhere=elsewhere)

    def said(*lines: Exclusion, what: str = "job") -> list[str]:
        return [str(one) for one in told(lines, what)]

    assert said(
        line("age>1d", 1188, 1100, 20), line("status:waiting", 1188, 0, 0, 12_000), line("x", 1188, 3)
    ) == [
        "of the 1,188 jobs that were looked at, age>1d excludes most: 1,100",
        "age>1d excludes 1,100 of 1,188, 20 of which fit all else",
        "status:waiting excludes none of these; it leaves out 12,000 records elsewhere",
        "x excludes 3 of 1,188",
    ]
    assert said(line("locked", 1, 1), what="session") == [
        "of the one session that was looked at, locked excludes most: 1"
    ]
    assert said(line("queue:none", 0, 0, 0, 60), line("status:active", 0, 0)) == [
        "no job was there to be looked at: queue:none excludes most, 60 records elsewhere",
        "queue:none leaves out 60 records elsewhere",
        "status:active excludes none of these",
    ]
    assert said(line("queue:none", 0, 0)) == []
    assert said() == []

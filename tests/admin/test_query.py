"""The language of queries: what it reads it prints, and whatever is no query is one clear error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio.admin.query import (
    AMOUNT_FIELDS,
    KINDS,
    MAX_CHARACTERS,
    TEXT_FIELDS,
    Amount,
    Input,
    Query,
    Since,
    Text,
    parse,
)
from am2z_trio.admin.query_times import FIRST, LAST, time_of
from am2z_trio.model.errors import ValidationError

DAY = 24 * 3600 * 1000

ANY_TEXT = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=30)
PATH_PART = st.text(
    st.characters(blacklist_categories=["Cs", "Zs", "Zl", "Zp", "Cc"], blacklist_characters='.:<>"'),
    min_size=1,
    max_size=8,
)


def texts() -> st.SearchStrategy[Text]:
    others = [field for field in TEXT_FIELDS if field != "status"]
    statuses = st.builds(Text, st.just("status"), st.sampled_from(KINDS), negated=st.booleans())
    fields = st.sampled_from(["word", *others])
    return st.one_of(statuses, st.builds(Text, fields, ANY_TEXT, st.booleans(), st.booleans()))


def amounts() -> st.SearchStrategy[Amount]:
    times = st.builds(
        Amount,
        st.sampled_from(["age", "ran"]),
        st.sampled_from(["<", ">"]),
        st.integers(0, 100 * 365 * DAY),
        st.booleans(),
    )
    attempts = st.builds(
        Amount, st.just("attempt"), st.sampled_from("<>="), st.integers(0, 999_999), st.booleans()
    )
    return st.one_of(times, attempts)


TERMS = st.one_of(
    texts(),
    amounts(),
    st.builds(Input, st.lists(PATH_PART, min_size=1, max_size=4).map(tuple), ANY_TEXT, st.booleans()),
    st.builds(Since, st.integers(0, DAY // 1000 - 1).map(lambda s: s * 1000), st.just(True), st.booleans()),
    st.builds(Since, st.integers(FIRST, LAST), st.just(False), st.booleans()),
)
QUERIES = st.lists(TERMS, max_size=8).map(lambda terms: Query(tuple(terms)))
PIECES = st.sampled_from(
    [*TEXT_FIELDS, *AMOUNT_FIELDS, "since", "input.a", *':<>-*"\\ .', "5m", "11:00", "failed", *"\n\0é"]
)


@given(QUERIES)
def test_what_is_printed_is_read_as_the_same(query: Query):
    text = str(query)
    if len(text) <= MAX_CHARACTERS:
        assert parse(text) == query


def refusal_of(text: str) -> ValidationError | None:
    try:
        query = parse(text)
    except ValidationError as error:
        return error
    printed = str(query)
    assert len(printed) <= len(text)
    assert parse(printed) == query
    return None


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=14).map("".join)))
def test_any_text_is_a_query_or_one_clear_error(text: str):
    error = refusal_of(text)
    if error is not None:
        assert error.context["field"] == "query"
        assert 1 <= int(error.context["position"]) <= len(text) + 1
        assert error.message.endswith(error.context["rule"])


def test_every_kind_of_term():
    query = parse(
        "alice 01k9* status:failed -queue:charge session:team-* age>5m ran<1.5s attempt:3 -attempt>9 "
        'since:11:00 since:2026-11-27T12:30+02:00 error:"no money" caused-by:x input.order.items.0.country:DE'
    )
    assert query.terms == (
        Text("word", "alice"),
        Text("word", "01k9", prefix=True),
        Text("status", "failed"),
        Text("queue", "charge", negated=True),
        Text("session", "team-", prefix=True),
        Amount("age", ">", 300_000),
        Amount("ran", "<", 1_500),
        Amount("attempt", "=", 3),
        Amount("attempt", ">", 9, negated=True),
        Since(11 * 3_600_000, daily=True),
        Since(1_795_775_400_000),
        Text("error", "no money"),
        Text("caused-by", "x"),
        Input(("order", "items", "0", "country"), "DE"),
    )


@pytest.mark.parametrize(
    ("text", "position", "rule"),
    [
        ("order:17", 1, "no field 'order'"),
        ("a  colour>5", 4, "no field 'colour'"),
        ("status:lost", 8, "waiting, delayed, active"),
        ("status:fail*", 8, "waiting, delayed, active"),
        ("age:5m", 1, "'>' or '<'"),
        ("age>5", 5, "a number and one of d, h, m, s, ms"),
        ("age>1e9d", 5, "a number and one of"),
        ("age>999999999999d", 5, "100 years"),
        ("age>٥m", 5, "a number and one of"),
        ("attempt>x", 9, "'attempt' is a number"),
        ("queue>5", 1, "takes ':'"),
        ("queue:", 7, "a value must follow"),
        ('queue:""', 7, "must have characters"),
        ("queue:*", 7, "must have characters"),
        ("queue:a*b", 7, "'*' stands at the end"),
        ('queue:"a', 7, "a quote is not closed"),
        ('queue:"\\n"', 7, "stands before something other"),
        ('"a"b', 4, "a space must stand"),
        ("input:5", 1, "needs a path"),
        ("input.a>5", 1, "takes ':'"),
        ("queue.a:5", 1, "has no parts"),
        ("since:25:00", 7, "a moment is"),
        ("since:2026-02-30", 7, "a moment is"),
        ("since:9999-12-31T23:59-14:00", 7, "a moment is"),
        ("since>11:00", 1, "takes ':'"),
        ("-", 2, "a value must follow"),
        ("--a", 2, ""),
        ("a" * 501, 501, "at most 500 characters, and has 501"),
        ("a \ud800", 3, "half a surrogate pair"),
    ],
)
def test_what_is_no_query_is_told_with_its_place_and_the_rule(text: str, position: int, rule: str):
    if text == "--a":
        assert parse(text).terms == (Text("word", "-a", negated=True),)
        return
    with pytest.raises(ValidationError) as raised:
        parse(text)
    assert raised.value.context["position"] == position
    assert rule in raised.value.message
    assert len(raised.value.message) < 1_000


@pytest.mark.parametrize("text", [None, 5, b"a", ["a"]])
def test_only_a_text_is_a_query(text: object):
    with pytest.raises(ValidationError, match="must be a text"):
        parse(text)


def test_nothing_and_denials_alone_ask_for_nothing():
    assert not parse("").asks_for_something
    assert not parse(" \n ").asks_for_something
    assert not parse("-status:failed -queue:x").asks_for_something
    assert parse("-status:failed queue:x").asks_for_something


def test_a_time_of_day_is_the_last_one():
    noon = Since(12 * 3_600_000, daily=True)
    assert noon.resolved(10 * DAY + 13 * 3_600_000) == 10 * DAY + 12 * 3_600_000
    assert noon.resolved(10 * DAY + 11 * 3_600_000) == 9 * DAY + 12 * 3_600_000
    assert Since(5).resolved(10 * DAY) == 5


def test_times_are_told_in_few_characters():
    told = [time_of(ms) for ms in (0, 1, 250, 1000, 90_000, 3_600_000, 86_400_000)]
    assert told == ["0s", "1ms", "250ms", "1s", "90s", "1h", "1d"]

"""What operators ask of sessions, and whether a session is that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am2z_trio import JobOptions, ValidationError, processor
from am2z_trio.admin import session_search
from am2z_trio.admin.query import Amount, Query, Text
from am2z_trio.admin.session_query import is_asked_for, is_so, sessions_asked_for
from am2z_trio.model.views.search import SessionPage
from am2z_trio.model.views.sessions import SessionRow
from tests.support.desks import admin

NOW = 10_000_000
MINUTE = 60_000


def row(**facts: Any) -> SessionRow:
    jobs = facts.get("active", 0) + facts.get("waiting", 0) + facts.get("delayed", 0)
    return SessionRow(session="s", **{"jobs": jobs, "looked_at": jobs, **facts})


@pytest.mark.parametrize(
    ("asked", "shown", "so"),
    [
        ("running>0", row(active=1), True),
        ("running>0", row(waiting=1), False),
        ("-running>0", row(waiting=1), True),
        ("running:2", row(active=2), True),
        ("waiting>1", row(waiting=1, delayed=1), True),
        ("waiting<1", row(active=3), True),
        ("version>10", row(version=11), True),
        ("version:3", row(version=4), False),
        ("idle>10m", row(waiting=1, updated=NOW - 11 * MINUTE), True),
        ("idle>10m", row(waiting=1, updated=NOW - 9 * MINUTE), False),
        # One of its jobs runs, so it is not idle; and nobody knows of one that has never had a state.
        ("idle>10m", row(active=1, updated=NOW - 11 * MINUTE), False),
        ("idle<10m", row(active=1), True),
        ("idle>10m", row(waiting=1), False),
        ("idle<10m", row(waiting=1), False),
        ("locked", row(locked=True), True),
        ("locked", row(), False),
        ("-locked", row(), True),
        ("running>0 locked", row(active=1), False),
        # Of more jobs than were counted any number may run.
        ("running>0", row(waiting=100, jobs=500, looked_at=100), None),
        ("running>0", row(active=1, waiting=99, jobs=500, looked_at=100), True),
        ("running<1", row(active=1, waiting=99, jobs=500, looked_at=100), False),
        ("running>400", row(waiting=100, jobs=500, looked_at=100), False),
        ("running:7", row(waiting=100, jobs=500, looked_at=100), None),
        ("running:0", row(waiting=100, jobs=500, looked_at=100), None),
        ("-running>0", row(waiting=100, jobs=500, looked_at=100), None),
        ("idle>10m", row(waiting=9, jobs=500, looked_at=9, updated=NOW - 11 * MINUTE), None),
        ("running>0 locked", row(waiting=100, jobs=500, looked_at=100), False),
    ],
)
def test_whether_a_session_is_so(asked, shown, so):
    assert is_so(sessions_asked_for(asked).facts, shown, NOW) is so


def test_a_word_alone_is_an_id_and_locked_is_one_in_quotes_or_by_its_field():
    for text in ("session:locked", '"locked"'):
        asked = sessions_asked_for(text)
        assert (asked.exact, asked.facts) == (["locked"], ())
    assert sessions_asked_for("locked").facts == (Text("is", "locked"),)
    assert sessions_asked_for("locked*").ids.terms == (Text("session", "locked", prefix=True),)
    asked = sessions_asked_for("alice -team-* running>0")
    assert str(asked.text) == "session:alice -session:team-* running>0"
    assert asked.facts == (Amount("running", ">", 0),)
    assert is_asked_for(asked.ids, "alice")
    assert not is_asked_for(asked.ids, "team-a")
    everybody = sessions_asked_for("running>0")
    assert (everybody.exact, is_asked_for(everybody.ids, "anybody"), everybody.takes_all) == ([], True, False)
    assert sessions_asked_for("").takes_all


@pytest.mark.parametrize("text", ["age>5m", "status:waiting", "running>5m", "idle:5m", "locked>1", "idle>5"])
def test_what_cannot_be_asked_of_sessions_is_refused(text):
    with pytest.raises(ValidationError, match="query: at character"):
        sessions_asked_for(text)


@given(
    st.lists(
        st.one_of(
            st.builds(
                Amount,
                st.sampled_from(["running", "waiting", "version"]),
                st.sampled_from("<>="),
                st.integers(0, 999_999),
                st.booleans(),
            ),
            st.builds(Amount, st.just("idle"), st.sampled_from("<>"), st.integers(0, 10**9), st.booleans()),
            st.builds(Text, st.just("is"), st.just("locked"), st.just(False), st.booleans()),
            st.builds(Text, st.just("session"), st.sampled_from(["locked", "a b", "-x", "idle>1"])),
        ),
        max_size=6,
    )
)
def test_what_is_printed_is_read_as_the_same(terms):
    query = Query(tuple(terms))
    assert sessions_asked_for(str(query)).text == query


@processor
async def work(n: int) -> int:
    return n


@pytest.mark.anyio
async def test_pages_of_what_is_asked_for_hold_all_of_it_once(make_runtime, monkeypatch):
    monkeypatch.setattr(session_search, "AT_ONCE", 7)
    async with make_runtime() as runtime:
        runtime.register(work)
        for n in range(40):
            await runtime.submit(work, n, session=f"s{n}", options=JobOptions(delay=60))
            if n % 3 == 0:
                await runtime.submit(work, n, session=f"s{n}", options=JobOptions(delay=60))
        desk = admin(runtime)
        for query, wanted in (("waiting>1", 14), ("s1*", 11), ("s1* waiting>1", 3), ("", 40)):
            found, cursor, looked_at = list[str](), "", 0
            while True:
                page = await desk.sessions(query=query, limit=5, cursor=cursor)
                assert len(page.rows) <= 5
                found += [one.session for one in page.rows]
                cursor, looked_at = page.cursor, looked_at + page.looked_at
                if not cursor:
                    break
            assert (len(found), len({*found})) == (wanted, wanted), query
            assert looked_at == 40


@pytest.mark.anyio
async def test_a_page_looks_at_so_many_sessions_and_says_so(make_runtime, monkeypatch):
    monkeypatch.setattr(session_search, "ROWS", 10)
    monkeypatch.setattr(session_search, "AT_ONCE", 5)
    async with make_runtime() as runtime:
        runtime.register(work)
        for n in range(30):
            await runtime.submit(work, n, session=f"s{n}", options=JobOptions(delay=60))
        desk = admin(runtime)
        page = await desk.sessions(query="running>0", limit=2)
        assert page.rows == []
        assert 10 <= page.looked_at < 20
        assert page.cursor
        # What is named is looked at alone, and told at rest, too.
        await runtime.state.set("rests", {"n": 1})
        page = await desk.sessions(query="rests s7 nobody")
        assert [one.session for one in page.rows] == ["rests", "s7"]
        assert (page.looked_at, page.cursor) == (3, "")
        assert [one.session for one in (await desk.sessions(query="rests s7 waiting>0")).rows] == ["s7"]
        limited = admin(runtime, sessions=("s*",))
        assert [one.session for one in (await limited.sessions(query="rests s7")).rows] == ["s7"]


@pytest.mark.anyio
async def test_a_page_without_sessions_says_what_each_term_has_excluded(make_runtime):
    def told(page: SessionPage) -> list[tuple[str, int, int, int]]:
        return [(one.terms, one.of, one.excluded, one.alone) for one in page.excluded]

    async with make_runtime() as runtime:
        runtime.register(work)
        for n in range(12):
            await runtime.submit(work, n, session=f"s{n}", options=JobOptions(delay=60))
        await runtime.state.set("s0", {"n": 1})
        desk = admin(runtime)
        assert (await desk.sessions(query="s0 s99")).excluded == []
        nobody = await desk.sessions(query="session:t* session:u*")
        assert told(nobody) == [("session:t* session:u*", 12, 12, 12)]
        # Of those alone whose ids are asked for it is known whether any of their jobs runs.
        some = await desk.sessions(query="s1* running>0 -locked version<1")
        assert told(some) == [
            ("session:s1*", 12, 9, 0),
            ("running>0", 3, 3, 3),
            ("-locked", 3, 0, 0),
            ("version<1", 3, 0, 0),
        ]
        none = await desk.sessions(query="s0 s1 running>0 version>1")
        assert told(none) == [
            ("running>0", 2, 2, 0),
            ("version>1", 2, 2, 0),
            ("session:s0 session:s1", 2, 0, 0),
        ]
        limited = admin(runtime, sessions=("s1*",))
        assert told(await limited.sessions(query="t*")) == [("session:t*", 3, 3, 3)]

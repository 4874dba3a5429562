"""A search finds what a look at every single job would, a page at a time, on both stores."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from am2z_trio.admin import search as module
from am2z_trio.admin.matching import NOT_KEPT, is_met, matches
from am2z_trio.admin.plan import Place, Queue, plan
from am2z_trio.admin.query import Query, parse
from am2z_trio.admin.search import Search, candidate_of
from am2z_trio.concurrency import current_host
from am2z_trio.model.codec import encode_record
from am2z_trio.model.error_records import record_of
from am2z_trio.model.errors import BusinessError, ValidationError
from am2z_trio.model.ids import made_prefix, maker
from am2z_trio.model.records import WIRE_VERSION, JobSpec, ResultRecord, Wait
from am2z_trio.model.transitions import TERMINAL
from am2z_trio.model.views.jobs import JobRow
from am2z_trio.model.views.search import Exclusion, Page
from am2z_trio.testing.conformance import Backend, Bench, Node, job
from tests.store.test_conformance import MemoryBackend, RedisBackend

pytestmark = pytest.mark.anyio

QUEUES = [Queue("q", "q"), Queue("r", "r")]
COUNTRIES = ("DE", "FR")


@pytest.fixture(params=["memory", "redis"])
def backend(request: pytest.FixtureRequest) -> Backend:
    if request.param == "memory":
        return MemoryBackend()
    return RedisBackend(request.getfixturevalue("redis_url"), request.getfixturevalue("redis_server"))


@asynccontextmanager
async def opened(backend: Backend) -> AsyncIterator[tuple[Bench, Node]]:
    async with current_host().open_nursery() as nursery:
        bench = Bench(backend, nursery)
        yield bench, await bench.node()
        nursery.cancel_scope.cancel()


def given(number: int) -> bytes:
    return msgspec.msgpack.encode({"n": number, "to": {"country": COUNTRIES[number % 2]}})


def failure() -> bytes:
    error = record_of(BusinessError("no money", code="BROKE"))
    return encode_record(ResultRecord(WIRE_VERSION, msgspec.Raw(b"\xc0"), error, 1, 0, 0.1, "a"))


async def some_of_everything(bench: Bench, node: Node) -> list[str]:
    """Jobs of every status, in two queues and some sessions; their ids."""
    ids = list[str]()
    for number in range(60):
        bench.clock.advance(0.5)
        queue, session = "qr"[number % 2], ("", "alice", "bob")[number % 3]
        id = f"j{number:02}"
        delay = 60.0 if number >= 50 else 0.0
        await node.store.enqueue([job(id, queue, session=session, state=given(number), delay=delay)])
        ids.append(id)
    for queue in "qr":
        for number, grant in enumerate(await node.claim(20, queue)):
            bench.clock.advance(0.25)
            if number < 6:
                await node.settle(grant)
            elif number < 12:
                await node.settle(grant, "failed", result=failure(), reason="BROKE\nno money")
            elif number < 14:
                await node.settle(grant, "cancelled")
            elif number < 17:
                wait = Wait(key="1", name="go" if number == 15 else "", seconds=600.0)
                await node.store.waits.wait(grant.spec.id, grant.token, wait)
                await node.settle(grant, "parked", reason="1")
    return ids


def searching(
    node: Node,
    bench: Bench,
    sees: Callable[[JobRow], bool] = lambda row: True,
    sees_session: Callable[[str], bool] = lambda session: True,
    *,
    tells_why: bool = False,
) -> Any:
    async def page(text: str, cursor: str = "", limit: int = 4) -> Page:
        search, now = Search(node.store, sees, sees_session), bench.clock()
        return await search.page(
            parse(text), QUEUES, limit=limit, cursor=cursor, now=now, tells_why=tells_why
        )

    return page


async def all_of(page: Any, text: str) -> list[str]:
    found, cursor = list[str](), ""
    for _ in range(200):
        some = await page(text, cursor)
        assert len(some.rows) <= 4
        found += [row.id for row in some.rows]
        cursor = some.cursor
        if not cursor:
            return found
    raise AssertionError(f"{text!r} never ends")


TEXTS = [
    "",
    "status:waiting",
    "status:active queue:q",
    "status:delayed -session:bob",
    "status:parked",
    "status:parked status:waiting",
    "status:delayed -status:parked",
    "status:parked session:alice",
    "-status:delayed queue:q",
    "status:failed",
    "status:dead queue:r",
    "-status:dead",
    "status:completed status:cancelled",
    "session:alice",
    "session:a*",
    "session:alice status:waiting",
    "session:alice session:bob -queue:q",
    "alice",
    "j1",
    "j1*",
    "j07",
    "id:j07 id:j08 id:nobody",
    "id:j0*",
    "node:a",
    "code:BROKE",
    'error:"no money"',
    "age>20s status:waiting",
    "age<20s",
    "since:2023-11-14T22:13:40",
    "ran>1s",
    "queue:nobody",
    "input.to.country:DE",
    "input.to.country:DE status:dead",
    "-input.n:5 status:waiting",
]


@pytest.mark.parametrize("budget", [5, 1_000])
async def test_pages_together_are_what_a_look_at_every_job_finds(backend, monkeypatch, budget):
    monkeypatch.setattr(module, "BUDGET", budget)
    monkeypatch.setattr(module, "SLICE", min(budget, module.SLICE))
    async with opened(backend) as (bench, node):
        ids = await some_of_everything(bench, node)
        rows = [row for row in await node.store.inspection.rows(ids) if row is not None]
        kept = {row.id for row in rows if row.size}
        inputs = {id: msgspec.msgpack.decode(given(number)) for number, id in enumerate(ids) if id in kept}
        page = searching(node, bench)
        for text in TEXTS:
            wanted = {
                row.id
                for row in rows
                if matches(
                    parse(text), candidate_of(row, bench.clock(), inputs.get(row.id, NOT_KEPT)), bench.clock()
                )
            }
            found = await all_of(page, text)
            assert len(found) == len(set(found)), text
            assert set(found) == wanted, text


async def test_what_jobs_were_given_is_read_in_portions(backend, monkeypatch):
    monkeypatch.setattr(module, "MOST_GIVEN", 100)
    async with opened(backend) as (bench, node):
        ids = await some_of_everything(bench, node)
        rows = {row.id: row.size for row in await node.store.inspection.rows(ids) if row is not None}
        asked, inspection = list[list[str]](), node.store.inspection
        specs = inspection.specs

        async def noted(some: Sequence[str]) -> list[JobSpec | None]:
            asked.append([*some])
            return await specs(some)

        monkeypatch.setattr(inspection, "specs", noted)
        found = await all_of(searching(node, bench), "input.to.country:DE")
        assert found
        assert any(len(some) > 1 for some in asked)
        assert all(len(some) == 1 or sum(rows[id] for id in some) <= 100 for some in asked)


@pytest.mark.parametrize(
    "known",
    [
        [QUEUES, [Queue("a", "a"), *QUEUES]],
        [QUEUES, QUEUES[::-1]],
        [[Queue("a", "a"), *QUEUES], QUEUES],
        [[Queue("b", "b"), Queue("a", "a"), *QUEUES], [*QUEUES, Queue("a", "a")]],
    ],
    ids=["more queues", "in another order", "fewer", "others"],
)
async def test_who_reads_on_may_know_of_other_queues(known, backend):
    async with opened(backend) as (bench, node):
        ids = await some_of_everything(bench, node)
        records = await node.store.view(ids)
        waiting = [one.id for one in records if one is not None and one.status == "waiting"]
        found, cursor, query = list[str](), "", parse("status:waiting")
        for number in itertools.count():
            search = Search(node.store, lambda row: True)
            page = await search.page(query, known[number % 2], limit=3, cursor=cursor, now=bench.clock())
            found += [row.id for row in page.rows]
            cursor = page.cursor
            if not cursor:
                break
        assert sorted(found) == sorted(waiting)


async def test_where_a_queue_has_gone_the_next_is_read_from_its_beginning(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        search, query = Search(node.store, lambda row: True), parse("status:waiting")
        begun = await search.page(query, QUEUES, limit=1, cursor="", now=bench.clock())
        (first,), left = begun.rows, [queue for queue in QUEUES if queue.name != begun.rows[0].queue]
        rest = await search.page(query, left, limit=500, cursor=begun.cursor, now=bench.clock())
        alone = await search.page(query, left, limit=500, cursor="", now=bench.clock())
        assert first.queue == QUEUES[0].name
        assert [row.id for row in rest.rows] == [row.id for row in alone.rows] != []


async def test_new_jobs_do_not_shift_pages_of_what_has_ended(backend):
    async with opened(backend) as (bench, node):
        numbers = itertools.count()

        async def ends(many: int) -> list[str]:
            ids = [f"j{next(numbers):03}" for _ in range(many)]
            for id in ids:
                bench.clock.advance(0.001)
                await node.store.enqueue([job(id)])
                await node.settle(await node.claim_one())
            return ids

        old = await ends(20)
        page = searching(node, bench)
        for text in ("status:completed", "status:completed -session:x"):
            found, cursor = list[str](), ""
            while True:
                some = await page(text, cursor)
                found += [row.id for row in some.rows]
                cursor = some.cursor
                if not cursor:
                    break
                await ends(3)
            newest_first = [id for id in found if id in old]
            assert newest_first == old[::-1], text
            assert len(set(found)) == len(found)


async def test_a_page_says_how_far_it_has_looked_and_what_has_gone(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        page = searching(node, bench)
        some = await page("code:NONE")
        assert (some.rows, some.cursor) == ([], "")
        assert some.looked_at >= 60
        assert some.of >= 60
        missing = await page("id:nobody")
        assert (missing.rows, missing.looked_at, missing.gone) == ([], 1, 1)


NOTHING: dict[str, Callable[[JobRow], bool]] = {
    "code:NONE": lambda row: True,
    "code:NONE status:waiting": lambda row: row.status == "waiting",
    "-session:alice -session:bob session:a* queue:q": lambda row: row.queue == "q",
    "status:failed session:b* attempt>1 -code:NONE": lambda row: row.status in TERMINAL,
    "input.n:1000 queue:q": lambda row: row.queue == "q",
    "id:j00 id:j01 status:parked": lambda row: row.id in ("j00", "j01"),
    "status:waiting session:nobody*": lambda row: row.status == "waiting",
    "ran>1d session:alice status:active": lambda row: row.session == "alice" and row.status not in TERMINAL,
}
"""Queries that find nothing, and which jobs are looked at for them."""


@pytest.mark.parametrize("budget", [5, 1_000])
async def test_a_page_without_jobs_says_what_each_term_has_excluded_of_all_that_it_has_looked_at(
    backend, monkeypatch, budget
):
    monkeypatch.setattr(module, "BUDGET", budget)
    monkeypatch.setattr(module, "SLICE", min(budget, module.SLICE))
    async with opened(backend) as (bench, node):
        ids = await some_of_everything(bench, node)
        rows = [row for row in await node.store.inspection.rows(ids) if row is not None]
        page = searching(node, bench, tells_why=True)
        for text, is_looked_at in NOTHING.items():
            query = parse(text)
            held = [candidate_of(row, bench.clock()) for row in rows if is_looked_at(row)]
            counted = Counter[str]()
            for job in held:
                out = [str(Query(one)) for one in query.demands if not is_met(one, job, bench.clock())]
                counted.update(out)
                counted.update(f"alone {one}" for one in out if len(out) == 1)
            told, seen, cursor = Counter[str](), 0, ""
            while True:
                some = await page(text, cursor)
                assert some.rows == [], text
                assert [one.terms for one in some.excluded] == [
                    one.terms for one in sorted(some.excluded, key=lambda one: -one.excluded)
                ]
                assert len({one.of for one in some.excluded}) == 1
                assert len(some.excluded) == len(query.demands)
                seen += some.excluded[0].of
                for one in some.excluded:
                    told[one.terms] += one.excluded
                    told[f"alone {one.terms}"] += one.alone
                cursor = some.cursor
                if not cursor:
                    break
            assert seen == len(held), text
            assert +told == counted, text


async def test_where_no_job_is_there_to_be_looked_at_the_term_is_named_that_leaves_out_most(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        page = searching(node, bench, tells_why=True)
        totals = await node.store.inspection.totals(["q", "r"])
        active = sum(one.active for one in totals)
        some = await page("status:active queue:nobody")
        assert (some.rows, some.looked_at, some.of) == ([], 0, 0)
        assert some.excluded == [
            Exclusion(terms="queue:nobody", of=0, excluded=0, alone=0, elsewhere=active),
            Exclusion(terms="status:active", of=0, excluded=0, alone=0),
        ]
        assert active
        for grant in [*await node.claim(100, "q"), *await node.claim(100, "r")]:
            await node.settle(grant)
        some = await page("status:waiting age>1h")
        assert (some.rows, some.looked_at) == ([], 0)
        lists = await node.store.inspection.totals(["q", "r"])
        every = sum(one.active + one.waiting + one.later + one.dead + one.recent for one in lists)
        assert [(one.terms, one.elsewhere) for one in some.excluded] == [
            ("status:waiting", every),
            ("age>1h", 0),
        ]
        missing = await page("id:nobody")
        assert [(one.terms, one.of, one.elsewhere) for one in missing.excluded] == [
            ("id:nobody", 0, every - 1)
        ]


async def test_what_excludes_is_asked_for_with_no_further_call_and_not_at_all_where_something_is_found(
    backend, monkeypatch
):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        asked, inspection = list[list[str]](), node.store.inspection
        totals = inspection.totals

        async def noted(queues: Sequence[str]) -> Any:
            asked.append([*queues])
            return await totals(queues)

        monkeypatch.setattr(inspection, "totals", noted)
        page = searching(node, bench, tells_why=True)
        found = await page("status:waiting queue:q")
        assert found.rows
        assert found.excluded == []
        assert asked == [["q"]]
        none = await page("status:waiting queue:q age>1d")
        assert none.excluded[0].terms == "age>1d"
        assert asked == [["q"], ["q", "r"]]
        assert (await searching(node, bench)("code:NONE")).excluded == []


async def test_what_is_parked_is_found_among_what_is_delayed_and_the_page_says_so(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        some = await searching(node, bench)("status:parked queue:q", limit=50)
        assert len(some.rows) == 3
        assert {row.shown_as for row in some.rows} == {"parked"}
        # Of the delayed ones of this queue, all are looked at.
        assert (some.looked_at, some.of, some.cursor) == (8, 8, "")


async def test_one_that_is_parked_is_looked_for_in_slices(backend, monkeypatch):
    """And not one record a script, as where all that is looked at is wanted."""
    async with opened(backend) as (bench, node):
        await node.store.enqueue([job(f"d{n:02}", delay=600.0) for n in range(90)])
        asked = list[int]()
        page = node.store.inspection.page

        async def counted(queue: str, source: Any, start: int = 0, count: int = 50) -> Any:
            asked.append(count)
            return await page(queue, source, start, count)

        monkeypatch.setattr(node.store.inspection, "page", counted)
        some = await searching(node, bench)("status:parked queue:q", limit=1)
        assert (some.rows, some.looked_at, asked) == ([], 90, [module.SLICE])


async def test_what_may_not_be_seen_is_not_found(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        page = searching(node, bench, lambda row: row.session == "alice", tells_why=True)
        assert {*await all_of(page, "")} == {*await all_of(page, "session:alice")}
        assert await all_of(page, "id:j00") == []
        theirs = len(await all_of(page, ""))
        assert [(one.of, one.excluded) for one in (await page("code:NONE")).excluded] == [(theirs, theirs)]
        assert [(one.of, one.excluded) for one in (await page("id:j00")).excluded] == [(0, 0)]


async def test_a_page_tells_no_more_of_jobs_that_may_not_be_seen_than_of_those_that_never_were(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        made, never_made = (f"{made_prefix(1_700_000_000_000, maker())}1" for _ in range(2))
        await node.store.enqueue([job(made, "q", session="bob")])
        page = searching(
            node,
            bench,
            lambda row: row.session == "alice",
            lambda session: session == "alice",
            tells_why=True,
        )
        for theirs, nobody in (
            ("id:j02", "id:j999"),
            ("id:j02 status:waiting", "id:j999 status:waiting"),
            ("session:bob status:active", "session:nobody status:active"),
            ("bob status:waiting", "nobody status:waiting"),
            (made, never_made),
        ):
            said, never = await page(theirs), await page(nobody)
            assert said.rows == []
            assert (said.looked_at, said.of, said.gone) == (never.looked_at, never.of, never.gone), theirs
            told = [(one.of, one.excluded, one.alone, one.elsewhere) for one in said.excluded]
            assert told == [(one.of, one.excluded, one.alone, one.elsewhere) for one in never.excluded]


async def test_a_cursor_of_another_query_is_refused(backend):
    async with opened(backend) as (bench, node):
        await some_of_everything(bench, node)
        page = searching(node, bench)
        some = await page("status:waiting")
        with pytest.raises(ValidationError, match="another list"):
            await page("status:failed", some.cursor)


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("id:x id:y status:failed", [Place("ids", ids=("x", "y"))]),
        ("session:s status:waiting", [Place("session", "s")]),
        ("status:waiting queue:q", [Place("waiting", "q")]),
        ("status:dead", [Place("dead", "q"), Place("dead", "r")]),
        ("status:parked queue:q", [Place("later", "q")]),
        (
            "-status:delayed -status:failed queue:q",
            [Place(one, "q") for one in ("active", "waiting", "recent")],
        ),
        ("status:failed -queue:r", [Place("dead", "q"), Place("recent", "q")]),
        ("node:n queue:q", [Place("node", "n")]),
        ("node:n* queue:q", [Place("active", "q")]),
        ("node:n* status:waiting", []),
        ("queue:none", []),
        ("session:s status:completed queue:r", [Place("recent", "r")]),
    ],
)
def test_the_cheapest_places_that_hold_all_of_it(text, places):
    assert plan(parse(text), QUEUES) == places

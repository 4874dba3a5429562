"""The console's pages of jobs, over a real Redis: what they show, and each action in each role."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from urllib.parse import quote

import httpx
import pytest

from am2z_trio import Context, RetryPolicy, processor
from am2z_trio.admin import ROLES, Admin, Permission, Principal
from am2z_trio.model.errors import AM2ZError
from am2z_trio.model.segments import segment
from am2z_trio.testing.conformance import HOSTILE

from .conftest import charge, price, until

pytestmark = pytest.mark.anyio


async def test_a_page_that_reveals_what_jobs_were_given_is_not_followed(open_site):
    async with open_site(work=True) as site:
        browser, query = site.as_("operator"), "input.n:-1 status:dead"
        for path in ("/jobs", "/dead"):
            plain = await browser.get(path, params={"q": "status:dead"})
            assert "data-follow" in plain.text
        assert site.app.state.hub.looks == 0
        live = {"Accept": "text/event-stream"}
        for path in ("/jobs", "/dead"):
            for params in ({"q": query}, {"q": "status:dead", "add": "input.n:-1"}, {"group": query}):
                for headers in ({}, live):
                    page = await browser.get(path, params=params, headers=headers)
                    assert page.headers["content-type"].startswith("text/html"), (path, params)
                    assert "data-follow" not in page.text
        told = await site.runtime.node.store.chronicle.audit_page()
        assert {(one.who, one.action) for one in told.entries} == {("operator@test", "search by input")}
        assert site.app.state.hub.looks == 0
        long = await browser.get("/jobs", params={"q": "x" * 501})
        assert long.status_code == 400


@processor(name="cost", retry=RetryPolicy(max_attempts=1))
async def cost(n: int) -> int:
    """Fails otherwise than `price` does."""
    raise KeyError(n)


ACTIONS: list[tuple[str, str, dict[str, str], Permission, str]] = [
    ("waiting", "cancel", {"reason": "r"}, "cancel", "it waited, and has ended"),
    ("active", "cancel", {}, "cancel", "it runs, and ends at its next checkpoint"),
    ("delayed", "next", {}, "retry", "it waits no longer, and is the next one"),
    ("dead", "test", {}, "reveal", "async def test_what_the_job_was_given"),
    ("dead", "reveal", {"reason": "r"}, "reveal", "-1"),
    ("dead", "edit", {"state": "7"}, "edit", "is accepted"),
    ("dead", "retry", {}, "retry", "it waits, and runs again"),
]
"""Which job, what is done to it, with which fields, by whom, and what is said then."""


async def follow(browser: httpx.AsyncClient, to: str, data: Mapping[str, object]) -> httpx.Response:
    """Send a plain form, and look at the page that says what became of it."""
    return await browser.post(to, data=data, follow_redirects=True)


def text_of(page: httpx.Response) -> str:
    """What stands there, without what it is marked up with."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


def found_in(page: httpx.Response, pattern: str) -> str:
    """What stands there in the place of a pattern's group."""
    found = re.search(pattern, page.text)
    assert found is not None, pattern
    return unescape(found[1])


async def test_every_page_is_there_for_every_job_and_every_role(open_site):
    async with open_site(work=True) as site:
        for role in ROLES:
            browser = site.as_(role)
            for path in ("/jobs", "/dead", "/bulks", "/enqueue"):
                page = await browser.get(path)
                assert page.status_code == 200, (path, page.text)
            for kind, id in site.jobs.items():
                for what in ("", "/why", "/cancel"):
                    page = await browser.get(f"/jobs/{segment(id)}{what}")
                    assert page.status_code == 200, (kind, what, page.text)
                    assert " style=" not in page.text
                    assert not re.search(r"<script(?! src=)", page.text)


@pytest.mark.parametrize("role", ROLES)
async def test_every_action_is_done_for_who_may_and_refused_for_who_may_not(open_site, role):
    async with open_site(work=True) as site:
        browser = site.as_(role)
        for kind, what, fields, permission, told in ACTIONS:
            id = segment(site.jobs[kind])
            answer = await follow(browser, f"/jobs/{id}/{what}", {**fields})
            if permission in ROLES[role]:
                assert answer.status_code == 200, (what, answer.text)
                assert told in text_of(answer), (kind, what, text_of(answer))
            else:
                assert answer.status_code == 403, (what, answer.text)
                assert f"takes the permission '{permission}'" in text_of(answer)
        found = await site.runtime.node.store.chronicle.audit_page()
        outcomes = {(one.action, one.outcome) for one in found.entries}
        assert (("edit", "refused") in outcomes) == (role != "admin")
        assert (("cancel", "done") in outcomes) == (role != "viewer")


async def test_what_may_not_be_done_is_not_offered(open_site):
    async with open_site(work=True) as site:
        dead, waiting = segment(site.jobs["dead"]), segment(site.jobs["waiting"])
        viewer = site.as_("viewer")
        for path in (
            "/jobs?q=queue:price",
            f"/jobs/{dead}",
            f"/jobs/{waiting}",
            f"/jobs/{waiting}/why",
            "/dead",
        ):
            assert '<form class="inline"' not in (page := await viewer.get(path)).text, path
            assert "data-pick" not in page.text
        assert "You may look, not touch" in (await viewer.get(f"/jobs/{dead}")).text
        operator = (await site.as_("operator").get(f"/jobs/{dead}")).text
        assert "Run again" in operator
        assert "/draft" not in operator
        assert "Drop this letter" not in operator
        assert "Drop this letter" in (await site.as_("admin").get(f"/jobs/{dead}")).text


async def test_a_job_that_has_moved_on_answers_kindly(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("admin")
        done = segment(site.jobs["completed"])
        for what in ("cancel", "next", "retry", "drop"):
            answer = await follow(browser, f"/jobs/{done}/{what}", {})
            assert answer.status_code == 200
            assert re.search(r"it has completed( \d+m?s ago)?", text_of(answer)), text_of(answer)
        gone = await follow(browser, "/jobs/nobody/cancel", {"from": "jobs", "q": "queue:price"})
        assert gone.status_code == 200
        assert "it is no longer kept" in text_of(gone)
        assert gone.url.params["q"] == "queue:price"


async def test_a_row_says_why_its_job_waits_and_a_page_how_far_it_has_looked(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("viewer")
        shown = text_of(await browser.get("/jobs?status=waiting"))
        assert "held : 1 job of charge is active, which is all that may be (global_concurrency=1)" in shown
        assert re.search(r"Looked at 1 of 1 records in .*; 1 job here", shown)
        everything = text_of(await browser.get("/jobs"))
        assert "Waiting 1 Active 1 Delayed 1 Completed 1 Failed 1 Cancelled 0" in everything
        why = text_of(await browser.get(f"/jobs/{segment(site.jobs['waiting'])}/why"))
        assert "The queue has no room" in why
        assert "What would free it raise global_concurrency of charge" in why
        assert site.jobs["active"] in why


async def test_a_filter_is_taken_term_by_term_and_says_what_of_it_is_wrong(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("viewer")
        page = await browser.get("/jobs", params={"q": "queue:price", "add": "status:dead"})
        assert site.jobs["dead"] in page.text
        assert site.jobs["completed"] not in page.text
        assert 'name="q" value="queue:price status:dead"' in page.text
        assert "/jobs?q=status%3Adead" in page.text
        wrong = await browser.get("/jobs", params={"q": "queue:price", "add": "colour:red"})
        assert wrong.status_code == 200
        assert "there is no field" in text_of(wrong)
        assert 'value="colour:red"' in wrong.text
        none = text_of(await browser.get("/jobs", params={"q": "queue:price status:dead age>1d"}))
        assert "No job matches Of the one job that was looked at, age>1d excludes most: 1." in none
        assert "age>1d excludes 1 of 1, 1 of which fit all else. Without it: 1" in none
        assert re.search(r"status:dead excludes none of these; it leaves out \d records elsewhere", none)
        # A tab's term is one, too, and where to look: nothing is there.
        none = text_of(await browser.get("/jobs", params={"q": "queue:price", "status": "cancelled"}))
        assert "status:cancelled excludes" in none
        none = text_of(await browser.get("/dead", params={"q": "age>1d"}))
        assert "No dead letter matches Of the one job that was looked at, age>1d excludes most: 1." in none
        tab = await browser.get("/jobs", params={"q": "queue:price status:dead", "status": "completed"})
        assert site.jobs["completed"] in tab.text
        assert site.jobs["dead"] not in tab.text


async def test_pages_go_on_where_the_one_before_has_ended(open_site):
    async with open_site() as site:
        site.runtime.register(charge)
        await site.runtime.pause(charge)
        ids = {(await site.runtime.submit(charge, n)).id for n in range(5)}
        browser, seen, to = site.as_("viewer"), set[str](), "/jobs?q=queue:charge&limit=2"
        while to:
            page = await browser.get(to)
            seen |= {id for id in ids if id in page.text}
            found = re.search(r'rel="next" href="([^"]+)"|href="([^"]+)" rel="next"', page.text)
            to = "" if found is None else unescape(found[1] or found[2]) + "&limit=2"
        assert seen == ids


async def test_those_that_are_ticked_are_acted_upon_in_one_go(open_site):
    async with open_site(work=True) as site:
        ids = [site.jobs["waiting"], site.jobs["delayed"], site.jobs["completed"], "nobody"]
        form = {"do": "cancel", "job": ids, "q": "queue:price", "from": "jobs"}
        refused = await follow(site.as_("viewer"), "/jobs/act", form)
        assert refused.status_code == 403
        answer = await follow(site.as_("operator"), "/jobs/act", form)
        assert "2 jobs cancelled; 2 have moved on: it has completed" in text_of(answer)
        assert answer.url.params["q"] == "queue:price"
        nothing = await follow(site.as_("operator"), "/jobs/act", {"do": "cancel"})
        assert "No job was ticked" in nothing.text
        odd = await follow(site.as_("operator"), "/jobs/act", {"do": "explode", "job": ids})
        assert odd.status_code == 400


async def test_all_that_match_are_counted_before_and_no_more_than_that_is_done(open_site):
    async with open_site() as site:
        site.runtime.register(charge)
        await site.runtime.pause(charge)
        for n in range(101):
            await site.runtime.submit(charge, n)
        browser = site.as_("operator")
        query = {"action": "cancel", "q": "queue:charge status:waiting"}
        before = await browser.get("/bulks/new", params=query)
        assert "Match now 101" in text_of(before)
        assert "Type the number to go on" in before.text
        form = {**query, "shown": "101", "agreed": "100"}
        wrong = await follow(browser, "/bulks/begin", form)
        assert wrong.status_code == 400
        assert "type the number of jobs: 101" in text_of(wrong)
        assert (
            await follow(site.as_("viewer"), "/bulks/begin", {**form, "agreed": "101"})
        ).status_code == 403
        done = await follow(browser, "/bulks/begin", {**form, "agreed": "101", "reason": "closed"})
        assert "101 of 101 cancelled" in text_of(done)
        assert "Reason closed" in text_of(done)
        listed = text_of(await browser.get("/bulks"))
        assert "queue:charge status:waiting" in listed
        empty = await browser.get("/bulks/new", params={"action": "cancel", "q": ""})
        assert empty.status_code == 400
        assert "an empty one never means all" in text_of(empty)


async def test_one_that_is_stopped_goes_no_further_and_one_that_was_left_is_carried_on(open_site):
    async with open_site(work=True) as site:
        desk = Admin(site.runtime, principal=Principal(name="ada", role="admin"))
        begun = await desk.begin_bulk("cancel", "status:delayed")
        operator, viewer = site.as_("operator"), site.as_("viewer")
        assert "Nobody carries it on" in text_of(await operator.get(f"/bulks/{begun.id}"))
        assert (await follow(viewer, f"/bulks/{begun.id}/carry", {})).status_code == 403
        assert (await follow(viewer, f"/bulks/{begun.id}/stop", {})).status_code == 403
        carried = await follow(operator, f"/bulks/{begun.id}/carry", {})
        assert "1 of 100 cancelled" in text_of(carried)
        other = await desk.begin_bulk("cancel", "status:waiting")
        stopped = await follow(operator, f"/bulks/{other.id}/stop", {"reason": "enough"})
        assert "it is stopped: 0 jobs were acted upon" in text_of(stopped)
        assert "enough" in stopped.text
        again = await follow(operator, f"/bulks/{other.id}/stop", {})
        assert "it goes on no more" in text_of(again)
        assert (await operator.get("/bulks/nobody")).status_code == 404


async def test_dead_letters_are_grouped_and_a_group_is_redriven_one_first(open_site):
    async with open_site() as site:
        site.runtime.register(price)
        for n in (-1, -2, -31):
            job = await site.runtime.submit(price, n, session=f"s{n}")
            await job.result()
        browser = site.as_("operator")
        page = await browser.get("/dead")
        assert re.search(r"ValueError PROCESSOR_EXECUTION no price for -# price 3 .* 3 ", text_of(page))
        asked = found_in(page, r'href="(/bulks/new\?action=retry[^"]+)"')
        form = await browser.get(asked)
        assert "Run again: 3 dead letters?" in text_of(form)
        query = found_in(form, r'name="q" value="([^"]*)"')
        sent = {"action": "retry", "q": query, "shown": "3", "probe": "1", "rate": "50"}
        answer = await follow(browser, "/bulks/begin", sent)
        # It fails again, so that the others are left alone.
        assert "which was tried first, was failed again" in text_of(answer)
        assert "1 of 3 queued again" in text_of(answer)
        letters = await browser.get("/dead", params={"group": query})
        assert letters.text.count("data-pick aria-label") == 3


async def test_the_letters_of_the_first_group_are_shown_until_another_is_looked_at(open_site):
    async with open_site() as site:
        site.runtime.register(price, cost)
        for of, n in ((price, -1), (price, -2), (cost, 3)):
            job = await site.runtime.submit(of, n)
            await job.result()
        browser = site.as_("viewer")
        page = await browser.get("/dead")
        assert "price · ValueError" in text_of(page)
        assert page.text.count('aria-selected="true"') == 1
        letters = page.text.partition('id="letters"')[2]
        assert letters.count(">no price for") == 2
        other = next(
            link for link in re.findall(r'href="(/dead\?[^"]*#letters)"', page.text) if "cost" in link
        )
        page = await browser.get(unescape(other))
        assert "cost · KeyError" in text_of(page)
        assert "no price for" not in page.text.partition('id="letters"')[2]
        assert "1,000 of a queue, for 7 d" in text_of(page)


async def test_a_letter_is_dropped_by_who_may_alone(open_site):
    async with open_site(work=True) as site:
        id = segment(site.jobs["dead"])
        form = {"from": "dead", "q": "queue:price"}
        assert (await follow(site.as_("operator"), f"/jobs/{id}/drop", form)).status_code == 403
        answer = await follow(site.as_("admin"), f"/jobs/{id}/drop", form)
        assert "it is dropped" in text_of(answer)
        assert answer.url.path == "/dead"
        assert "No dead letter matches" in text_of(answer)


async def test_what_it_was_given_is_hidden_until_it_is_revealed_which_is_written_down(open_site):
    async with open_site() as site:
        site.runtime.register(price)
        await site.runtime.pause(price)
        id = (await site.runtime.submit(price, 987_654_321)).id
        browser = site.as_("operator")
        hidden = await browser.get(f"/jobs/{segment(id)}")
        assert "987654321" not in hidden.text
        assert "1 value hidden" in text_of(hidden)
        shown = await follow(browser, f"/jobs/{segment(id)}/reveal", {"reason": "a ticket"})
        assert "987654321" in shown.text
        assert shown.headers["cache-control"] == "no-store"
        (last, *_) = [
            one
            for one in (await site.runtime.node.store.chronicle.audit_page()).entries
            if one.action == "reveal" and not one.outcome
        ]
        assert (last.target, last.reason) == (id, "a ticket")
        draft = await follow(site.as_("admin"), f"/jobs/{segment(id)}/draft", {})
        assert ">987654321</textarea>" in draft.text
        wrong = await follow(site.as_("admin"), f"/jobs/{segment(id)}/edit", {"state": '{"a": '})
        assert wrong.status_code == 400
        assert "is no JSON" in text_of(wrong)
        misfit = await follow(site.as_("admin"), f"/jobs/{segment(id)}/edit", {"state": '"seven"'})
        assert misfit.status_code == 400
        assert "&#34;seven&#34;</textarea>" in misfit.text


async def test_a_job_is_submitted_and_what_does_not_fit_is_said_beside_what_was_typed(open_site):
    async with open_site() as site:
        site.runtime.register(price)
        browser = site.as_("operator")
        given = {"processor": "price", "state": "4", "session": "alice", "delay": "600"}
        answer = await follow(browser, "/enqueue", given)
        assert answer.url.path.startswith("/jobs/")
        assert "is accepted" in text_of(answer)
        assert "in session alice" in text_of(answer)
        for wrong in ({"processor": "nobody"}, {"state": "{"}, {"delay": "soon"}, {"state": '"x"'}):
            page = await follow(browser, "/enqueue", {**given, **wrong})
            assert page.status_code == 400, wrong
            assert 'value="alice"' in page.text
        assert (await follow(site.as_("viewer"), "/enqueue", given)).status_code == 403


async def test_a_job_is_submitted_with_all_that_the_command_line_can_say(open_site):
    async with open_site() as site:

        @processor(name="cart", state_version=2, migrate={1: lambda old: {"n": old["old"]}})
        async def cart(state: dict[str, int]) -> dict[str, int]:
            return state

        site.runtime.register(cart)
        browser = site.as_("operator")
        given = {
            "processor": "cart",
            "state": '{"old": 7}',
            "state_version": "1",
            "at": "2100-01-01T06:30",
            "expires": "3000000000",
            "priority": "3",
            "tags": "eu  nightly",
            "id": "mine",
        }
        assert "is accepted" in text_of(await follow(browser, "/enqueue", given))
        shown = await Admin(site.runtime, principal=Principal(name="ada", role="admin")).show(
            "mine", reveal=True
        )
        assert shown.row.due // 3_600_000 == 4_102_468_200_000 // 3_600_000
        assert (shown.row.priority, shown.row.tags) == (3, ("eu", "nightly"))
        assert shown.input.value == {"n": 7}
        for field, wrong in (
            ("at", "soon"),
            ("expires", "-1"),
            ("priority", "high"),
            ("state_version", "0"),
            ("delay", "5"),
        ):
            page = await follow(browser, "/enqueue", {**given, "id": "", field: wrong})
            assert page.status_code == 400, field
            assert '<details id="more-options" open>' in page.text
            assert 'value="eu  nightly"' in page.text or 'value="eu nightly"' in page.text


async def test_of_a_job_that_is_not_kept_it_is_told_what_the_history_has(open_site, redis_server):
    async with open_site() as site:
        site.runtime.register(price)
        job = await site.runtime.submit(price, 1)
        await job.result()
        for key in redis_server.call("KEYS", f"*{job.id}*"):
            redis_server.call("DEL", key)
        browser = site.as_("viewer")
        page = await browser.get(f"/jobs/{segment(job.id)}")
        assert page.status_code == 404
        assert "No record of this job" in text_of(page)
        assert re.search(r"Accepted .* Claimed .* Completed", text_of(page)), text_of(page)
        nobody = await browser.get("/jobs/nobody")
        assert "has nothing of it either" in text_of(nobody)


@processor(name="doze")
async def doze(what: str, ctx: Context) -> str:
    if what == "sleep":
        await ctx.sleep(600)
    return str(await ctx.wait_for(what))


async def test_the_list_says_of_a_delayed_job_that_it_is_parked(open_site):
    async with open_site(work=True) as site:
        runtime, browser = site.runtime, site.as_("viewer")
        plain = text_of(await browser.get("/jobs?status=delayed"))
        assert site.jobs["delayed"] in plain
        assert "parked" not in plain
        runtime.register(doze)
        for what in ("sleep", "approval"):
            job = await runtime.submit(doze, what)
            await until(runtime, job.id, "parked")
        page = text_of(await browser.get("/jobs?status=delayed"))
        assert page.count(" parked ") == 2
        assert " delayed " in page
        assert "it waits for signal 'approval'" in page
        assert "it sleeps" in page


async def test_a_job_that_waits_for_a_signal_is_sent_it(open_site):
    async with open_site() as site:
        site.runtime.register(doze)
        job = await site.runtime.submit(doze, "approval", session="alice")
        await until(site.runtime, job.id, "parked")
        path, browser = f"/jobs/{segment(job.id)}", site.as_("operator")
        assert f'href="{path}/signal?name=approval"' in (await browser.get(path)).text
        assert "/signal" not in (await site.as_("viewer").get(path)).text
        form = await browser.get(f"{path}/signal?name=approval")
        assert 'name="name" type="text" value="approval"' in form.text
        wrong = await follow(browser, f"{path}/signal", {"name": "approval", "value": "{"})
        assert wrong.status_code == 400
        assert "is no JSON" in wrong.text
        assert ">{</textarea>" in wrong.text
        assert (await follow(browser, f"{path}/signal", {"name": ""})).status_code == 400
        given = {"name": "approval", "value": '"yes"', "reason": "the boss says so"}
        refused = await follow(site.as_("viewer"), f"{path}/signal", given)
        assert refused.status_code == 403
        answer = await follow(browser, f"{path}/signal", given)
        assert "is there for it" in text_of(answer)
        assert (await job.result()).unwrap() == "yes"
        # One for the session is taken by whichever of its jobs waits for it.
        other = await site.runtime.submit(doze, "approval", session="alice")
        await until(site.runtime, other.id, "parked")
        assert 'href="/sessions/alice/signal"' in (await browser.get("/sessions/alice")).text
        answer = await follow(browser, "/sessions/alice/signal", {"name": "approval"})
        assert "is there for the first of its jobs" in text_of(answer)
        assert (await other.result()).unwrap() == "None"


async def test_what_would_free_a_job_is_done_where_it_is_said(open_site):
    async with open_site(work=True) as site:
        waiting, browser = segment(site.jobs["waiting"]), site.as_("operator")
        await site.runtime.pause(charge)
        why = await browser.get(f"/jobs/{waiting}/why")
        assert "Its queue is paused" in text_of(why)
        refused = await follow(site.as_("viewer"), f"/jobs/{waiting}/why/resume", {"target": "charge"})
        assert refused.status_code == 403
        answer = await follow(browser, f"/jobs/{waiting}/why/resume", {"target": "charge"})
        assert "its jobs are started again" in text_of(answer)
        assert "The queue has no room" in text_of(answer)
        answer = await follow(browser, f"/jobs/{waiting}/why/cancel", {"target": site.jobs["active"]})
        assert "it runs, and ends at its next checkpoint" in text_of(answer)
        await until(site.runtime, site.jobs["waiting"], "active")


async def test_a_dead_letter_is_queued_again_where_it_is_said_why_it_failed(open_site):
    async with open_site(work=True) as site:
        dead, browser = site.jobs["dead"], site.as_("operator")
        why = f"/jobs/{segment(dead)}/why"
        assert "/why/retry" in (await browser.get(why)).text
        viewer = site.as_("viewer")
        assert "/why/retry" not in (await viewer.get(why)).text
        assert (await viewer.post(f"{why}/retry", data={})).status_code == 403
        answer = await follow(browser, f"{why}/retry", {"reason": "mended"})
        assert "it waits, and runs again" in text_of(answer)
        audited = (await site.runtime.node.store.chronicle.audit_page()).entries
        done = [one for one in audited if one.action == "retry" and one.outcome == "done"]
        assert len(done) == 1
        gone = await follow(browser, f"/jobs/{segment('nobody')}/why/retry", {})
        assert gone.status_code == 404


async def test_hostile_texts_stay_texts_wherever_they_stand(open_site):
    async with open_site() as site:
        site.runtime.register(price)
        await site.runtime.pause(price)
        browser, ids = site.as_("admin"), list[str]()
        texts = [*HOSTILE, '"><img src=x onerror=alert(1)>', "{{ 7*7 }}", "\u202etxt", "a/b%2f.."]
        for hostile in texts:
            try:
                ids.append((await site.runtime.submit(price, 1, session=hostile)).id)
            except AM2ZError:
                # No name of a session.
                continue
        pages = ["/jobs", *(f"/jobs/{segment(id)}" for id in ids)]
        pages += [f"/jobs?q={quote(text[:400], errors='surrogatepass')}" for text in texts]
        for path in pages:
            page = await browser.get(path)
            assert page.status_code in (200, 400), (path, page.text)
            assert "<img src=x" not in page.text
            assert "\u202e" not in text_of(page)
        for id, text in zip(ids, texts, strict=False):
            answer = await follow(browser, f"/jobs/{segment(id)}/cancel", {"reason": text[:200]})
            assert answer.status_code in (200, 400), (text, answer.text)
            assert "<img src=x" not in answer.text

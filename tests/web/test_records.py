"""The pages of events and of the audit."""

from __future__ import annotations

import json
import re

import anyio
import pytest

from am2z_trio.admin import Admin, Principal
from am2z_trio.model.events import Event
from am2z_trio.web.pages.events import said_of
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def test_an_action_is_one_line_with_what_came_of_it(open_site):
    async with open_site(work=True) as site:
        desk = Admin(site.runtime, principal=Principal(name="ada", role="admin"), face="cli")
        await desk.cancel(site.jobs["waiting"], reason="not wanted any more")
        page = await site.as_("admin").get("/audit")
        assert page.text.count("<tr>") == 1 + 1
        assert "it waited, and has ended" in page.text
        assert "not wanted any more" in page.text
        await site.as_("operator").get("/audit")
        refused = await site.as_("admin").get("/audit?q=operator@test")
        assert "may not read the audit" in refused.text
        assert "not wanted any more" not in refused.text
        assert "Nothing of the kind" in (await site.as_("admin").get("/audit?q=nobody-at-all")).text


async def test_the_audit_is_exported_as_lines_of_json(open_site):
    async with open_site() as site:
        desk = Admin(site.runtime, principal=Principal(name="a\nda", role="admin"), face="cli")
        for n in range(3):
            await desk.stop_session(f"s{n}")
        answer = await site.as_("admin").get("/audit/export?q=s1")
        assert answer.headers["content-disposition"] == 'attachment; filename="am2z-audit.jsonl"'
        lines = [json.loads(line) for line in answer.text.splitlines()]
        assert [(one["who"], one["target"], one["outcome"]) for one in lines] == [
            ("a\nda", "s1", "done"),
            ("a\nda", "s1", ""),
        ]
        assert (await site.as_("operator").get("/audit/export")).status_code == 403


async def test_events_are_shown_newest_first_filtered_and_by_pages(open_site):
    async with open_site(work=True) as site:
        browser = site.as_("viewer")
        page = await browser.get("/events", params={"event": "job:*", "job": site.jobs["dead"]})
        places = [page.text.index(f"<b>job:{name}</b>") for name in ("dead", "failed", "started", "enqueued")]
        assert places == sorted(places)
        assert site.jobs["completed"] not in page.text
        first = await browser.get("/events?limit=2&event=job:enqueued")
        assert first.text.count("<b>job:enqueued</b>") == 2
        older = (
            first.text.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
        )
        second = await browser.get(older)
        assert second.text.count("<b>job:enqueued</b>") == 2
        assert "Newest" in second.text
        lines = (await browser.get("/events/export?event=job:dead")).text.splitlines()
        assert [json.loads(line)["job"] for line in lines] == [site.jobs["dead"]]
        wrong = await browser.get("/events?before=nonsense")
        assert (wrong.status_code, "before" in wrong.text) == (400, True)


async def test_events_are_those_of_a_queue_a_node_and_a_time(open_site):
    async with open_site(work=True) as site:
        browser, node = site.as_("viewer"), site.runtime.node_id

        async def listed(**asked: str) -> set[str]:
            page = await browser.get("/events", params={"event": "job:enqueued", **asked})
            assert page.status_code == 200
            exported = await browser.get("/events/export", params={"event": "job:enqueued", **asked})
            found = {json.loads(line)["job"] for line in exported.text.splitlines()}
            assert all(f'href="/jobs/{id}"' in page.text for id in found)
            return found

        jobs = site.jobs
        everything = {*jobs.values()}
        assert await listed() == await listed(oldest="1h") == everything
        # Who has submitted is no node.
        begun = {jobs["active"], jobs["completed"], jobs["dead"]}
        assert await listed(event="job:started", node=node) == begun
        assert await listed(queue="charge") == {jobs["active"], jobs["waiting"]}
        assert await listed(node="nobody") == await listed(queue="nothing") == set()
        assert await listed(oldest="2100-01-01") == set()
        wrong = await browser.get("/events?oldest=soon")
        assert (wrong.status_code, "must be a length of time" in wrong.text) == (400, True)


async def test_the_audit_begins_where_it_is_asked_to(open_site):
    async with open_site() as site:
        desk = Admin(site.runtime, principal=Principal(name="ada", role="admin"), face="cli")
        await desk.stop_session("s0")
        browser = site.as_("admin")
        assert "stop session" in (await browser.get("/audit?since=1h")).text
        later = await browser.get("/audit?since=2100-01-01")
        assert "stop session" not in later.text
        assert "since=2100-01-01" in later.text
        assert (await browser.get("/audit/export?since=1h")).text.count("\n") == 2
        assert (await browser.get("/audit/export?since=2100-01-01")).text == ""
        assert (await browser.get("/audit?since=soon")).status_code == 400


async def test_a_firing_is_told_by_its_time_and_not_by_a_number():
    event = Event(name="schedule:fired", at=1, data={"schedule": "archive", "at": 1_795_813_554_000})
    assert said_of(event) == "schedule archive, at 2026-11-27 21:05:54 UTC"


async def test_where_no_history_is_kept_it_is_said_how_to_have_one(open_site):
    async with open_site(event_history=0) as site:
        page = await site.as_("viewer").get("/events")
        assert "No history of events is kept" in page.text
        assert "event_history=100_000" in page.text
        assert "Export" not in page.text


async def test_the_page_of_events_says_how_many_are_kept(open_site):
    async with open_site(work=True) as site:
        length = (await site.runtime.node.store.chronicle.events("", 1)).length
        assert length > 3
        page = await site.as_("viewer").get("/events?event=job:dead")
        (said,) = re.findall(r">(\d+) entries kept</span>", page.text)
        assert int(said) >= length
    async with open_site(event_history=0) as site:
        assert " kept</span>" not in (await site.as_("viewer").get("/events")).text


async def test_what_programs_tell_with_events_is_hidden_on_every_face_from_who_only_looks(open_site):
    faces = ("/events?event=mine:*", "/events/export?event=mine:*", "/api/v1/events?pattern=mine:*")
    async with open_site() as site:
        site.runtime.emit("mine:order", {"card": "4111-1111"})
        operator = site.as_("operator")
        with anyio.fail_after(PATIENCE):
            while "4111-1111" not in (await operator.get(faces[0])).text:
                await anyio.sleep(0.01)
        for face in faces:
            assert "4111-1111" in (await operator.get(face)).text
            seen = (await site.as_("viewer").get(face)).text
            assert "mine:order" in seen
            assert "4111-1111" not in seen
            assert "[hidden]" in seen

"""Schedules in the console: seen, tried out, changed and run, by whoever may, whatever they are called."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from am2z_trio import Cron, Every, Schedule, processor
from am2z_trio.admin import ROLES
from am2z_trio.model.errors import AM2ZError
from am2z_trio.testing.conformance import HOSTILE
from am2z_trio.web.addresses import address
from tests.web.conftest import price

pytestmark = pytest.mark.anyio

NIGHTLY = Cron("30 2 * * *", "Europe/Berlin")
LONG_AGO = {"start": "2026-01-01T00:00", "end": "2026-01-04T00:00"}


async def put(site: Any, id: str = "nightly", when: Any = NIGHTLY, **options: Any) -> None:
    if "price" not in site.runtime.list_processors():
        site.runtime.register(price)
    await site.runtime.schedules.upsert(Schedule(id, price, when, 7, **options))


def at(id: str, what: str = "") -> str:
    return address(f"schedule.{what}" if what else "schedule", {"schedule": id})


async def test_nothing_there_says_how_to_begin(open_site):
    async with open_site() as site:
        page = await site.as_("viewer").get("/schedules")
        assert "Nothing runs by the clock yet" in page.text
        assert "New schedule" not in page.text
        assert "New schedule" in (await site.as_("operator").get("/schedules")).text


async def test_the_list_says_in_words_when_each_comes_and_how_the_last_runs_went(open_site):
    async with open_site() as site:
        await put(site)
        await put(site, "often", Every(10**6, phase=60))
        await (await site.runtime.schedules.run_now("often")).result()
        await site.runtime.schedules.pause("nightly", "the bank is away")
        page = (await site.as_("operator").get("/schedules")).text
        assert "At 02:30 every day, Europe/Berlin" in page
        assert "every 1000000 s + 60 s" in page
        assert 'title="completed"' in page
        assert "paused" in page
        assert page.index(">often<") < page.index(">nightly<")


async def test_a_schedule_shows_its_times_the_year_the_week_and_its_runs(open_site):
    async with open_site() as site:
        await put(site, note="as agreed")
        await site.runtime.schedules.backfill(
            "nightly", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), dry_run=False
        )
        viewer = site.as_("viewer")
        page = (await viewer.get(at("nightly"))).text
        assert "does not exist: runs when the clock jumps" in page
        assert "comes twice: runs at the first" in page
        assert "caught up: it came" in page
        assert "as agreed" in page
        assert "s/nightly/" in page
        assert "The week ahead" in page
        year = (await viewer.get(at("nightly") + "?show=year")).text
        assert year.count('class="day on"') == 364
        assert year.count('class="day shift"') == 2


async def test_what_is_typed_is_told_and_nothing_is_saved(open_site):
    async with open_site() as site:
        await put(site)
        viewer = site.as_("viewer")
        typed = (await viewer.get(at("nightly"), params={"when": "0 9 * * 1-5", "tz": "UTC"})).text
        assert "At 09:00 on Monday through Friday, UTC" in typed
        assert "Changed, and not saved yet." in typed
        # What comes before its start or after its end is not told.
        ends = {"start": "2030-06-01T00:00Z", "end": "2030-06-02T12:00Z"}
        bounded = (await viewer.get(at("nightly"), params=ends)).text
        assert "Sat 01 Jun 02:30" in bounded
        assert "Sun 02 Jun 02:30" in bounded
        assert "Mon 03 Jun" not in bounded
        assert "does not exist" not in bounded
        for wrong, rule in (
            ({"when": "61 * * * *"}, "minute"),
            ({"when": "every x"}, "must be a length of time"),
            ({"tz": "Europe/Berlim"}, "did you mean"),
            ({"jitter": "<b>"}, "must be a length of time"),
            ({"catch_up": "-1"}, "must be a whole number"),
            ({"when": "1--100000000 * * * *"}, ""),
        ):
            page = await viewer.get(at("nightly"), params=wrong)
            assert page.status_code == 200
            (field,) = wrong
            said = re.search(rf'<span class="wrong" id="h-{field}">([^<]*)', page.text)
            assert said is not None
            assert rule in said[1]
        assert (await site.runtime.schedules.get("nightly")).rev == 1


async def test_other_terms_are_saved_where_nobody_has_saved_others_meanwhile(open_site):
    async with open_site() as site:
        await put(site, note="<i>kept</i>")
        browser = site.as_("operator")
        shown = (await browser.get(at("nightly"))).text
        fields = dict(re.findall(r'<input[^>]* name="([a-z_]+)"[^>]* value="([^"]*)"', shown))
        assert fields["when"] == "30 2 * * *"
        assert "&lt;i&gt;kept&lt;/i&gt;" in shown
        sent = {"when": "every 2 h", "tz": "UTC", "rev": "1", "overlap": "queue", "reason": "too seldom"}
        done = await browser.post(at("nightly", "edit"), data=sent)
        assert (done.status_code, done.headers["location"]) == (303, at("nightly"))
        view = await site.runtime.schedules.get("nightly")
        assert (view.when, view.overlap, view.note, view.rev) == ("every 7200 s", "queue", "<i>kept</i>", 2)
        await browser.post(at("nightly", "edit"), data={**sent, "jitter": "5 s"})
        assert "it has moved on: revision 2 is the newest" in (await browser.get(at("nightly"))).text
        wrong = await browser.post(at("nightly", "edit"), data={**sent, "when": "x y", "rev": "2"})
        assert wrong.status_code == 400
        assert 'value="x y"' in wrong.text
        assert 'class="wrong" id="h-when"' in wrong.text
        never = await browser.post(at("nightly", "edit"), data={**sent, "overlap": "never", "rev": "2"})
        assert never.status_code == 400
        assert (await site.runtime.schedules.get("nightly")).rev == 2


async def test_when_it_begins_and_ends_to_come_is_edited(open_site):
    async with open_site() as site:
        await put(site)
        browser = site.as_("operator")
        sent = {"when": "30 2 * * *", "rev": "1", "start": "2030-01-01T09:00+01:00", "end": "2031-01-01"}
        await browser.post(at("nightly", "edit"), data=sent)
        view = await site.runtime.schedules.get("nightly")
        assert view.start == datetime(2030, 1, 1, 8, tzinfo=UTC)
        assert view.end == datetime(2031, 1, 1, tzinfo=UTC)
        shown = (await browser.get(at("nightly"))).text
        assert 'name="start" value="2030-01-01T08:00:00Z"' in shown
        # An edit of something else leaves them as they are, and an empty field takes one away.
        await browser.post(at("nightly", "edit"), data={"rev": "2", "jitter": "5 s"})
        assert (await site.runtime.schedules.get("nightly")).start == view.start
        await browser.post(at("nightly", "edit"), data={"rev": "3", "start": ""})
        assert (await site.runtime.schedules.get("nightly")).start is None
        for wrong in ({"start": "tomorrow"}, {"start": "2032-01-01T00:00Z"}):
            page = await browser.post(at("nightly", "edit"), data={"rev": "4", **wrong})
            assert page.status_code == 400
            assert 'class="wrong" id="h-' in page.text
        new = {"id": "late", "processor": "price", "state": "1", "when": "@daily", "start": "2030-01-01"}
        site.runtime.register(price)
        await browser.post("/new/schedule", data=new)
        assert (await site.runtime.schedules.get("late")).start == datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_new_one_is_tried_out_and_then_written_down(open_site):
    async with open_site() as site:
        site.runtime.register(price)
        browser = site.as_("operator")
        new = {"id": "a/b <i>", "processor": "price", "state": "21", "when": "@daily", "session": "tenant/7"}
        tried = (await browser.get("/new/schedule", params=new)).text
        assert "At 00:00 every day, UTC" in tried
        for wrong in (
            {"state": "{"},
            {"state": "[" * 50_000},
            {"processor": ""},
            {"id": ""},
            {"timeout": "long"},
            {"processor": "x"},
        ):
            page = await browser.post("/new/schedule", data={**new, **wrong})
            assert page.status_code in (400, 404)
        assert await site.runtime.schedules.list() == []
        done = await browser.post("/new/schedule", data=new)
        assert done.headers["location"] == at("a/b <i>")
        page = await browser.get(done.headers["location"])
        assert "revision 1 is written down" in page.text
        assert "a/b &lt;i&gt;" in page.text
        view = await site.runtime.schedules.get("a/b <i>")
        assert (view.session, view.when) == ("tenant/7", "0 0 * * *")


async def test_what_a_new_one_gives_is_of_the_version_that_is_said(open_site):
    async with open_site() as site:

        @processor(name="cart", state_version=2, migrate={1: lambda old: {"n": old["old"]}})
        async def cart(state: dict[str, int]) -> dict[str, int]:
            return state

        site.runtime.register(cart)
        new = {
            "id": "old",
            "processor": "cart",
            "state": '{"old": 7}',
            "when": "@daily",
            "state_version": "1",
        }
        for wrong in ("x", "0", "1.5"):
            page = await site.as_("admin").post("/new/schedule", data={**new, "state_version": wrong})
            assert page.status_code == 400, wrong
            assert f'name="state_version" value="{wrong}"' in page.text
            assert 'id="h-state_version"' in page.text
        assert (await site.as_("admin").post("/new/schedule", data=new)).status_code == 303
        job = await site.runtime.schedules.run_now("old")
        assert (await job.result()).unwrap() == {"n": 7}


async def test_earlier_times_are_counted_before_they_run_and_again_when_they_do(open_site):
    async with open_site() as site:
        await put(site)
        browser = site.as_("operator")
        told = (await browser.get(at("nightly", "backfill"), params=LONG_AGO)).text
        assert "<b>3 times</b> had no job" in told
        assert "Run 3 times" in told
        assert (
            "Run 3 times"
            not in (await site.as_("viewer").get(at("nightly", "backfill"), params=LONG_AGO)).text
        )
        moved = await browser.post(at("nightly", "backfill"), data={**LONG_AGO, "times": "2"})
        assert (moved.status_code, "there are 3 of these times now" in moved.text) == (400, True)
        await browser.post(at("nightly", "backfill"), data={**LONG_AGO, "times": "3"})
        assert "3 jobs were made" in (await browser.get(at("nightly"))).text
        assert "<b>0 times</b>" in (await browser.get(at("nightly", "backfill"), params=LONG_AGO)).text
        wrong = await browser.get(at("nightly", "backfill"), params={**LONG_AGO, "start": "yesterday"})
        assert (wrong.status_code, "must be a time such as" in wrong.text) == (400, True)


@pytest.mark.parametrize("role", [*ROLES])
async def test_every_action_is_done_by_who_may_alone(open_site, role):
    async with open_site() as site:
        await put(site)
        browser, may = site.as_(role), "schedule" in ROLES[role]
        shown = (await browser.get(at("nightly"))).text
        assert ('formmethod="post"' in shown, "</svg>Run now" in shown, "Remove" in shown) == (may, may, may)
        actions: dict[str, dict[str, str]] = {
            "edit": {"jitter": "1 s", "rev": "1"},
            "run": {},
            "pause": {"reason": "the bank is away"},
            "resume": {"back": "list"},
            "backfill": {**LONG_AGO, "times": "3"},
            "remove": {},
        }
        for what, data in actions.items():
            if what in ("run", "pause", "remove", "backfill"):
                asked = await browser.get(at("nightly", what))
                assert asked.status_code == 200
                assert "data-dialog-body" in asked.text
            answer = await browser.post(at("nightly", what), data=data)
            assert answer.status_code == (303 if may else 403), what
        assert len(await site.runtime.schedules.list()) == (0 if may else 1)
        page = await site.runtime.node.store.chronicle.audit_page()
        outcomes = [one.outcome for one in page.entries if one.action.endswith("_schedule")]
        assert outcomes.count("done") == (len(actions) if may else 0)
        assert outcomes.count("refused") == (0 if may else len(actions))


async def test_one_that_has_gone_meanwhile_is_said_kindly(open_site):
    async with open_site() as site:
        browser = site.as_("admin")
        for what in ("run", "pause", "resume", "remove"):
            answer = await browser.post(at("gone", what))
            assert answer.status_code == 303
        assert "there is no schedule" in (await browser.get("/schedules")).text
        assert (await browser.get(at("gone"))).status_code == 404
        assert (await browser.post(at("gone", "edit"), data={"when": "@daily"})).status_code == 404


async def test_any_text_is_shown_as_what_it_is(open_site):
    async with open_site() as site:
        browser = site.as_("operator")
        site.runtime.register(price)
        seen = 0
        for text in HOSTILE:
            id = text[:40]
            if not id or len(id.encode("utf-8", "surrogatepass")) > 200:
                continue
            try:
                await put(site, id, note=text[:200])
            except AM2ZError:
                continue
            seen += 1
            page = await browser.get(at(id))
            assert page.status_code == 200
            assert "<script>alert" not in page.text
            assert (await browser.get(at(id, "run"))).status_code == 200
        assert seen > 5
        everything = (await browser.get("/schedules")).text
        assert everything.count("<tr>") == min(seen, 50) + 1
        assert "onerror=" not in re.sub(r"&lt;.*?&gt;", "", everything)

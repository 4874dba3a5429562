"""The console's frame: pages, actions, errors and addresses, whatever stands in them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from am2z_trio import NetworkError, ValidationError
from am2z_trio.admin import NotPermittedError
from am2z_trio.model.segments import id_of, segment
from am2z_trio.model.views.actions import Answer
from am2z_trio.testing.conformance import HOSTILE
from am2z_trio.web import messages, words
from am2z_trio.web.addresses import address
from am2z_trio.web.routes import Action, Endpoint, Page

pytestmark = pytest.mark.anyio


async def test_the_audit_shows_what_was_done_to_who_may_see_it(open_site):
    async with open_site(work=True) as site:
        empty = await site.as_("admin").get("/audit")
        assert "Nobody has done anything" in empty.text
        from am2z_trio.admin import Admin, Principal

        desk = Admin(site.runtime, principal=Principal(name="<b>ada</b>", role="admin"))
        await desk.cancel(site.jobs["waiting"], reason="<script>alert(1)</script>")
        page = await site.as_("admin").get("/audit")
        assert page.status_code == 200
        assert "&lt;b&gt;ada&lt;/b&gt;" in page.text
        assert "<script>alert" not in page.text
        assert site.jobs["waiting"] in page.text
        refused = await site.as_("viewer").get("/audit")
        assert refused.status_code == 403
        assert "may not read the audit" in refused.text


async def test_an_action_answers_with_the_page_that_says_what_became_of_it_once(open_site):
    async def act(view):
        return view.done(Answer(done=True, text=f"<i>{view.field('what')}</i>"), view.url("queues"))

    async def show(view):
        return view.render("trouble.html", trouble=type("T", (), {"title": "x", "text": "y", "status": 1}))

    routes = [Action("queues.act", act), Page("queues", show)]
    async with open_site(routes=routes) as site:
        browser = site.as_("operator")
        answer = await browser.post("/queues/act", data={"what": "done & gone"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/queues")
        assert "&lt;i&gt;done &amp; gone&lt;/i&gt;" in (await browser.get("/queues")).text
        assert "done &amp; gone" not in (await browser.get("/queues")).text


async def test_every_way_to_fail_is_one_clear_sentence_for_people_and_an_object_for_programs(open_site):
    raised: list[Exception] = []

    async def fail(view):
        raise raised[-1]

    routes = [Page("queues", fail), Endpoint("/api/v1/queues", fail)]
    async with open_site(routes=routes) as site:
        browser = site.as_("viewer")
        for error, status in [
            (NotPermittedError("ada may not"), 403),
            (ValidationError("q is no query", context={"field": "q", "rule": "is no query"}), 400),
            (NetworkError("nobody at redis-1"), 503),
        ]:
            raised.append(error)
            page, answer = await browser.get("/queues"), await browser.get("/api/v1/queues")
            assert page.status_code == answer.status_code == status
            assert error.message in page.text
            assert answer.json()["message"].endswith(error.message)
            assert answer.json()["code"] == error.code
            assert ("Refresh" in page.headers) == (status == 503)
        assert answer.headers["retry-after"] == "3"
        missing = await browser.get("/nothing-of-the-kind")
        assert (missing.status_code, "There is no such thing" in missing.text) == (404, True)


async def test_what_nobody_has_thought_of_is_logged_under_the_word_that_the_page_says(open_site, caplog):
    async def fail(view):
        raise RuntimeError("secret of the code")

    async with open_site(routes=[Page("queues", fail)]) as site:
        page = await site.as_("viewer").get("/queues")
        assert page.status_code == 500
        assert "secret" not in page.text
        (word,) = re.findall(r"logged as ([0-9a-f]{8})", page.text)
        assert f"({word})" in caplog.text
        assert "secret of the code" in caplog.text


async def test_what_is_too_much_or_no_number_is_refused_by_name(open_site):
    async def show(view):
        view.number("limit", 50, least=1)
        view.query("q")
        return view.render("trouble.html", trouble=type("T", (), {"title": "x", "text": "y", "status": 1}))

    async with open_site(routes=[Page("queues", show)]) as site:
        browser = site.as_("viewer")
        assert (await browser.get("/queues?limit=200")).status_code == 200
        for query in ("limit=201", "limit=-1", "limit=1e3", "limit=%00", "limit=٣", f"q={'x' * 501}"):
            answer = await browser.get(f"/queues?{query}")
            assert answer.status_code == 400
            assert query.partition("=")[0] in answer.text


async def test_an_id_of_any_text_comes_back_from_its_address(open_site):
    seen = list[str]()

    async def show(view):
        seen.append(view.id("queue"))
        return view.done("looked", view.here(tab="é & é"))

    async with open_site(routes=[Page("queue", show)]) as site:
        for id in ["", ".", "..", "a/b", "%2f", "a%2Fb", "?x#y", "~", "{}", "\0", "\u202eabc", *HOSTILE]:
            answer = await site.as_("viewer").get(address("queue", {"queue": id}))
            assert seen[-1] == id
            assert answer.headers["location"].startswith(address("queue", {"queue": id}))
        assert (await site.as_("viewer").get("/queues/~zz")).status_code == 404
        assert (await site.as_("viewer").get("/queues/~FF")).status_code == 404


@given(st.text())
def test_an_id_is_one_part_of_a_path_which_nothing_on_the_way_changes(id):
    part = segment(id)
    assert re.fullmatch(r"[A-Za-z0-9_~-]+", part)
    assert id_of(part) == id


@given(st.text(alphabet="~0123456789ABCDEFabz_-"))
def test_what_no_id_has_been_written_as_is_none_or_says_the_same(part):
    id = id_of(part)
    assert id is None or id_of(segment(id)) == id


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.003, "3 ms"),
        (0.2, "0.2 s"),
        (0.25, "0.25 s"),
        (0.1234, "0.12 s"),
        (3, "3 s"),
        (59.7, "1 m"),
        (90, "1 m 30 s"),
        (41 * 60 + 12, "41 m"),
        (7500, "2 h 05 m"),
        (3 * 86400 + 4 * 3600, "3 d 04 h"),
        (-90, "-1 m 30 s"),
        (None, "–"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, said):
    assert words.seconds(seconds) == said


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**20), 10**20))
def test_any_number_can_be_said(value):
    assert words.seconds(value)
    assert words.number(value)
    assert words.size(value)
    words.moment(int(value))


async def test_what_became_of_an_action_is_kept_by_any_browser_however_long_it_is_written():
    for text in ("x" * 5_000, '"' * 5_000, "\x1b" * 5_000, "ü✓" * 5_000):
        request, response = Request({"type": "http", "headers": [], "server": ("h", 80)}), Response()
        messages.say(request, response, text, ok=True)
        cookie = response.headers["set-cookie"].partition(";")[0]
        # Beyond that they drop it, and nobody hears of it.
        assert len(cookie) <= 4_096
        back = Request({**request.scope, "headers": [(b"cookie", cookie.encode())]})
        said = messages.of(back)
        assert said is not None
        assert said.text[:100] == text[:100]

"""What a page shows live: who is sent what, who asks for it, and how little is asked."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from am2z_trio import NetworkError
from am2z_trio.admin import Admin, Principal
from am2z_trio.web import console
from am2z_trio.web.live import hub as hubs
from am2z_trio.web.live import last_known
from am2z_trio.web.live import stream as streams
from am2z_trio.web.live.hub import Hub, digest_of
from am2z_trio.web.live.last_known import Known, LastKnown
from am2z_trio.web.routes import Page
from am2z_trio.web.view import View
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.anyio


async def never() -> Any:
    await anyio.sleep_forever()


class Pages:
    """Pages whose live parts a test sets, and that fail as it says."""

    def __init__(self, monkeypatch):
        self.shown = {"/queues": "one", "/nodes": "here"}
        self.failing = {}
        self.asked = []
        self.hubs: list[Hub] = []
        monkeypatch.setattr("am2z_trio.web.application.Hub", self._hub)

    @property
    def hub(self) -> Hub:
        return self.hubs[-1]

    def routes(self):
        return [Page(name, self._show, live=["main"], every=0.01) for name in ("queues", "nodes")]

    async def _show(self, view: View):
        path = view.request.url.path
        self.asked.append(path)
        if path in self.failing:
            raise self.failing[path]
        trouble = type("Trouble", (), {"title": self.shown[path], "text": view.principal.role, "status": 1})
        return view.render("trouble.html", trouble=trouble)

    def _hub(self, judge):
        self.hubs.append(Hub(judge))
        return self.hubs[-1]


@pytest.fixture
def pages(monkeypatch):
    return Pages(monkeypatch)


async def until(true) -> None:
    with anyio.fail_after(PATIENCE):
        while not true():
            await anyio.sleep(0.005)


async def test_a_browser_is_sent_what_has_changed_and_nothing_else(open_site, pages):
    async with open_site(routes=pages.routes()) as site, site.listen("/queues") as stream:
        first, _ = await stream.next()
        assert first.state == "ok"
        assert "one" in first.parts["main"]
        before = len(pages.asked)
        await until(lambda: len(pages.asked) > before + 3)
        pages.shown["/queues"] = "two"
        second, _ = await stream.next()
        assert "two" in second.parts["main"]


async def test_many_who_look_share_one_poller_which_is_gone_when_the_last_one_is(open_site, pages):
    async with open_site(routes=pages.routes()) as site:
        assert pages.hub.pollers == 0
        async with AsyncExitStack() as stack:
            many = [await stack.enter_async_context(site.listen("/queues")) for _ in range(50)]
            for one in many:
                assert "one" in (await one.next())[0].parts["main"]
            assert pages.hub.pollers == 1
            assert pages.hub.looks < 25
            # The poller's own browser leaves: another one goes on.
            many[0].leave()
            await until(lambda: many[0].left)
            pages.shown["/queues"] = "two"
            for one in many[1:]:
                assert "two" in (await one.next())[0].parts["main"]
            assert pages.hub.pollers == 1
        await until(lambda: pages.hub.pollers == 0)
        asked = len(pages.asked)
        await anyio.wait_all_tasks_blocked()
        assert (pages.hub.streams, len(pages.asked)) == (0, asked)


async def test_who_has_other_rights_is_asked_for_alone(open_site, pages):
    async with (
        open_site(routes=pages.routes()) as site,
        site.listen("/queues", role="viewer") as few,
        site.listen("/queues", role="admin") as all_,
    ):
        assert "viewer" in (await few.next())[0].parts["main"]
        assert "admin" in (await all_.next())[0].parts["main"]


async def test_what_somebody_has_begun_is_not_shown_live_to_another_of_the_same_limits(open_site):
    def who(request: Request) -> Principal | None:
        return Principal(name=request.headers["X-Test-Role"], role="operator", sessions=("team-*",))

    async with open_site() as site:
        ann = Principal(name="ann", role="operator", sessions=("team-*",))
        begun = await Admin(site.runtime, principal=ann).begin_bulk("cancel", "session:team-x", reason="hers")
        site.app = console(site.runtime, authenticate=who)
        path = f"/bulks/{begun.id}"
        async with site.listen(path, role="ann") as hers, site.listen(path, role="bob") as his:
            assert "progress" in (await hers.next())[0].parts
            look, _ = await his.next()
            assert (look.state, look.parts) == ("trouble", {})


async def test_who_comes_back_gets_only_what_it_lacks(open_site, pages):
    async with open_site(routes=pages.routes()) as site:
        async with site.listen("/queues") as stream:
            _, id = await stream.next()
        async with site.listen("/queues", last_id=id) as stream:
            asked = len(pages.asked)
            await until(lambda: len(pages.asked) > asked + 3)
            pages.shown["/queues"] = "two"
            seen, _ = await stream.next()
            assert "two" in seen.parts["main"]
        for nonsense in ("x", "main=zz", "a" * 5000, "main=" + "0" * 12):
            async with site.listen("/queues", last_id=nonsense) as stream:
                assert "two" in (await stream.next())[0].parts["main"]


async def test_a_page_says_that_redis_is_away_and_that_it_is_back(open_site, pages):
    async with open_site(routes=pages.routes()) as site, site.listen("/queues") as stream:
        await stream.next()
        pages.failing["/queues"] = NetworkError("nobody at redis-1")
        away, _ = await stream.next()
        assert (away.state, away.text, away.parts) == ("away", "nobody at redis-1", {})
        pages.failing.clear()
        back, _ = await stream.next()
        assert (back.state, back.parts) == ("ok", {})


async def test_a_page_that_is_opened_while_redis_is_away_shows_what_was_so_last(open_site, pages):
    async with open_site(routes=pages.routes()) as site:
        viewer, admin = site.as_("viewer"), site.as_("admin")
        pages.shown["/queues"] = "seen-1"
        assert "seen-1" in (await viewer.get("/queues")).text
        async with site.listen("/queues?tab=other", role="admin") as stream:
            await stream.next()
        pages.failing["/queues"] = NetworkError("nobody at redis-1")
        pages.shown["/queues"] = "unseen-2"
        for path, kept in (("/queues", True), ("/queues?tab=other", False), ("/queues?tab=third", False)):
            page = await viewer.get(path)
            assert (page.status_code, page.headers["refresh"]) == (503, "3")
            assert ("What is shown was so" in page.text) == ("seen-1" in page.text) == kept
        # The poller keeps what it sees, too, for all of the same rights.
        assert "What is shown was so" in (await admin.get("/queues?tab=other")).text
        # Others see other things.
        assert "seen-1" not in (await admin.get("/queues")).text
        pages.failing["/queues"] = RuntimeError("a bug")
        assert (await viewer.get("/queues")).status_code == 500
        pages.failing.clear()
        assert "unseen-2" in (await viewer.get("/queues")).text


async def test_so_many_pages_are_kept(monkeypatch):
    monkeypatch.setattr(last_known, "MOST_PAGES", 2)
    kept = LastKnown()
    for n in range(3):
        kept.saw(n, Known("x.html", {}, n))
    kept.saw(3, None)
    assert [kept.get(n) is not None for n in range(4)] == [False, True, True, False]


async def test_one_page_that_fails_or_hangs_is_its_own_affair_and_logged_once(
    open_site, pages, caplog, monkeypatch
):
    monkeypatch.setattr(hubs, "LOOK_WAIT", 0.05)
    async with (
        open_site(routes=pages.routes()) as site,
        site.listen("/queues") as bad,
        site.listen("/nodes") as good,
    ):
        await bad.next()
        await good.next()
        pages.failing["/queues"] = RuntimeError("a bug")
        seen, _ = await bad.next()
        assert (seen.state, seen.text) == ("trouble", "the console has logged what is wrong")
        pages.shown["/nodes"] = "there"
        told = (await good.next())[0].parts
        while "main" not in told:  # what the navigation says of jobs comes by itself
            told = (await good.next())[0].parts
        assert "there" in told["main"]
        asked = len(pages.asked)
        await until(lambda: pages.asked[asked:].count("/queues") > 3)
        assert caplog.text.count("a page cannot be shown live") == 1


async def test_a_look_that_takes_too_long_is_given_up(monkeypatch):
    monkeypatch.setattr(hubs, "LOOK_WAIT", 0.01)
    hub = Hub(lambda error: ("trouble", str(error)))
    async with anyio.create_task_group() as tasks:
        with hub.watching("key", never, 0.01) as watched:
            tasks.start_soon(hub.poll)
            await until(lambda: watched.state == "away")
            assert "nothing was answered" in watched.text
        tasks.cancel_scope.cancel()


async def test_more_streams_than_may_be_are_refused(open_site, pages, monkeypatch):
    monkeypatch.setattr(hubs, "MOST_STREAMS", 2)
    async with (
        open_site(routes=pages.routes()) as site,
        site.listen("/queues"),
        site.listen("/nodes") as second,
    ):
        async with site.listen("/queues") as third:
            assert third.status == 503
        second.leave()
        await until(lambda: second.left)
        async with site.listen("/queues") as fourth:
            assert fourth.status == 200


async def test_a_stream_ends_after_a_while_so_that_it_is_asked_again_who_it_is_for(
    open_site, pages, monkeypatch
):
    monkeypatch.setattr(streams, "LASTS", 0.05)
    async with open_site(routes=pages.routes()) as site, site.listen("/queues") as stream:
        assert stream.status == 200
        with pytest.raises(anyio.EndOfStream):
            while True:
                await stream.next()


async def test_a_browser_that_takes_nothing_is_left(monkeypatch):
    monkeypatch.setattr(streams, "SEND_WAIT", 0.01)
    hub = Hub(lambda error: ("trouble", str(error)))

    async def look():
        return {"main": "x"}

    async def send(message):
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()

    with anyio.fail_after(PATIENCE):
        await streams.Stream(hub, "key", look, every=1)({}, never, send)
    assert (hub.streams, hub.pollers) == (0, 0)


def test_how_long_ago_something_was_is_no_change():
    said = '<time datetime="2026-01-01" data-show="ago" title="x">{}</time>'
    assert digest_of(said.format("3 s ago")) == digest_of(said.format("4 s ago"))
    assert digest_of(said.format("3 s ago") + "a") != digest_of(said.format("3 s ago") + "b")

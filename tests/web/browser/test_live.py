"""What moves: pages that follow, however many look, and whether Redis is there or not."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import httpx
import pytest
from playwright.sync_api import Page, expect

from am2z_trio.web.live.hub import MOST_STREAMS
from am2z_trio.web.pages import ROUTES
from am2z_trio.web.routes import Page as PageRoute
from tests.support.waiting import PATIENCE, wait_until

from .conftest import Chromium, Site, opened_site

SOON = PATIENCE * 1000


def test_what_happens_is_seen_without_loading_the_page_again(site: Site, chromium: Chromium):
    chromium.run(follows, site)


def follows(page: Page, site: Site) -> None:
    page.goto(site.url("events"))
    expect(page.locator("[data-hold]")).to_have_text("Live")
    with site.client() as other:
        other.get("/-act?what=first")
    expect(page.locator("main")).to_contain_text("first", timeout=SOON)
    # Held, it stays as it is; a key does that, too.
    page.keyboard.press(".")
    expect(page.locator("[data-hold]")).to_have_text("Held")


def test_keys_lead_from_page_to_page_and_along_rows(site: Site, chromium: Chromium):
    chromium.run(typed, site)


def typed(page: Page, site: Site) -> None:
    page.goto(site.url("jobs"))
    page.keyboard.press("j")
    expect(page.locator("[data-at]")).to_have_count(1)
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/events")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.tagName") == "INPUT"


def test_two_hundred_viewers_share_one_poller_that_stops_when_they_have_gone(site: Site):
    wait_until(lambda: site.count()["streams"] == 0, "earlier pages to be left")
    anyio.run(two_hundred_look, site, backend="trio")
    wait_until(lambda: site.count()["pollers"] == 0, "the poller to stop")
    assert site.count()["streams"] == 0


async def two_hundred_look(site: Site) -> None:
    headers = {"X-User": "ada.viewer", "Accept": "text/event-stream"}
    limits = httpx.Limits(max_connections=MOST_STREAMS + 10)
    seen = list[int]()

    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=PATIENCE) as client:

        async def look() -> None:
            async with client.stream("GET", site.url("events")) as answer:
                assert answer.status_code == 200
                is_new = True
                async for line in answer.aiter_lines():
                    if is_new and line.startswith("data:"):
                        seen.append(1)
                        is_new = False

        async def count() -> dict[str, int]:
            found: dict[str, int] = (await client.get(f"{site.base}/-count")).json()
            return found

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as viewers:
                for _ in range(MOST_STREAMS):
                    viewers.start_soon(look)
                while len(seen) < MOST_STREAMS:
                    await anyio.sleep(0.05)
                before, began = await count(), time.monotonic()
                assert (before["streams"], before["pollers"]) == (MOST_STREAMS, 1)
                # One more is refused, and told so.
                assert (await client.get(site.url("events"))).status_code == 503
                while (after := await count())["looks"] < before["looks"] + 3:
                    await anyio.sleep(0.05)
                # As often as for one: two hundred would have asked two hundred times a second.
                took = time.monotonic() - began
                assert after["looks"] - before["looks"] <= took + 2
                viewers.cancel_scope.cancel()


def test_a_page_says_that_redis_is_away_and_goes_on_by_itself(tmp_path: Path, chromium: Chromium):
    with opened_site(tmp_path) as site:
        chromium.run(away_and_back, site, complains=True)


def away_and_back(page: Page, site: Site) -> None:
    page.goto(site.url("events"))
    expect(page.locator("[data-hold]")).to_have_text("Live")
    page.goto(site.url("queue", "charge"))
    expect(page.locator("[data-hold]")).to_have_text("Live")
    acts = page.locator("main form[method=post] button, main [data-dialog]")
    assert acts.count() > 0
    site.redis.kill()
    expect(page.locator("#away")).to_be_visible(timeout=SOON)
    expect(page.locator("#away")).to_contain_text("Redis")
    # A page that is opened now says so, too, and asks again by itself.
    other = page.context.new_page()
    other.goto(site.url("jobs"))
    expect(other.locator("main .empty")).to_be_visible()
    # What was seen before is shown as it was, and nothing can be done: neither there nor here.
    known = page.context.new_page()
    known.goto(site.url("events"))
    expect(known.locator("h1")).to_have_text("Events")
    expect(known.locator("#away")).to_contain_text("What is shown was so")
    known.close()
    before = page.url
    for n in range(acts.count()):
        expect(acts.nth(n)).to_have_attribute("aria-disabled", "true")
        acts.nth(n).click(force=True)
    assert page.url == before
    expect(page.locator("dialog[open]")).to_have_count(0)
    site.redis.start()
    expect(page.locator("#away")).to_be_hidden(timeout=SOON)
    expect(page.locator("[data-hold]")).to_have_text("Live", timeout=SOON)
    expect(other.locator("h1")).to_have_text("Jobs", timeout=SOON)
    other.close()


def test_every_page_that_is_live_says_that_redis_is_away_and_goes_on_by_itself(
    tmp_path: Path, chromium: Chromium
):
    with opened_site(tmp_path) as site:
        # Few at a time: a browser has six connections to a server, and each of these keeps one.
        for first in range(0, len(LIVE), 5):
            few = LIVE[first : first + 5]
            chromium.run_as("admin", "light", all_away_and_back, site, few, complains=True)
        anyio.run(all_as_they_were, site, backend="trio")


LIVE = [route.name for route in ROUTES if isinstance(route, PageRoute) and route.live]


def where(site: Site, name: str) -> str:
    return site.url(name, "active" if name in ("job", "why") else "plain")


async def all_as_they_were(site: Site) -> None:
    """Opened while Redis is away they are what they were last, and say so; then they are as ever."""
    found: dict[str, httpx.Response] = {}

    async with httpx.AsyncClient(headers={"X-User": "ada.admin"}, timeout=PATIENCE) as client:

        async def look(name: str) -> None:
            found[name] = await client.get(where(site, name))

        async def look_at_all() -> None:
            async with anyio.create_task_group() as looks:
                for name in LIVE:
                    looks.start_soon(look, name)

        await look_at_all()
        titles = {name: page.text.partition("</title>")[0] for name, page in found.items()}
        assert {page.status_code for page in found.values()} == {200}
        site.redis.kill()
        await look_at_all()
        for name, page in found.items():
            assert page.status_code == 503, name
            assert page.text.partition("</title>")[0] == titles[name]
            assert "What is shown was so" in page.text, name
        site.redis.start()
        with anyio.fail_after(PATIENCE):
            while {page.status_code for page in found.values()} != {200}:
                await look_at_all()


def all_away_and_back(page: Page, site: Site, names: list[str]) -> None:
    tabs = {name: page.context.new_page() for name in names}
    try:
        for name, tab in tabs.items():
            tab.goto(where(site, name))
            expect(tab.locator("[data-hold]")).to_have_text("Live", timeout=SOON)
        site.redis.kill()
        for name, tab in tabs.items():
            expect(tab.locator("#away"), name).to_be_visible(timeout=SOON)
            expect(tab.locator("main h1"), name).to_be_visible()
        site.redis.start()
        for name, tab in tabs.items():
            expect(tab.locator("#away"), name).to_be_hidden(timeout=SOON)
            expect(tab.locator("[data-hold]"), name).to_have_text("Live", timeout=SOON)
    finally:
        for tab in tabs.values():
            tab.close()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_what_may_not_be_done_is_not_offered(role: str, site: Site, chromium: Chromium):
    chromium.run_as(role, "light", offered, site, role)


def offered(page: Page, site: Site, role: str) -> None:
    page.goto(site.url("job", "active"))
    assert (page.locator("[href$='/cancel'], [action$='/cancel']").count() > 0) == (role == "operator")

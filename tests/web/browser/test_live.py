"""What moves: pages that follow, however many look, and whether Redis is there or not."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import httpx
import pytest
from playwright.sync_api import Page, expect

from am2z_trio.web.live.hub import MOST_STREAMS
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


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_what_may_not_be_done_is_not_offered(role: str, site: Site, chromium: Chromium):
    chromium.run_as(role, "light", offered, site, role)


def offered(page: Page, site: Site, role: str) -> None:
    page.goto(site.url("job", "active"))
    assert (page.locator("[href$='/cancel'], [action$='/cancel']").count() > 0) == (role == "operator")

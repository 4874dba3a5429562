"""What surrounds every page, in a browser: keys, theme and clock, dialogs, and what is live."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page, expect

from .conftest import Chromium, Site


def test_theme_and_clock_are_kept_for_the_next_page(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("jobs"))
        html, clock = page.locator("html"), page.locator("[data-clock-next]")
        page.get_by_role("button", name="Light or dark").click()
        expect(html).to_have_attribute("data-theme", "dark")
        expect(clock).to_have_text("Local")
        clock.click()
        page.goto(site.url("audit"))
        expect(html).to_have_attribute("data-theme", "dark")
        expect(clock).to_have_text("UTC")
        moment = page.locator("time[data-show=full]").first
        said = moment.get_attribute("datetime") or ""
        assert said[:19].replace("T", " ") == moment.inner_text()
        page.get_by_role("button", name="Light or dark").click()
        clock.click()

    chromium.run_as("admin", "light", look)


def test_all_can_be_reached_by_keys(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("audit"))
        page.keyboard.press("g")
        page.keyboard.press("j")
        page.wait_for_url("**/jobs")
        page.keyboard.press("/")
        expect(page.locator(".filter input:not([type=hidden])")).to_be_focused()
        page.keyboard.type("status:dead")
        page.keyboard.press("Enter")
        page.wait_for_url("**/jobs?*dead*")
        expect(page.locator("main tbody tr").first).to_be_visible()
        page.keyboard.press("j")
        expect(page.locator("main tbody tr").first).to_have_attribute("data-at", "")
        page.keyboard.press("x")
        expect(page.locator("main tbody tr").first.locator("[data-pick]")).to_be_checked()
        page.keyboard.press("Enter")
        page.wait_for_url("**/jobs/*")
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("Control+k")
        expect(page.locator("#palette")).to_be_visible()
        page.keyboard.type("audi")
        expect(page.locator("#palette li[data-command]:visible")).to_have_count(1)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url("**/audit")

    chromium.run_as("admin", "light", look)


def test_what_is_typed_is_found(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        for typed, leads in [
            (site.ids["job"]["dead"], site.url("job", "dead")),
            ("charge", site.url("queue")),
            ("status:dead", "**/jobs?q=status%3Adead"),
        ]:
            page.goto(site.url("audit"))
            page.keyboard.press("Control+k")
            page.keyboard.type(typed)
            page.keyboard.press("Enter")
            page.wait_for_url(leads)

    chromium.run_as("admin", "light", look)


def test_what_changes_is_shown_and_takes_nothing_away_from_who_looks(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("jobs", query="q=queue:price"))
        rows = page.locator("main tbody tr")
        expect(rows.first).to_be_visible()
        before = rows.count()
        page.keyboard.press("j")
        page.keyboard.press("x")
        at = page.locator("[data-at] a").first.inner_text()
        enqueue(site)
        expect(rows).to_have_count(before + 1)
        assert page.locator("[data-at] a").first.inner_text() == at
        expect(page.locator("[data-pick]:checked")).to_have_count(1)
        hold = page.locator("[data-hold]")
        page.keyboard.press(".")
        expect(hold).to_have_text("Held")
        enqueue(site)
        page.wait_for_timeout(1500)
        expect(rows).to_have_count(before + 1)
        page.keyboard.press(".")
        expect(rows).to_have_count(before + 2)
        expect(hold).to_have_text("Live")

    chromium.run_as("admin", "light", look)


def test_a_page_that_nobody_sees_is_not_asked_for(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("audit"))
        page.wait_for_function("document.querySelector('[data-hold]').textContent === 'Live'")
        until(page, site, streams=1)
        hide(page, True)
        until(page, site, streams=0, pollers=0)
        hide(page, False)
        until(page, site, streams=1, pollers=1)

    chromium.run_as("admin", "light", look)


def test_what_asks_first_is_a_page_and_with_a_script_a_dialog(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("jobs", query="q=queue:charge"))
        page.goto(site.url("job", "active"))
        where = page.url
        first = page.locator("a[data-dialog]").first
        first.click()
        dialog = page.locator("#asked")
        expect(dialog).to_be_visible()
        assert page.url == where
        page.keyboard.press("Escape")
        expect(dialog).not_to_be_visible()
        page.goto(first.evaluate("link => link.href"))
        expect(page.locator("[data-dialog-body]")).to_be_visible()

    chromium.run_as("admin", "light", look)


def enqueue(site: Site) -> None:
    with site.client("admin") as client:
        asked: dict[str, Any] = {"processor": "price", "state": {"number": 1}}
        answer = client.post("/api/v1/jobs", json=asked)
        assert answer.status_code < 300, answer.text


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def until(page: Page, site: Site, **counts: int) -> None:
    for _ in range(200):
        found = site.count()
        if all(found[name] == count for name, count in counts.items()):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"{found}, not {counts}")

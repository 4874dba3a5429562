"""What each page does by keys, as its list of keys says; and what is chosen is seen in any width."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from .conftest import PHONE, Chromium, Site

AT = "main [data-at]"


def test_the_overview_looks_back_by_numbers(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("overview"))
        for key, span in (("1", "15m"), ("2", "1h"), ("3", "24h"), ("4", "7d")):
            page.keyboard.press(key)
            page.wait_for_url(f"**/?range={span}")
            expect(page.locator('.seg [aria-current="true"]')).to_have_attribute("data-key", key)

    chromium.run_as("viewer", "light", look)


def test_a_queue_on_the_overview_shows_its_course_at_usual_widths(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        for width in (1280, 1440):
            page.set_viewport_size({"width": width, "height": 900})
            page.goto(site.url("overview"))
            expect(page.locator("th.course")).to_be_visible()
        page.set_viewport_size({"width": 1280, "height": 900})

    chromium.run_as("viewer", "light", look)


def test_the_tree_is_walked_folded_and_chosen_by_keys(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("tree"))
        lines = page.locator(".tree .node")
        expect(lines.nth(3)).to_be_visible()
        many = lines.count()
        page.keyboard.press("j")
        node = page.locator(AT).get_attribute("data-row")
        page.keyboard.press("j")
        expect(page.locator(AT)).not_to_have_attribute("data-row", str(node))
        page.keyboard.press("k")
        expect(page.locator(AT)).to_have_attribute("data-row", str(node))
        page.keyboard.press("ArrowLeft")
        expect(page.locator(AT)).to_have_attribute("aria-expanded", "false")
        page.keyboard.press("ArrowRight")
        expect(page.locator(AT)).to_have_attribute("aria-expanded", "true")
        expect(lines).to_have_count(many)
        page.keyboard.press("Enter")
        expect(page.locator("[data-live=side] h2")).to_contain_text("node")
        page.keyboard.press("c")
        expect(page.locator("#asked")).to_be_visible()
        page.keyboard.press("Escape")

    chromium.run_as("admin", "light", look)


def test_what_is_chosen_in_the_tree_is_seen_on_a_phone(site: Site, chromium: Chromium):
    def by_touch(page: Page) -> None:
        page.set_viewport_size({"width": PHONE, "height": 480})
        page.goto(site.url("tree"))
        page.locator(".tree [data-choose]").last.click()
        expect(page.locator("[data-live=side] h2")).to_be_in_viewport()
        page.set_viewport_size({"width": 1280, "height": 900})

    def without_script(page: Page) -> None:
        page.set_viewport_size({"width": PHONE, "height": 480})
        page.goto(site.url("tree"))
        page.locator(".tree [data-choose]").last.click()
        page.wait_for_url("**/tree?at=*")
        expect(page.locator("[data-live=side] h2")).to_be_in_viewport()
        page.set_viewport_size({"width": 1280, "height": 900})

    chromium.run_as("viewer", "light", by_touch)
    chromium.run_as("viewer", "plain", without_script)


def test_a_job_is_cancelled_explained_edited_and_made_a_test_by_keys(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("job", "waiting"))
        page.keyboard.press("c")
        expect(page.locator("#asked")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#asked")).not_to_be_visible()
        page.keyboard.press("w")
        page.wait_for_url("**/why")
        for key, leads in (("y", "**/test"), ("e", "**/draft")):
            page.goto(site.url("job", "dead"))
            page.keyboard.press(key)
            page.wait_for_url(leads)
        page.goto(site.url("job", "dead"))
        expect(page.locator('[data-key="r"]')).to_have_text("Run again")

    chromium.run_as("admin", "light", look)


def test_a_list_says_where_in_line_a_job_stands_that_is_held(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("jobs", query="q=queue:charge+status:waiting"))
        told = page.locator("main tbody .stands").first
        expect(told).to_have_text(re.compile(r"^held: .*; (next|\d+ before it) in line$"))
        page.keyboard.press("j")
        page.keyboard.press("x")
        expect(page.locator("#picked")).to_be_visible()
        for key, what in (("c", "Cancel the ticked"), ("r", "Run again"), ("n", "Run next")):
            expect(page.locator(f'#picked [data-key="{key}"]')).to_have_text(what)

    chromium.run_as("admin", "light", look)


def test_dead_letters_are_redriven_by_a_key_which_asks_first(site: Site, chromium: Chromium):
    def look(page: Page) -> None:
        page.goto(site.url("dead", query="q=queue:price"))
        asked = page.locator("#asked")
        # On no row: what the filter leaves. On a group: that.
        page.keyboard.press("r")
        expect(asked).to_contain_text("status:dead")
        expect(asked).to_contain_text("try one, go on only if it completes")
        page.keyboard.press("Escape")
        expect(asked).not_to_be_visible()
        page.keyboard.press("j")
        page.keyboard.press("r")
        expect(asked).to_contain_text("kind:")
        page.keyboard.press("Escape")
        expect(page.locator("#letters tbody tr").first.locator('[data-key="r"]')).to_have_text("Run again")

    chromium.run_as("admin", "light", look)

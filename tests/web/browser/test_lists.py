"""Lists that are narrowed down and looked into, with a script and without."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from .conftest import PHONE, Chromium, Site
from .test_pages import usable

LOOKS = ("light", "plain")


@pytest.mark.parametrize("look", LOOKS)
def test_sessions_are_filtered_by_what_is_typed_term_by_term(look: str, site: Site, chromium: Chromium):
    chromium.run_as("operator", look, filtered, site)


def filtered(page: Page, site: Site) -> None:
    page.goto(site.url("sessions"))
    rows = page.locator("main tbody tr")
    expect(rows).to_have_count(1)
    narrowed(page, "running>0")
    expect(page.locator(".tok")).to_have_text(["running> 0×"])
    expect(rows).to_have_count(1)
    expect(page.locator("main footer").last).to_contain_text("looked at 1")
    narrowed(page, "locked")
    expect(page.locator(".tok")).to_have_count(2)
    expect(page.locator("main")).to_contain_text("No session with work is what the filter asks for")
    page.locator(".tok a").last.click()
    expect(rows).to_have_count(1)
    narrowed(page, "idle>soon")
    expect(page.locator("#filter-wrong")).to_contain_text("a time is a number and one of")
    # What is typed stays, to be mended; a session at rest is found by all of its id.
    expect(page.locator('input[name="add"]')).to_have_value("idle>soon")
    page.goto(site.url("sessions", query="q=tenant-8"))
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("at rest")
    page.set_viewport_size({"width": PHONE, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    page.set_viewport_size({"width": 1280, "height": 900})


def narrowed(page: Page, by: str, to: str = "sessions") -> None:
    page.locator('input[name="add"]').fill(by)
    page.locator(".filter button").click()
    page.wait_for_url(f"**/{to}?*")


@pytest.mark.parametrize("look", LOOKS)
def test_a_filter_that_finds_no_job_says_which_term_excludes_most(look: str, site: Site, chromium: Chromium):
    chromium.run_as("viewer", look, unfound, site, look)


def unfound(page: Page, site: Site, look: str) -> None:
    page.goto(site.url("jobs", query="q=status:waiting"))
    many = page.locator("main tbody tr").count()
    assert many
    narrowed(page, "age>10d", "jobs")
    empty = page.locator("main .empty")
    expect(empty).to_contain_text("No job matches")
    expect(empty.locator("[data-most]")).to_contain_text(f"age>10d excludes most: {many}.")
    lines = empty.locator(".excluded li")
    expect(lines).to_have_count(2)
    expect(lines.last).to_contain_text("status:waiting excludes none of these; it leaves out")
    expect(page.locator("main footer").last).to_contain_text(f"Looked at {many} of {many} records")
    page.set_viewport_size({"width": PHONE, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    page.set_viewport_size({"width": 1280, "height": 900})
    for theme in ("light", "dark") if look == "light" else ():
        page.emulate_media(color_scheme=theme)
        usable(page)
    lines.first.get_by_role("link", name="Without it").click()
    expect(page.locator("main tbody tr")).to_have_count(many)


@pytest.mark.parametrize("look", LOOKS)
def test_the_letters_of_a_group_are_there_and_those_of_another_one_click_away(
    look: str, site: Site, chromium: Chromium
):
    chromium.run_as("viewer", look, looked_into, site)


def looked_into(page: Page, site: Site) -> None:
    page.goto(site.url("dead"))
    chosen = page.locator('tr[aria-selected="true"]')
    expect(chosen).to_have_count(1)
    expect(page.locator("#letters tbody tr")).to_have_count(1)
    first = page.locator("#letters h2").inner_text()
    other = page.locator('main tbody tr:not([aria-selected="true"]) a', has_text="Look").first
    other.click()
    page.wait_for_url("**/dead?*#letters")
    expect(chosen).to_have_count(1)
    assert page.locator("#letters h2").inner_text() != first

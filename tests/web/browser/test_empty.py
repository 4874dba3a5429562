"""Pages on which there is nothing yet: they say what to do about it, in any look."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from .conftest import PHONE, Chromium, Site, opened_site
from .test_pages import CONTRAST, usable

EMPTY = {
    "overview": "No job has been submitted to fresh yet",
    "tree": "No node is here",
    "jobs": "No job is kept here",
    "sessions": "No session has work now",
    "dead": "No dead letter",
    "jobs?q=queue:none": "No job matches",
    "dead?q=queue:none": "No dead letter matches",
    "sessions?q=team-*": "No session with work is what the filter asks for",
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with opened_site(tmp_path_factory.mktemp("fresh"), "fresh.py") as opened:
        yield opened


@pytest.mark.parametrize("name", EMPTY)
def test_where_there_is_nothing_a_page_says_so_in_any_look(name: str, fresh: Site, chromium: Chromium):
    page_name, _, query = name.partition("?")

    def look(page: Page) -> None:
        page.goto(fresh.url(page_name, query=query))
        expect(page.locator("main")).to_contain_text(EMPTY[name])
        usable(page)
        page.emulate_media(color_scheme="dark")
        usable(page, CONTRAST)
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": PHONE, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
        page.set_viewport_size({"width": 1280, "height": 900})

    def without_script(page: Page) -> None:
        page.goto(fresh.url(page_name, query=query))
        expect(page.locator("main")).to_contain_text(EMPTY[name])

    chromium.run_as("admin", "light", look)
    chromium.run_as("admin", "plain", without_script)

"""Every page that there is, in both themes, on a phone, without a script and under a prefix: nothing is
complained of, everybody can use it, and what stands in it is never code."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import DEFAULT_OPTIONS, Axe
from playwright.sync_api import Page

from am2z_trio.web.pages import ROUTES
from am2z_trio.web.routes import Page as PageRoute

from .conftest import KEEP, PHONE, WIDE, Chromium, Site
from .served import LONG, NAMES, PREFIX

PAGES = [route.name for route in ROUTES if isinstance(route, PageRoute)]
WHICH = {"job": ["active", "odd"], "session": ["plain", "odd"], "queue": ["plain", "evil"]}
"""Of some pages two are looked at."""
ASKS = {
    "bulks.new": "action=cancel&q=queue:charge",
    "tree.cancel": "kind=session&session=nobody",
}
"""What a page has to be asked for, where it says nothing of itself."""


WIDTH = "document.documentElement.scrollWidth"

CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
"""All that a theme can break."""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_complained_of_by_nobody_in_any_look(name: str, site: Site, chromium: Chromium):
    for which in WHICH.get(name, ["plain"]):
        url = site.url(name, which, query=ASKS.get(name, ""))
        chromium.run_as("admin", "light", looked_at, url, f"{name}-{which}")


def looked_at(page: Page, url: str, picture: str) -> None:
    answer = page.goto(url)
    assert answer is not None
    assert answer.status == 200, page.inner_text("main")
    usable(page)
    # Nothing is wider than the window, but for what scrolls by itself.
    assert page.evaluate(WIDTH) <= WIDE["width"]
    keep(page, f"{picture}-light")
    page.emulate_media(color_scheme="dark")
    usable(page, CONTRAST)
    keep(page, f"{picture}-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": PHONE, "height": 844})
    assert page.evaluate(WIDTH) <= PHONE
    keep(page, f"{picture}-phone")
    assert page.evaluate("window.pwned") is None


def usable(page: Page, options: dict[str, Any] = DEFAULT_OPTIONS) -> None:
    found = Axe().run(page, options=options)
    assert found.violations_count == 0, found.generate_report()


def keep(page: Page, picture: str) -> None:
    if KEEP:
        Path(KEEP).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(KEEP, f"{picture}.png"), full_page=True)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_the_same_without_a_script_and_under_a_prefix(name: str, site: Site, chromium: Chromium):
    url = site.url(name, query=ASKS.get(name, ""), prefix=PREFIX)
    chromium.run_as("admin", "plain", read, url)


def read(page: Page, url: str) -> None:
    answer = page.goto(url)
    assert answer is not None
    assert answer.status == 200, page.inner_text("main")
    assert page.query_selector("h1")
    for name in ("href", "action", "src"):
        found = page.eval_on_selector_all(f"[{name}]", f"all => all.map((one) => one.getAttribute('{name}'))")
        assert found
        for link in found:
            assert link.startswith((PREFIX, "#", "?")), link


class Shape(HTMLParser):
    """What there is in a page that no template has: tags of `EVIL`, handlers, styles, scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.bad = list[str]()
        self._in_script = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_script = tag == "script"
        if tag in ("img", "iframe", "style", "object", "embed"):
            self.bad.append(tag)
        for name, value in attrs:
            is_code = (value or "").strip().lower().startswith("javascript:")
            if name.startswith("on") or name == "style" or is_code:
                self.bad.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.bad.append(f"script {data[:40]}")


@pytest.mark.parametrize("name", PAGES)
def test_whatever_stands_in_a_field_is_never_more_than_text(name: str, site: Site):
    with site.client("admin") as client:
        for which in ("plain", "evil", "odd", "active", "dead"):
            page = client.get(site.url(name, which, query=ASKS.get(name, "")))
            assert page.status_code == 200, page.text
            shape = Shape(page.text)
            assert not shape.bad
            assert "\x00" not in page.text
            assert "\u202e" not in page.text
        # Whatever is asked for, too.
        for field in sorted(asked_for(page.text)):
            for text in (*NAMES, LONG, "{}", "%2f", "\ud83d"):
                answer = client.get(site.url(name), params={field: text.encode("utf-8", "surrogatepass")})
                assert answer.status_code in (200, 303, 400, 404), (field, text, answer.text)
                assert not Shape(answer.text).bad, (field, text)


def asked_for(html: str) -> set[str]:
    """What forms that look have as fields, and links in their queries."""
    names = set[str]()

    class Fields(HTMLParser):
        looks = False

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            had = dict(attrs)
            if tag == "form":
                self.looks = had.get("method") != "post"
            if tag in ("input", "select", "textarea") and self.looks and had.get("name"):
                names.add(str(had["name"]))
            if tag == "a":
                names.update(parse_qs(urlsplit(had.get("href") or "").query))

    Fields().feed(html)
    return names

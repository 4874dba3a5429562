"""Every form of the console, sent by a real browser in each role, with hostile texts in every field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from am2z_trio.admin import ROLES

from .conftest import Chromium, Site, opened_site
from .served import NAMES
from .test_pages import ASKS, PAGES, Shape

FORMS = """async (urls) => {
  const found = {};
  for (const url of urls) {
    const page = new DOMParser().parseFromString(await (await fetch(url)).text(), "text/html");
    for (const form of page.querySelectorAll("form")) {
      const senders = [form, ...form.querySelectorAll("[formaction]")];
      for (const sender of senders) {
        const method = sender.getAttribute("formmethod") || form.getAttribute("method") || "get";
        if (method !== "post") continue;
        const fields = [...form.elements].filter((one) => one.name).map((one) =>
          [one.name, one.value, one.tagName === "TEXTAREA" || ["text", "search"].includes(one.type)]);
        found[sender.getAttribute("formaction") || form.getAttribute("action")] = fields;
      }
    }
  }
  return found;
}"""

SEND = """async (forms) => {
  const said = [];
  for (const [action, fields] of forms) {
    const answer = await fetch(action, { method: "POST", body: new URLSearchParams(fields) });
    said.push([action, answer.status, answer.redirected, await answer.text()]);
  }
  return said;
}"""

HOSTILE = NAMES[0]


def test_every_form_in_every_role_does_what_the_role_may_and_shows_texts_as_texts(
    tmp_path: Path, chromium: Chromium
):
    with opened_site(tmp_path) as site:
        forms = chromium.run_as("admin", "light", forms_of, site)
        assert len(forms) > 25, sorted(forms)
        for role in ROLES:
            said = chromium.run_as(role, "light", sent, site, forms, complains=True)
            for action, status, text in said:
                assert status in (200, 400, 403, 404, 409), (role, action, status, text)
                assert not Shape(text).bad, (role, action)
            refused = {action for action, status, _ in said if status == 403}
            assert (len(refused) > 20) == (role == "viewer"), (role, sorted(refused))
            assert not refused or role != "admin"
        with site.client("admin") as client:
            entries = client.get("/api/v1/audit", params={"limit": 500}).json()["entries"]
        done = {(one["role"], one["action"]) for one in entries if one["outcome"] == "done"}
        assert not [action for role, action in done if role == "viewer"]
        assert {"purge", "edit"}.isdisjoint(action for role, action in done if role == "operator")
        assert len([action for role, action in done if role == "operator"]) > 5
        assert any(one["reason"] == HOSTILE for one in entries)
        chromium.run_as("admin", "light", read, site.url("audit"))


def forms_of(page: Page, site: Site) -> dict[str, list[list[Any]]]:
    page.goto(site.url("queues"))
    urls = [site.url(name, which, query=ASKS.get(name, "")) for name in PAGES for which in ("active", "dead")]
    found: dict[str, list[list[Any]]] = page.evaluate(FORMS, list(dict.fromkeys(urls)))
    return found


def sent(page: Page, site: Site, forms: dict[str, list[list[Any]]]) -> list[tuple[str, int, str]]:
    page.goto(site.url("queues"))
    filled = [
        [action, [[name, HOSTILE if is_text else value] for name, value, is_text in fields]]
        for action, fields in forms.items()
    ]
    said = page.evaluate(SEND, filled)
    assert page.evaluate("window.pwned") is None
    return [(action, status, text) for action, status, _, text in said]


def read(page: Page, url: str) -> None:
    answer = page.goto(url)
    assert answer is not None
    assert answer.status == 200
    assert HOSTILE in page.inner_text("main")
    assert page.evaluate("window.pwned") is None

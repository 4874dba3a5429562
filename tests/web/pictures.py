"""Pictures of every page of the console, light, dark and as wide as a phone.

They are of the shop that `tests.web.shop` opens, and for whoever changes how a page looks: none is kept here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import trio
from playwright.sync_api import sync_playwright

from am2z_trio.web.addresses import address
from am2z_trio.web.pages import ROUTES
from am2z_trio.web.routes import Page

from .picture import CHROMIUM
from .shop import shop

WIDE: Final = {"width": 1280, "height": 900}
LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": {"color_scheme": "light", "viewport": WIDE},
    "dark": {"color_scheme": "dark", "viewport": WIDE},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
QUERIES: Final = {
    "bulks.new": "?action=cancel&q=queue:charge",
    "find": "?q=charge",
    "tree.cancel": "?kind=session&session=nobody",
}
"""What a page is asked with that shows nothing of itself."""
SETTLES: Final = 500
"""Milliseconds until what is live has come."""


def pages(ids: dict[str, str]) -> dict[str, str]:
    """Where each is, by the name of its picture."""
    found = {
        page.name: address(page.name, ids) + QUERIES.get(page.name, "")
        for page in ROUTES
        if isinstance(page, Page)
    }
    for status in ("waiting", "failed", "completed"):
        found[f"job-{status}"] = address("job", {"job": ids[status]})
    for tab in ("tree", "jobs"):
        found[f"session-{tab}"] = f"{address('session', ids)}?tab={tab}"
    return found


def take(base: str, ids: dict[str, str], folder: Path, only: Collection[str]) -> None:
    """Take them."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=os.geteuid() != 0)
        for look, options in LOOKS.items():
            tab = browser.new_context(**options).new_page()
            for name, path in pages(ids).items():
                if not only or name in only:
                    tab.goto(base + path)
                    tab.wait_for_timeout(SETTLES)
                    tab.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
        browser.close()


async def main(folder: Path, only: Collection[str]) -> None:
    async with shop() as (base, ids):
        await anyio.to_thread.run_sync(take, base, ids, folder, only)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.web.pictures", description=__doc__)
    parser.add_argument("folder", type=Path, help="where they go; it is made")
    parser.add_argument("page", nargs="*", help="only these, such as job or queue.pause; without: all")
    options = parser.parse_args()
    trio.run(main, options.folder, frozenset(options.page))

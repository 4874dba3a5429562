"""The shop, as its buyers have it: a real server and Redis, by a browser and by a program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.applications import served
from tests.support.waiting import wait_until
from tests.web.browser.conftest import Chromium, chromium

ROOT: Final = Path(__file__).parents[2]

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Started as its page says, on a port of its own."""
    log = tmp_path_factory.mktemp("shop") / "log"
    options = ["--timeout-graceful-shutdown", "2"]
    with served(
        lambda port: ["-m", "uvicorn", "docs.examples.shop.app:app", "--port", str(port), *options], log
    ) as server:
        yield server.base
    said = log.read_text()
    assert "Application shutdown complete" in said
    assert "Exception in ASGI application" not in said


def ordered(shop: str, article: str, quantity: int) -> str:
    answer = httpx.post(f"{shop}/orders", json={"article": article, "quantity": quantity}, timeout=30)
    assert answer.status_code == 202
    return str(answer.json()["id"])


def status(shop: str, id: str) -> str:
    return str(httpx.get(f"{shop}/orders/{id}", timeout=30).json()["status"])


def test_an_order_is_followed_to_its_end(shop):
    with httpx.stream("GET", f"{shop}/orders/{ordered(shop, 'kite', 2)}/events", timeout=30) as stream:
        lines = [*stream.iter_lines()]
    assert "event: job:progress" in lines
    assert any('"parcel":"parcel of 2 x kite"' in line for line in lines)


def test_an_order_of_more_than_there_is_says_so(shop):
    with httpx.stream("GET", f"{shop}/orders/{ordered(shop, 'yo-yo', 50)}/events", timeout=30) as stream:
        assert "there are not so many of yo-yo left" in stream.read().decode()


def test_an_order_whose_buyer_leaves_is_cancelled(shop):
    id = ordered(shop, "kite", 5)
    with httpx.stream("GET", f"{shop}/orders/{id}/events", timeout=30) as stream:
        next(line for line in stream.iter_lines() if line == "event: job:progress")
    wait_until(lambda: status(shop, id) == "cancelled", "the order to be cancelled")


@pytest.mark.parametrize("id", ["x", "..%2f..", "0" * 5000])
def test_what_is_no_order_is_refused(shop, id):
    assert httpx.get(f"{shop}/orders/{id}/events", timeout=30).status_code in (404, 422)


def test_an_order_that_there_is_not_is_not_found(shop):
    for at in ("", "/events"):
        answer = httpx.get(f"{shop}/orders/{'0' * 19}-0{at}", timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (404, "JOB_NOT_FOUND")


def test_a_buyer_looks_on_in_a_browser(shop, chromium: Chromium):
    def look(page: Any) -> str:
        page.goto(shop)
        page.get_by_label("Quantity").fill("2")
        page.get_by_role("button", name="Order").click()
        page.get_by_text("parcel of 2 x kite, 40 paid").wait_for()
        return str(page.locator("#progress").get_attribute("value") or page.evaluate("progress.value"))

    assert chromium.run(look, complains=True) is not None
